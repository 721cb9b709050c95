"""Charts as SVG."""

import math
import xml.etree.ElementTree

from alignflow_tf.evaluate import charts


def _parse(svg):
  return xml.etree.ElementTree.fromstring(svg)


def test_lines():
  svg = charts.lines(
      {'a<b': [(0, 1.), (10, 3.), (20, math.nan)], 'empty': []}, 'Loss', 'nats')
  root = _parse(svg)
  lines = root.findall('.//polyline')
  assert len(lines) == 1
  (x0, y0), (x1, y1) = (
      map(float, p.split(',')) for p in lines[0].get('points').split())
  assert x0 < x1
  assert y0 > y1  # Up is more.
  assert 'a&lt;b' in svg
  assert 'Loss (nats)' in svg


def test_nothing_to_draw():
  assert charts.lines({'a': [(0, math.nan)]}, 'Loss') == ''


def test_a_constant_has_a_place():
  root = _parse(charts.lines({'a': [(0, 2.), (1, 2.)]}, 'Flat'))
  assert root.findall('.//polyline')


def test_a_scatter_leaves_out_what_is_not_finite():
  root = _parse(charts.scatter(
      {'a': [(math.nan, 1.), (0.5, 0.5), (1., math.inf)]}, 'Critics'))
  assert len(root.findall('.//circle')) == 1
  assert charts.scatter({'a': [(math.nan, 1.)]}, 'Critics') == ''


def test_scatter_has_its_line():
  points = [(i / 2000, 1. - i / 2000) for i in range(2000)]
  root = _parse(charts.scatter({'a': points}, 'Critics', ((0., 1.), (1., 0.))))
  assert 100 < len(root.findall('.//circle')) <= 500
  assert [e.get('stroke-dasharray') for e in root.findall('.//line')].count(
      '4 3') == 1

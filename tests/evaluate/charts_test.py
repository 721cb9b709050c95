"""Charts as SVG."""

import math
import xml.etree.ElementTree

from alignflow_tf.evaluate import charts

_LINE = (0., 1.), (1., 0.)


def _parse(svg):
  return xml.etree.ElementTree.fromstring(svg)


def test_a_scatter_leaves_out_what_is_not_finite():
  svg = charts.scatter(
      {'a': [(math.nan, 1.), (0.5, 0.5), (1., math.inf)]}, '<Critics>', _LINE)
  root = _parse(svg)
  assert '&lt;Critics&gt;' in svg
  assert len(root.findall('.//circle')) == 1
  assert charts.scatter({'a': [(math.nan, 1.)]}, 'Critics', _LINE) == ''


def test_scatter_has_its_line():
  points = [(i / 2000, 1. - i / 2000) for i in range(2000)]
  root = _parse(charts.scatter({'a': points}, 'Critics', _LINE))
  assert 100 < len(root.findall('.//circle')) <= 500
  assert [e.get('stroke-dasharray') for e in root.findall('.//line')].count(
      '4 3') == 1

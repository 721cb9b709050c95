"""tools/results_check.py: figures of a page against measured ones."""

import pathlib

import pytest

from alignflow_tf import data
from tools import results_check
from tools import results_json
from tools import results_rows
from tools import results_trained

PAGE = """
## Other

| | MSE |
|---|---|
| mean image | 9.0 |

## Maps

| | MSE, there / back | nearest | error |
|---|---|---|---|
| mean image | 0.0173 / 0.0477 | 1.3 % | 2.0e-6 |

| | KID |
|---|---|
| mean image | -0.71 |
"""


def _differ(column, *figures, title='mean image', share=0.):
  row = results_rows.Row('Maps', title, (column,), list(figures), share)
  return results_rows.differences(results_json.tables(PAGE), [row])


def test_figures_agree_as_far_as_they_are_written():
  assert not _differ('MSE, there / back', 0.01734, 0.04766)
  assert not _differ('nearest', 0.0133)
  assert not _differ('error', 2.04e-6)
  assert not _differ('KID', -0.706)
  assert not _differ('KID', -0.6, share=0.2)


@pytest.mark.parametrize(('column', 'figures', 'message'), [
    ('MSE, there / back', (0.0174, 0.0477),
     'written 0.0173 / 0.0477, measured 0.0174 / 0.0477'),
    ('MSE, there / back', (0.0173,), 'measured 0.0173'),
    ('nearest', (0.0137,), 'written 1.3 %, measured 0.0137'),
    ('error', (2.1e-6,), 'written 2.0e-6, measured 2.1e-06'),
    ('KID', (0.71,), 'written -0.71'),
    ('KID', (float('nan'),), 'measured nan'),
    ('MSE', (9.,), 'no such cell')])
def test_a_difference_is_told_with_both_values(column, figures, message):
  text, = _differ(column, *figures)
  assert text.startswith('Maps, mean image')
  assert message in text


@pytest.mark.slow
def test_the_pages_have_the_pretrained_models_figures(monkeypatch, capsys):
  monkeypatch.setattr('sys.argv', ['results_check'])
  assert not results_check.main(), capsys.readouterr().out
  assert 'maps: skipped' in capsys.readouterr().out


def test_rows_that_are_trained_are_held_against_the_pages(monkeypatch):
  """Each is close to its cell with a figure that is, and far with another."""
  def run(*arguments):
    for flag in arguments:
      if flag.startswith('--output='):
        folder = pathlib.Path(
            flag.partition('=')[2], 'svhn_mnist/seed_0/source_only')
        folder.mkdir(parents=True)
        (folder / 'result.json').write_text('{"accuracy": 0.79}')
    return '{"test": 2.7}'

  def evaluate(run, output, classify, supervised):
    return {'translation': {
        way: {'model': {'label_agreement': kept} if supervised else {
            'mse': mse}}
        for way, kept, mse in (('a', 0.28, 0.022), ('b', 0.31, 0.056))}}

  monkeypatch.setattr(results_trained, '_run', run)
  monkeypatch.setattr(results_trained.evaluation, 'evaluate', evaluate)
  for name, measure in results_trained.measures('maps', 'tfds'):
    (page, (row,)), = measure().items()
    tables = results_json.tables(
        (results_json.ROOT / page).read_text('utf-8'))
    assert not results_rows.differences(tables, [row]), name
    other = row._replace(figures=[2. * figure for figure in row.figures])
    assert results_rows.differences(tables, [other]), name


def test_rows_whose_data_are_not_there_are_skipped():
  measures = dict(results_trained.measures(None, None))
  for name, flag in (('lambda', 'data_dir'), ('adaptation', 'tfds_dir')):
    with pytest.raises(data.DataError, match=flag):
      measures[name]()

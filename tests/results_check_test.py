"""tools/results_check.py: figures of a page against measured ones."""

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


def test_rows_that_are_trained_name_cells_of_the_pages(monkeypatch):
  def rows(mse):
    return {'rows': {'row': {'title': 'lambda infinity',
                             'figures': {'mse': {'mean': mse}}}}}

  files = {'table.json': {'directions': {'a': rows(0.02), 'b': rows(0.05)}},
           'result.json': {'accuracy': 0.8}}
  monkeypatch.setattr(results_trained, '_run', lambda *_: '{"test": 2.5}')
  monkeypatch.setattr(results_trained, '_json', lambda *path: files[path[-1]])
  monkeypatch.setattr(
      results_trained.evaluation, 'evaluate', lambda *_: {'translation': {
          way: {'model': {'label_agreement': 0.3}} for way in 'ab'}})
  for _, measure in results_trained.measure('maps', 'tfds'):
    for page, rows in measure().items():
      text = (results_json.ROOT / page).read_text('utf-8')
      for line in results_rows.differences(results_json.tables(text), rows):
        assert 'no such cell' not in line


def test_rows_whose_data_are_not_there_are_skipped():
  measures = dict(results_trained.measure(None, None))
  for name, flag in (('lambda', 'data_dir'), ('adaptation', 'tfds_dir')):
    with pytest.raises(data.DataError, match=flag):
      measures[name]()

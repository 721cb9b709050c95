"""tools/results_check.py: figures of a page against measured ones."""

import pytest

from tools import results_check
from tools import results_json
from tools import results_rows

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

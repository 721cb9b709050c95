"""The paper's Table 3: lambda from 0 to infinity.

  python -m alignflow_tf.evaluate.table3 --dataset=maps --seeds=0,1,2

trains every run, or goes on with it, evaluates it, and writes table.json,
table.md and report.html. See docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app
from absl import flags

from alignflow_tf import _quiet as _quiet
from alignflow_tf.evaluate import table_flags
from alignflow_tf.evaluate import tables

table_flags.define()
flags.adopt_module_key_flags(table_flags)
_LAMBDAS = flags.DEFINE_list(
    'lambdas', ['0', '1e-5', '1e-4', '1e-3', '1e-2', 'inf'],
    "Lambdas on the scale of the paper's image size; see "
    '`tables.paper_lambda`.')


def _numbers(texts: Sequence[str]) -> list[float]:
  try:
    values = [float(t) for t in texts]
  except ValueError as e:
    raise tables.TableError(f'`lambdas`: {e}') from e
  if not values or len(set(values)) < len(values) or not all(
      v >= 0. for v in values):
    raise tables.TableError(
        f'`lambdas` must be different numbers of 0 or more, got {texts}.')
  return values


def main(argv: Sequence[str]) -> None:
  """Makes the table."""
  table_flags.main(
      argv, 'table3', lambda s: tables.table3(s, _numbers(_LAMBDAS.value)))


if __name__ == '__main__':
  app.run(main)

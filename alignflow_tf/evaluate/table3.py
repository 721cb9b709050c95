"""The paper's Table 3: lambda from 0 to infinity.

  python -m alignflow_tf.evaluate.table3 --dataset=maps --seeds=0,1,2

trains or goes on with every run, evaluates it, and writes table.json, table.md
and report.html. See docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
import sys

from absl import app
from absl import flags
from absl import logging

from alignflow_tf import data
from alignflow_tf.evaluate import table_flags
from alignflow_tf.evaluate import table_report
from alignflow_tf.evaluate import tables
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import runs

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
  if len(argv) > 1:
    raise app.UsageError(f'Unknown argument {argv[1]!r}: flags begin with --.')
  logging.set_verbosity(logging.WARNING)
  try:
    settings = table_flags.settings(flags.FLAGS, 'table3')
    methods = tables.table3(settings, _numbers(_LAMBDAS.value))
    table_report.make(methods, settings)
  except (config_lib.ConfigError, data.DataError, runs.RunError,
          tables.TableError) as e:
    sys.exit(f'alignflow_tf.evaluate.table3: {e}')


if __name__ == '__main__':
  app.run(main)

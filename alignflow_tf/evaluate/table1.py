"""The paper's Table 1: CycleGAN and three kinds of AlignFlow.

  python -m alignflow_tf.evaluate.table1 --dataset=maps --seeds=0,1,2

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
_LAMBDA = flags.DEFINE_float(
    'hybrid_lambda', 1e-5,
    "Lambda of the hybrid row on the scale of the paper's image size; see "
    '`tables.paper_lambda`.', lower_bound=0.)


def main(argv: Sequence[str]) -> None:
  """Makes the table."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown argument {argv[1]!r}: flags begin with --.')
  logging.set_verbosity(logging.WARNING)
  try:
    settings = table_flags.settings(flags.FLAGS, 'table1')
    table_report.make(tables.table1(settings, _LAMBDA.value), settings)
  except (config_lib.ConfigError, data.DataError, runs.RunError,
          tables.TableError) as e:
    sys.exit(f'alignflow_tf.evaluate.table1: {e}')


if __name__ == '__main__':
  app.run(main)

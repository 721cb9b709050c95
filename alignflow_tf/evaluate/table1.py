"""The paper's Table 1: CycleGAN and three kinds of AlignFlow.

  python -m alignflow_tf.evaluate.table1 --dataset=maps --seeds=0,1,2

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
_LAMBDA = flags.DEFINE_float(
    'hybrid_lambda', 1e-5,
    "Lambda of the hybrid row on the scale of the paper's image size; see "
    '`tables.paper_lambda`.', lower_bound=0.)


def main(argv: Sequence[str]) -> None:
  """Makes the table."""
  table_flags.main(
      argv, 'table1', lambda s: tables.table1(s, _LAMBDA.value))


if __name__ == '__main__':
  app.run(main)

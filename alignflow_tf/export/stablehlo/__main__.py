"""Writes a kit: python -m alignflow_tf.export.stablehlo --output=kit.

The flags of `python -m alignflow_tf.train` say what is trained. With
`--run_dir=RUN` of a run that is there, the kit goes on from its newest
checkpoint. See docs/stablehlo.md.
"""

from __future__ import annotations

from collections.abc import Sequence
import os

from absl import app
from absl import flags

from alignflow_tf import _errors
from alignflow_tf.export import stablehlo
from alignflow_tf.export.stablehlo import kit
from alignflow_tf.train import flags as flags_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import runs

flags_lib.define()
flags.adopt_module_key_flags(flags_lib)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Directory of the kit, which must not be there yet.',
    required=True)
_PRECISIONS = flags.DEFINE_list(
    'precisions', ['float32'],
    f'Programs to write: some of {", ".join(kit.PRECISIONS)}.')
_COMPACT = flags.DEFINE_bool(
    'compact', True,
    'Store large random tensors of the initial state as distributions.')


def main(argv: Sequence[str]) -> None:
  """Writes a kit."""
  with _errors.program('alignflow_tf.export.stablehlo', argv):
    config, run_dir = flags_lib.resolve(flags.FLAGS)
    checkpoint = None
    if os.path.exists(os.path.join(run_dir, 'config.json')):
      checkpoint = runs.Run(run_dir).latest()
    domains = inputs.load(config, batch_size=config.batch_size)
    inputs.check(config, domains)
    output = stablehlo.write(
        config, domains, _OUTPUT.value, _PRECISIONS.value, _COMPACT.value,
        checkpoint)
  size = sum(os.path.getsize(os.path.join(root, name))
             for root, _, names in os.walk(output) for name in names)
  print(f'{output}: {size / 1e6:.1f} MB. Run it where JAX is:\n'
        f'  python {output}/run.py --output=OUT')


if __name__ == '__main__':
  app.run(main)

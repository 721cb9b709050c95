"""Exports a run for TF Serving.

  python -m alignflow_tf.export --run=runs/digits --output=serving

writes `serving/<name>/<version>/` for every direction (`a_to_b`) and every
domain, and the files that a server is started with. See docs/serving.md.
"""

from __future__ import annotations

from collections.abc import Sequence
import os

from absl import app
from absl import flags

from alignflow_tf import _errors
from alignflow_tf import _quiet as _quiet
from alignflow_tf import pretrained
from alignflow_tf.export import codec
from alignflow_tf.export import export
from alignflow_tf.export import servables

_RUN = flags.DEFINE_string(
    'run', None, 'Run directory of `python -m alignflow_tf.train`.',
    required=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Directory of the servables; <run>/export by default.')
_VERSION = flags.DEFINE_integer(
    'version', None, 'Version number; the next free one by default.')
_AVERAGE = flags.DEFINE_bool(
    'average', True,
    'Export the moving average of the weights, not the newest ones.')
_MAX_BATCH = flags.DEFINE_integer(
    'max_batch', servables.MAX_BATCH, 'Largest number of rows of a request.')
_MAX_PIXELS = flags.DEFINE_integer(
    'max_pixels', codec.MAX_PIXELS,
    'Largest width * height of a picture that is decoded.')
_LITERT = flags.DEFINE_bool(
    'litert', False, 'Also convert translators for LiteRT.')
_ONNX = flags.DEFINE_bool(
    'onnx', False, 'Also convert translators to ONNX; see BUILD.md.')
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', 'newest', "'newest', 'best' on validation data, or a step.")


def main(argv: Sequence[str]) -> None:
  """Exports a run."""
  with _errors.program('alignflow_tf.export', argv):
    output = _OUTPUT.value or os.path.join(
        pretrained.outputs(_RUN.value), 'export')
    paths = export.export_run(
        _RUN.value, output, _VERSION.value, _AVERAGE.value, _MAX_BATCH.value,
        _MAX_PIXELS.value,
        ['litert'] * _LITERT.value + ['onnx'] * _ONNX.value,
        _CHECKPOINT.value)
  for path in paths:
    print(path)
  print(f'How to serve them: {os.path.join(output, "README.md")}')


if __name__ == '__main__':
  app.run(main)

"""Serves a page to try out a trained model.

  pip install 'alignflow_tf[page]'
  python -m alignflow_tf.demo                        # a pretrained model
  python -m alignflow_tf.demo --run=runs/seasons

The page is served to this computer only and needs no network.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app
from absl import flags
from absl import logging

from alignflow_tf import _errors
from alignflow_tf import _quiet as _quiet
from alignflow_tf import _threads
from alignflow_tf.demo import page
from alignflow_tf.demo import playground
from alignflow_tf.export import codec

_RUN = flags.DEFINE_string(
    'run', 'pretrained:digits',
    'Run directory of `python -m alignflow_tf.train`.')
_PORT = flags.DEFINE_integer(
    'port', 7860, 'Port of 127.0.0.1.', lower_bound=1, upper_bound=65535)
_MAX_PIXELS = flags.DEFINE_integer(
    'max_pixels', codec.MAX_PIXELS,
    'Largest width * height of a picture that is decoded.', lower_bound=1)
_AVERAGE = flags.DEFINE_bool(
    'average', True,
    'Show the moving average of the weights, not the newest ones.')


def main(argv: Sequence[str]) -> None:
  """Serves the page until interrupted."""
  logging.set_verbosity(logging.WARNING)
  _threads.configure()
  with _errors.program('alignflow_tf.demo', argv):
    page.load_gradio()
    play = playground.Playground(
        _RUN.value, _AVERAGE.value, _MAX_PIXELS.value)
    page.serve(page.build(play), _PORT.value)


if __name__ == '__main__':
  app.run(main)

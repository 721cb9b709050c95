"""Evaluates a run: python -m alignflow_tf.evaluate --run=runs/digits."""

from __future__ import annotations

from collections.abc import Sequence

from absl import app
from absl import flags
from absl import logging

from alignflow_tf import _errors
from alignflow_tf import _quiet as _quiet
from alignflow_tf import _threads
from alignflow_tf.evaluate import evaluation
from alignflow_tf.train import faults

_RUN = flags.DEFINE_string('run', None, 'The run directory.', required=True)
_OUTPUT = flags.DEFINE_string(
    'output', None,
    'Directory for pictures and figures; RUN/evaluation by default.')
_SPLIT = flags.DEFINE_enum(
    'split', 'test', evaluation.SPLITS,
    'The images to evaluate on; use validation images to choose settings.')
_LIMIT = flags.DEFINE_integer(
    'limit', None, 'Largest number of images of each domain.', lower_bound=2)
_CLASSIFY = flags.DEFINE_bool(
    'classify', True,
    'Whether to train classifiers on translated images, if the data have '
    'labels.')
_SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed of dequantisation and classifiers.', lower_bound=0,
    upper_bound=2**32 - 1)
_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, "Directory of the data; the run's own by default.")
_DOMAIN = flags.DEFINE_multi_string(
    'domain', None, 'name:DIR for each domain of `dataset=folders`, if its '
    'pictures have moved since training.')
_INPUT = flags.DEFINE_multi_string(
    'input', None, 'name:DIR of a domain: all pictures of that folder are its '
    'test images. Given for all domains, files of one name are pairs.')
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', 'newest', "'newest', 'best' on validation data, or a step.")

_REFERENCES = flags.DEFINE_string(
    'references', None,
    'Directory of reference networks, which depend on the data only and are '
    'trained once; ~/.cache/alignflow_tf/references by default.')
_SUPERVISED = flags.DEFINE_bool(
    'supervised', True,
    'Whether to train reference networks, for the row "supervised", label '
    'agreement, KID and FID.')
_INCEPTION = flags.DEFINE_string(
    'inception_weights', None,
    "Keras' InceptionV3 weights without the top, for KID and FID.")


def main(argv: Sequence[str]) -> None:
  """Evaluates and prints."""
  logging.set_verbosity(logging.WARNING)
  _threads.configure()
  with _errors.program(
      'alignflow_tf.evaluate', argv, _OUTPUT.value or _RUN.value):
    with faults.reading():
      result = evaluation.evaluate(
          _RUN.value, _OUTPUT.value, _LIMIT.value, _CLASSIFY.value, _SEED.value,
          _DATA_DIR.value, _SPLIT.value, _CHECKPOINT.value, _REFERENCES.value,
          _SUPERVISED.value, _INCEPTION.value, _DOMAIN.value,
          _INPUT.value)
  print(evaluation.table(result))


if __name__ == '__main__':
  app.run(main)

"""Translates pictures with a trained model.

  python -m alignflow_tf.translate --run=runs/seasons --from=summer --to=winter
      --input=photos --output=translated

The same command goes on where it was stopped. `--to=latent`, `--score`,
`--interpolate FIRST LAST` and `--sample=N` do other things with a model; see
docs/translate.md. Exit codes: 0 all done, 1 an error in the arguments, 3 some
pictures could not be read or translated.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
import sys

from absl import app
from absl import flags
from absl import logging

from alignflow_tf import _quiet as _quiet
from alignflow_tf import train as train_lib
from alignflow_tf.data import decoding
from alignflow_tf.data import recipe
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import devices
from alignflow_tf.translate import files
from alignflow_tf.translate import models

_RUN = flags.DEFINE_string(
    'run', None, 'Run directory, or a directory of exported SavedModels.',
    required=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Directory of the outputs.', required=True)
_INPUT = flags.DEFINE_multi_string(
    'input', [], 'Folder or file; further ones may follow the flags.')
_FROM = flags.DEFINE_string(
    'from', None, "Domain of the inputs, or 'latent' for .npz of --to=latent.")
_TO = flags.DEFINE_string('to', None, "Domain to translate to, or 'latent'.")
_SIZE = flags.DEFINE_enum(
    'size', 'model', ['model', 'original'],
    "Size of the outputs: the model's, or each picture's own.")
_FIT = flags.DEFINE_enum(
    'fit', None, list(recipe.FITS),
    "How a picture is brought to the model's size; as in training by default.")
_EXACT = flags.DEFINE_bool(
    'exact', False, 'Whether to write float32 values beside each PNG (.npz), '
    'from which the way back gives the source.')
_SCORE = flags.DEFINE_bool(
    'score', False, 'Write bits/dim of each picture to <output>/scores.csv.')
_INTERPOLATE = flags.DEFINE_bool(
    'interpolate', False, 'Interpolate between two pictures, which follow.')
_SAMPLE = flags.DEFINE_integer(
    'sample', None, 'Number of samples of each domain, paired by their names.',
    lower_bound=1)
_SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed of --sample and --score.', lower_bound=0,
    upper_bound=2**32 - 1)
_TEMPERATURE = flags.DEFINE_float(
    'temperature', 1., 'Standard deviation of the latents of --sample.',
    lower_bound=0.)
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', 'newest', "'newest', 'best' on validation data, or a step.")
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 16, "Images of the model's size at a time.", lower_bound=1,
    upper_bound=256)
_MAX_PIXELS = flags.DEFINE_integer(
    'max_pixels', decoding.MAX_PIXELS,
    'Largest width * height of a picture that is read.', lower_bound=1)


def _check(inputs: Sequence[str]) -> tuple[list[files.Item], str]:
  """Checks the flags before TensorFlow is loaded; finds the files."""
  modes = [flag.name for flag in (_TO, _SCORE, _INTERPOLATE, _SAMPLE)
           if flag.value]
  if len(modes) != 1:
    raise files.TranslateError(
        'give one of `to`, `score`, `interpolate` and `sample`, got '
        f'{", ".join(modes) or "none"}.')
  domains = models.domains_of(_RUN.value)
  for flag, needed in ((_FROM, not _SAMPLE.value), (_TO, _TO.value)):
    allowed = (*domains, files.LATENT) if _TO.value else domains
    if needed and flag.value not in allowed:
      raise files.TranslateError(
          f'`{flag.name}` must be one of {", ".join(allowed)}, got '
          f'{flag.value!r}.')
  if _TO.value and _FROM.value == _TO.value:
    raise files.TranslateError(
        f'`to` must differ from `from`, got {_TO.value!r} twice.')
  if _SIZE.value == 'original' and (_FIT.value or not _TO.value):
    raise files.TranslateError(
        '`size=original` goes with `to`, and without `fit`.')
  if _EXACT.value and _TO.value in (None, files.LATENT):
    raise files.TranslateError('`exact` goes with `to` and a domain.')
  if _SAMPLE.value:
    return [], ''
  output = os.path.realpath(_OUTPUT.value) + os.sep
  for path in inputs:
    folder = os.path.realpath(path)
    if os.path.isfile(path) and output == os.path.dirname(folder) + os.sep or (
        os.path.isdir(path) and output.startswith(folder + os.sep)):
      raise files.TranslateError(
          f'`output` must not be where `input` {path!r} is, got '
          f'{_OUTPUT.value!r}: pictures could be lost.')
  items, ignored = files.find(inputs, latents=_FROM.value == files.LATENT)
  if _INTERPOLATE.value and len(items) != 2:
    raise files.TranslateError(
        f'`interpolate` takes two pictures, got {len(items)}.')
  return items, ignored


def _run(items: list[files.Item], ignored: str) -> int:
  """Does what the flags ask for; returns the exit code."""
  # They load TensorFlow, for which mistakes in the flags need not wait.
  from alignflow_tf.translate import latents
  from alignflow_tf.translate import reading
  from alignflow_tf.translate import scores
  from alignflow_tf.translate import translation
  if ignored:
    print(f'Not read: {ignored}.')
  opened = models.open_model(_RUN.value, _CHECKPOINT.value)
  opened.check(
      latents=files.LATENT in (_FROM.value, _TO.value) or bool(
          _INTERPOLATE.value or _SAMPLE.value), densities=_SCORE.value)
  translation.check_settings(_OUTPUT.value, {
      'run': os.path.abspath(_RUN.value), 'version': opened.version,
      **{flag.name: flag.value for flag in (
          _FROM, _TO, _SIZE, _FIT, _EXACT, _SCORE, _INTERPOLATE, _SAMPLE,
          _SEED, _TEMPERATURE)}})
  if _SAMPLE.value:
    latents.sample(opened, _SAMPLE.value, _OUTPUT.value, _SEED.value,
                   _TEMPERATURE.value, _BATCH_SIZE.value)
    return 0
  reader = reading.Reader(
      opened, _FROM.value or '', _SIZE.value, _FIT.value, _MAX_PIXELS.value)
  if _INTERPOLATE.value:
    print(*latents.interpolate(opened, reader, items, _OUTPUT.value), sep='\n')
    return 0
  if _SCORE.value:
    summary = scores.score(opened, reader, items, _OUTPUT.value,
                           _BATCH_SIZE.value, _SEED.value)
  else:
    summary = translation.translate(
        opened, reader, items, _TO.value or '', _OUTPUT.value, _EXACT.value,
        _BATCH_SIZE.value)
  print(f'{summary.done} done, {summary.kept} there already, '
        f'{len(summary.failed)} could not be read or translated: '
        f'{_OUTPUT.value}')
  return 3 if summary.failed else 0


def main(argv: Sequence[str]) -> None:
  """Translates."""
  logging.set_verbosity(logging.WARNING)
  devices.configure_threads()
  for flag in (_RUN, _OUTPUT):
    flags.FLAGS[flag.name].value = os.path.expanduser(flag.value)
  try:
    code = _run(*_check([*_INPUT.value, *argv[1:]]))
  except KeyboardInterrupt:
    print('\nalignflow_tf.translate: stopped; the same command goes on.',
          file=sys.stderr)
    sys.exit(130)
  except (files.TranslateError, config_lib.ConfigError) as e:
    sys.exit(f'alignflow_tf.translate: {e}')
  except OSError as e:
    sys.exit(
        f'alignflow_tf.translate: {e}. Make room or make it writable, and '
        'start again: it goes on where it was stopped.')
  except train_lib.RunError as e:  # Named apart, as this loads TensorFlow.
    sys.exit(f'alignflow_tf.translate: {e}')
  sys.exit(code)


if __name__ == '__main__':
  app.run(main)

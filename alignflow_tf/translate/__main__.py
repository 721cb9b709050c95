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
from typing import Any

from absl import app
from absl import flags
from absl import logging

from alignflow_tf import _errors
from alignflow_tf import _quiet as _quiet
from alignflow_tf import _threads
from alignflow_tf import pretrained
from alignflow_tf.data import decoding
from alignflow_tf.data import recipe
from alignflow_tf.translate import files
from alignflow_tf.translate import models

# Settings by which the outputs of a folder belong together.
_KEPT = ('from', 'to', 'size', 'fit', 'exact', 'score', 'interpolate', 'sample',
         'seed', 'temperature', 'many')


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  def text(name: str, default: str | None, words: str,
           required: bool = False) -> None:
    flags.DEFINE_string(
        name, default, words, required=required, flag_values=values)

  def number(name: str, default: int | None, words: str, least: int = 1,
             most: int | None = None) -> None:
    flags.DEFINE_integer(name, default, words, lower_bound=least,
                         upper_bound=most, flag_values=values)

  def switch(name: str, words: str) -> None:
    flags.DEFINE_bool(name, False, words, flag_values=values)

  text('run', None, 'Run directory, folder of exported SavedModels, or '
       'pretrained:digits.', True)
  text('output', None, 'Folder of the outputs.', True)
  flags.DEFINE_multi_string(
      'input', [], 'Folder or file; further ones may follow the flags.',
      flag_values=values)
  text('from', None, "Domain of the inputs; 'latent' for .npz of --to=latent.")
  text('to', None, "Domain to translate to, or 'latent'.")
  flags.DEFINE_enum(
      'size', 'model', ['model', 'original'], "Size of the outputs: the "
      "model's, or each picture's own.", flag_values=values)
  flags.DEFINE_enum(
      'fit', None, list(recipe.FITS), "How a picture is brought to the model's "
      'size; as in training by default.', flag_values=values)
  switch('exact', 'Also write the float32 values of each PNG (.npz), from '
         'which the way back gives the source.')
  switch('score', 'Write bits/dim of each picture to <output>/scores.csv.')
  switch('interpolate', 'Interpolate between two pictures, which follow.')
  number('sample', None, 'Number of samples of each domain, paired by names.')
  number('many', None, 'Number of translations of each picture, drawn at '
         'random, in folders 0, 1, ... of <output>; of runs that were trained '
         'with --many.')
  number('seed', 0, 'Seed of --sample and --score, and the first one of '
         '--many.', 0, 2**31 - 1)
  flags.DEFINE_float(
      'temperature', 1., 'Standard deviation of the latents of --sample.',
      lower_bound=0., flag_values=values)
  text('checkpoint', 'newest',
       "'newest', 'best' on validation data, or a step.")
  number('batch_size', 16, "Images of the model's size at a time.", 1, 256)
  number('max_pixels', decoding.MAX_PIXELS,
         'Largest width * height of a picture that is read.')


def _check(values: flags.FlagValues, inputs: Sequence[str]
          ) -> tuple[list[files.Item], str]:
  """Checks the flags before TensorFlow is loaded; finds the files."""
  modes = [name for name in ('to', 'score', 'interpolate', 'sample')
           if values[name].value]
  if len(modes) != 1:
    raise files.TranslateError(
        'give one of `to`, `score`, `interpolate` and `sample`, got '
        f'{", ".join(modes) or "none"}.')
  allowed = models.domains_of(values.run)
  if values.to:
    allowed += (files.LATENT,)
  for name, needed in (('from', not values.sample), ('to', values.to)):
    given = values[name].value
    if needed and given not in allowed:
      raise files.TranslateError(
          f'`{name}` must be one of {", ".join(allowed)}, got {given!r}.')
  if values.to and values['from'].value == values.to:
    raise files.TranslateError(
        f'`to` must differ from `from`, got {values.to!r} twice.')
  if values.size == 'original' and (values.fit or not values.to):
    raise files.TranslateError(
        '`size=original` goes with `to`, and without `fit`.')
  if values.exact and values.to in (None, files.LATENT):
    raise files.TranslateError('`exact` goes with `to` and a domain.')
  if values.many and (values.to in (None, files.LATENT) or
                      values['from'].value == files.LATENT):
    raise files.TranslateError('`many` goes with `from` and `to` domains.')
  if values.many and values.exact:
    # What was drawn stays in the way back, whatever the precision.
    raise files.TranslateError('`exact` does not go with `many`.')
  if values.sample:
    return [], ''
  output = os.path.realpath(values.output) + os.sep
  for path in inputs:
    folder = os.path.realpath(path)
    if os.path.isfile(path) and output == os.path.dirname(folder) + os.sep or (
        os.path.isdir(path) and output.startswith(folder + os.sep)):
      raise files.TranslateError(
          f'`output` must not be where `input` {path!r} is, got '
          f'{values.output!r}: pictures could be lost.')
  items, ignored = files.find(
      inputs, latents=values['from'].value == files.LATENT)
  if values.interpolate and len(items) != 2:
    raise files.TranslateError(
        f'`interpolate` takes two pictures, got {len(items)}.')
  return items, ignored


def _run(values: flags.FlagValues, items: list[files.Item], ignored: str
        ) -> int:
  """Does what the flags ask for; returns the exit code."""
  # They load TensorFlow, for which mistakes in the flags need not wait.
  from alignflow_tf.translate import latents
  from alignflow_tf.translate import reading
  from alignflow_tf.translate import scores
  from alignflow_tf.translate import translation
  if ignored:
    print(f'Not read: {ignored}.')
  print('Loading the model; the first picture takes longest.', flush=True)
  source: str = values['from'].value or ''
  output = values.output
  opened = models.open_model(values.run, values.checkpoint)
  opened.check(
      latents=files.LATENT in (source, values.to) or bool(
          values.interpolate or values.sample), densities=values.score)
  translation.check_settings(output, {
      'run': os.path.abspath(values.run), 'version': opened.version,
      **{name: values[name].value for name in _KEPT}})
  if values.sample:
    latents.sample(opened, values.sample, output, values.seed,
                   values.temperature, values.batch_size)
    return 0
  reader = reading.Reader(
      opened, source, values.size, values.fit, values.max_pixels)
  if values.interpolate:
    print(*latents.interpolate(opened, reader, items, output), sep='\n')
    return 0
  if values.score:
    summary = scores.score(
        opened, reader, items, output, values.batch_size, values.seed)
  elif values.many:
    if values.to not in opened.many:
      raise files.TranslateError(
          f'`many` needs a run that was trained with --many={values.to}, got '
          f'one with {", ".join(opened.many) or "none"}.')
    summary = translation.Summary()
    for i in range(values.many):
      summary += translation.translate(
          opened, reader, items, values.to, os.path.join(output, str(i)),
          batch_size=values.batch_size, draw=values.seed + i)
  else:
    summary = translation.translate(
        opened, reader, items, values.to, output, values.exact,
        values.batch_size)
  exact = f' ({summary.exact} from exact values)' if summary.exact else ''
  print(f'{summary.done} done{exact}, {summary.kept} there already, '
        f'{len(summary.failed)} could not be read or translated: {output}')
  return 3 if summary.failed else 0


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
  """Translates."""
  logging.set_verbosity(logging.WARNING)
  _threads.configure()
  run: Any = pretrained.directory(values.run)
  values.run = run
  values.output = os.path.expanduser(values.output)
  output: Any = values.output
  with _errors.program('alignflow_tf.translate', (), output):
    code = _run(values, *_check(values, [*values.input, *argv[1:]]))
  sys.exit(code)


if __name__ == '__main__':
  define(flags.FLAGS)
  app.run(main)

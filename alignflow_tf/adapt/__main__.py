"""Adapts a classifier: python -m alignflow_tf.adapt --task=usps_mnist.

From labelled source images and unlabelled target images it learns a classifier
of the target. The same command goes on where it was stopped.
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
from alignflow_tf import data
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import methods
from alignflow_tf.adapt import pipeline
from alignflow_tf.adapt import report
from alignflow_tf.train import faults
from alignflow_tf.train import flags as flags_lib
from alignflow_tf.train import loop

_TASK = flags.DEFINE_enum(
    'task', None, config_lib.TASKS, 'Source and target of the paper.')
_METHOD = flags.DEFINE_list(
    'method', ['alignflow'],
    'One or more of ' + ', '.join(methods.METHODS) + '.')
_SEEDS = flags.DEFINE_list('seeds', ['0'], 'One or more seeds.')
_OUTPUT = flags.DEFINE_string(
    'output', 'runs/adapt', 'Directory for stages and results.')
_SKIP = flags.DEFINE_list(
    'skip', [], 'Stages to leave out: ' + ', '.join(methods.SKIPPABLE) + '.')
_SCORE = flags.DEFINE_bool(
    'score', True, "Whether to score on the target's test images. Use "
    '--noscore to choose settings by criteria that need no label of the '
    'target.')
_DATASET = flags.DEFINE_string(
    'dataset', None,
    'A pair of domains in place of --task, for example your own pictures; the '
    'first domain is the source. `folders` needs --domain twice.')
_DOMAIN = flags.DEFINE_multi_string(
    'domain', [], 'name:DIR or name:tfds:SET of a domain of '
    '--dataset=folders, the source first. Sub-folders of the source are its '
    'classes; the target may have none.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Directory of the data.')
_DOWNLOAD = flags.DEFINE_bool(
    'download', True, 'Whether missing data may be downloaded.')
flags_lib.define_fields(config_lib.Settings)
# For --help, which lists the flags of the main module alone.
flags.adopt_module_key_flags(flags_lib)


def _load(settings: config_lib.Settings) -> data.DomainSet:
  name = _TASK.value or _DATASET.value
  if name is None or (_TASK.value and _DATASET.value):
    raise config_lib.AdaptError(
        f'Give one of `task` and `dataset`, got {_TASK.value!r} and '
        f'{_DATASET.value!r}.')
  folders = dict(item.split(':', 1) for item in _DOMAIN.value if ':' in item)
  if _DATASET.value == 'folders' and len(folders) != 2:
    raise config_lib.AdaptError(
        '`domain` must name two domains, name:DIR, the source first, got '
        f'{_DOMAIN.value}.')
  # TFDS sets have labels of their own.
  by_folder = not any(place.startswith('tfds:') for place in folders.values())
  return data.load(
      name, data_dir=_DATA_DIR.value,
      image_size=settings.image_size, channels=settings.channels,
      download=_DOWNLOAD.value, domain_dirs=folders or None,
      label_by_folder=by_folder and next(iter(folders), False),
      **settings.reading())


def _run() -> None:
  given = flags_lib.given(config_lib.Settings, flags.FLAGS)
  settings = config_lib.resolve(
      given.pop('preset', None), _TASK.value or _DATASET.value, **given)
  try:
    seeds = [int(seed) for seed in _SEEDS.value]
  except ValueError:
    raise config_lib.AdaptError(
        f'`seeds` must be integers, got {_SEEDS.value}.') from None
  methods.check_call(_METHOD.value, seeds, _SKIP.value)
  domains = _load(settings)
  if len(domains.domains) != 2:
    raise config_lib.AdaptError(
        '`dataset` must have two domains, the source first, got '
        f'{domains.domains}.')
  source, target = domains.domains
  task = f'{source}_{target}'
  print('{} ({:,} training images, labelled) to {} ({:,}), {}x{}x{}: '
        'preset {}, classifier {}'.format(
            source, domains.sizes[source]['train'], target,
            domains.sizes[target]['train'], *domains.event_shape,
            settings.preset, settings.network), flush=True)
  results: dict[str, list[dict[str, Any]]] = {m: [] for m in _METHOD.value}
  for seed in seeds:
    for method in results:
      output = os.path.join(_OUTPUT.value, task, f'seed_{seed}')
      results[method].append(pipeline.adapt(
          domains, source, target, method, output, settings, seed,
          tuple(_SKIP.value), _SCORE.value))
  print(report.table(results, task, published=domains.name == task))


def main(argv: Sequence[str]) -> None:
  """Adapts, scores and prints."""
  logging.set_verbosity(logging.WARNING)
  _threads.configure()
  try:
    with _errors.program('alignflow_tf.adapt', argv, _OUTPUT.value):
      with faults.reading():
        _run()
  except loop.Stopped as e:
    # `alignflow_tf.train`, which its text names, knows no semantic term.
    print('Stopped; what is done is saved. The same command goes on.')
    sys.exit(128 + e.signum)


if __name__ == '__main__':
  app.run(main)

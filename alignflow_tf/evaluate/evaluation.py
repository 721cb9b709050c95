"""Evaluation of a run on its test data."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf import metrics
from alignflow_tf import pictures
from alignflow_tf.evaluate import labels as labels_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import runs

__all__ = ['SPLITS', 'evaluate', 'table']

SPLITS = ('test', 'validation')


def evaluate(
    run_dir: str,
    output: str | None = None,
    limit: int | None = None,
    classify: bool = True,
    seed: int = 0,
    data_dir: str | None = None,
    split: str = 'test',
    checkpoint: str = 'newest',
) -> dict[str, Any]:
  """Evaluates the averaged weights of a run on its test split.

  Args:
    run_dir: The run directory.
    output: Where pictures and `evaluation.json` go; by default
      `<run_dir>/evaluation`, or `<run_dir>/evaluation_validation`.
    limit: Number of images a domain at most; None for all.
    classify: Whether to train classifiers on translated images, where the
      data have labels.
    seed: Seed of dequantisation and classifiers.
    data_dir: Directory of the data, where they have moved since training.
    split: 'test', or 'validation' to choose settings by.
    checkpoint: 'newest', 'best' on validation data, or a step.

  Returns:
    The figures, as in `evaluation.json`.

  Raises:
    ValueError: If the split is another, or a number is out of range.
    RunError: If there is no run or no checkpoint.
    DataError: If the data cannot be had.
  """
  if split not in SPLITS:
    raise ValueError(
        f'`split` must be one of {", ".join(SPLITS)}, got {split!r}.')
  for name, value, least in (('limit', limit, 1), ('seed', seed, 0)):
    if name == 'limit' and value is None:
      continue
    if not isinstance(value, int) or not least <= value < 2**32:
      raise ValueError(
          f'`{name}` must be an integer of at least {least}, and below 2**32, '
          f'got {value!r}.')
  begin = time.monotonic()
  run = runs.Run(run_dir)
  path = run.checkpoint(checkpoint)
  model = runs.load(run_dir, checkpoint=path.rsplit('-', 1)[1])
  config = run.config
  if data_dir is not None:
    config = dataclasses.replace(config, data_dir=data_dir)
  domains = inputs.load(config)
  evaluator = metrics.Evaluator(model)
  output = output or os.path.join(
      run_dir, 'evaluation' if split == 'test' else f'evaluation_{split}')
  os.makedirs(output, exist_ok=True)

  test = {d: _as_floats(domains.arrays(d, split, limit=limit))
          for d in run.domains}
  result: dict[str, Any] = {
      'run': run_dir,
      'checkpoint': os.path.basename(path),
      'seed': seed,
      'split': split,
      'images': {d: len(test[d]['image']) for d in run.domains},
      'bits_per_dim': {}, 'round_trip': {}, 'round_trip_extremes': {},
      'accuracy': {},
  }
  extremes = _extremes(run.event_shape)
  for d in run.domains if evaluator.has_densities else ():
    bits = evaluator.bits_per_dim(test[d]['level'], d, seed)
    result['bits_per_dim'][d] = float(bits.mean())
  for s, t in _directions(run.domains):
    key = f'{s}_to_{t}'
    result['round_trip'][key] = evaluator.round_trip(test[s]['image'], s, t)
    result['round_trip_extremes'][key] = evaluator.round_trip(extremes, s, t)
  result['pictures'] = pictures.write_all(
      output, evaluator, {d: test[d]['image'] for d in run.domains})
  path = os.path.join(output, 'evaluation.json')
  config_lib.dump(path, result)
  if classify and domains.num_classes and min(run.event_shape[:2]) >= 16 and (
      all('label' in test[d] for d in run.domains)):
    train = {
        d: _as_floats(domains.arrays(d, 'train', limit=labels_lib.MAX_IMAGES))
        for d in run.domains}
    for s, t in _directions(run.domains):
      result['accuracy'][f'{s}_to_{t}'] = labels_lib.label_transfer(
          evaluator, train, test, s, t, domains.num_classes, seed)
  result['seconds'] = round(time.monotonic() - begin, 1)
  config_lib.dump(path, result)
  return result


def _directions(names: tuple[str, ...]) -> list[tuple[str, str]]:
  return [(s, t) for s in names for t in names if s != t]


def _as_floats(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  levels = arrays['image']
  return arrays | {
      'level': levels,
      'image': np.asarray(images_lib.from_uint8(tf.constant(levels)))}


def _extremes(event_shape: tuple[int, int, int]) -> np.ndarray:
  """Black, white, grey, and noise: images that no flow was trained on."""
  random = np.random.RandomState(0).random_sample((13, *event_shape))
  flat = [np.full(event_shape, value) for value in (0., 0.5, 1.)]
  return np.concatenate([flat, random]).astype(np.float32)


def table(result: dict[str, Any]) -> str:
  """The figures of `evaluate` as text for a terminal."""
  lines = [f'Run {result["run"]}, {result["checkpoint"]}, '
           f'{result["split"]} images: ' +
           ', '.join(f'{d} {n}' for d, n in result['images'].items())]
  if result['bits_per_dim']:
    lines += ['', 'bits/dim (lower is better)']
  for d, value in result['bits_per_dim'].items():
    lines.append(f'  {d:<24} {value:8.3f}')
  lines += ['', 'round trip, absolute error of a pixel in [0, 1]'
            '       max      mean']
  for title, key in ((f'{result["split"]} images', 'round_trip'),
                     ('black, white, noise', 'round_trip_extremes')):
    for direction, value in result[key].items():
      name = f'{direction} and back, {title}'
      lines.append(f'  {name:<48} {value["max"]:8.1e}  {value["mean"]:8.1e}')
  if result['accuracy']:
    lines += ['', f"accuracy on the target's {result['split']} images of a "
              'classifier trained on', f'  {"":<24} {"source images":>14} '
              f'{"translated":>12}']
    for direction, value in result['accuracy'].items():
      lines.append(f'  {direction:<24} {value["source_only"]:>13.1%} '
                   f'{value["translated"]:>12.1%}')
  lines += ['', 'Pictures:'] + [f'  {p}' for p in result['pictures']]
  return '\n'.join(lines)



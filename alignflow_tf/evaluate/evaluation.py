"""Evaluation of a run on its test data: figures, pictures, a report."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import itertools
import os
import time
from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf import pretrained
from alignflow_tf import sheets
from alignflow_tf.evaluate import draws
from alignflow_tf.evaluate import equation_9
from alignflow_tf.evaluate import own_pictures
from alignflow_tf.evaluate import paired_samples
from alignflow_tf.evaluate import probes
from alignflow_tf.evaluate import reference_networks
from alignflow_tf.evaluate import report
from alignflow_tf.evaluate import translations
from alignflow_tf.train import inputs
from alignflow_tf.train import runs

# Images for the agreement of critics.
_COMPARED = 1000
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
    references: str | None = None,
    supervised: bool = True,
    inception_weights: str | None = None,
    domain: Sequence[str] | None = None,
    own: Sequence[str] | None = None,
) -> dict[str, Any]:
  """Evaluates the averaged weights of a run on its test split.

  Writes `evaluation.json`, the figures; `report.html`, a page with all of it;
  and pictures. Numbers that are not finite are null in JSON.

  Args:
    run_dir: The run directory.
    output: Directory for them; by default `<run_dir>/evaluation`,
      `<run_dir>/evaluation_validation`, or `<run_dir>/evaluation_input` for
      `own`.
    limit: Largest number of images of each domain; None for all.
    classify: Whether to train classifiers on translated images, if the data
      have labels.
    seed: Seed of dequantisation and classifiers.
    data_dir: Directory of the data, if they have moved since training.
    split: 'test', or 'validation' for choosing settings: the images that
      training held out. Validation images of a domain whose labels training
      did not see (`alignflow_tf.adapt`) have no labels.
    checkpoint: 'newest', 'best' on validation data, or a step.
    references: Directory of reference networks; see
      `reference_networks.default_directory`.
    supervised: Whether reference networks may be trained, for the row
      "supervised", label agreement, and the features of KID and FID.
    inception_weights: Weights of InceptionV3, for KID and FID as they are
      usually measured; see `reference_networks.inception_features`.
    domain: `name:DIR` for each domain of `dataset=folders`, if its pictures
      have moved since training.
    own: `name:DIR` of domains, for all pictures of these folders in place of
      the split's. Where all domains are given, files of one name are pairs.

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
  output = os.path.expanduser(output) if output else os.path.join(
      pretrained.outputs(run_dir), 'evaluation_input' if own else
      'evaluation' if split == 'test' else f'evaluation_{split}')
  references = reference_networks.place(references)
  run = runs.Run(run_dir)
  run_dir = run.directory
  path = run.checkpoint(checkpoint)
  step = path.rsplit('-', 1)[1]
  model = runs.load(run_dir, checkpoint=step)
  config = run.config
  if data_dir is not None:
    config = dataclasses.replace(config, data_dir=data_dir)
  if domain:
    names = [d.split(':', 1)[0] for d in domain]
    if names != [d.split(':', 1)[0] for d in config.domain]:
      raise data.DataError(
          f'`domain` must name the domains of the run, {run.domains}, in their '
          f'order, got {list(domain)}.')
    config = dataclasses.replace(config, domain=tuple(domain))
  domains = inputs.load(config)
  inception = inception_weights and reference_networks.inception_features(
      inception_weights)
  evaluator = inference.Evaluator(model)
  os.makedirs(output, exist_ok=True)

  test = images_of(_as_trained(run, domains, split), split, limit)
  paired = domains.paired
  if own:
    found, paired = own_pictures.read(run, own, limit)
    test |= found
  result: dict[str, Any] = {
      'run': run_dir,
      'checkpoint': os.path.basename(path),
      'seed': seed,
      'split': split,
      'limit': limit,
      'supervised': supervised,
      'references': references,
      'inception_weights': inception_weights,
      'input': list(own or ()),
      'images': {d: len(test[d]['image']) for d in run.domains},
      'paired': paired,
      'translation': {}, 'chance': {}, 'features': {},
      'bits_per_dim': {}, 'bits_per_dim_bound': {},
      'round_trip': {}, 'round_trip_pictures': {}, 'round_trip_extremes': {},
      'draws': {}, 'samples': {}, 'accuracy': {}, 'critics': None,
  }
  extremes = _extremes(run.event_shape)
  for d in run.domains if evaluator.has_densities else ():
    bits = evaluator.bits_per_dim(test[d]['level'], d, seed)
    result['bits_per_dim'][d] = float(bits.mean())
  for d in run.domains if evaluator.has_bounds else ():
    bits = evaluator.bits_per_dim(test[d]['level'], d, seed)
    result['bits_per_dim_bound'][d] = float(bits.mean())
  result['pictures'] = sheets.write_all(
      output, evaluator, {d: test[d]['image'] for d in run.domains},
      paired=paired)
  if evaluator.has_densities:
    result['critics'] = _agreement(
        run, step, {d: test[d]['image'][:_COMPARED] for d in run.domains}, seed)
  path = os.path.join(output, 'evaluation.json')
  _io.dump(path, result)
  kept = reference_networks.References(domains, references)
  for s, t in itertools.permutations(run.domains, 2):
    judge = translations.Judge(
        domains, s, t, test[s]['image'], test[t]['image'],
        test[s].get('label'), kept, inception or None, supervised, seed,
        paired)
    key = f'{s}_to_{t}'
    images = test[s]['image']
    translated = evaluator.translate(images, s, t)
    for name, as_picture in (
        ('round_trip', False), ('round_trip_pictures', True)):
      result[name][key] = evaluator.round_trip(
          images, s, t, as_picture, translated)
    if t in config.many:
      result['draws'][key] = draws.score(
          evaluator, images, s, t, config.many_every, test[t]['image'], paired,
          seed)
      result['pictures'].append(os.path.join(output, f'draws_{key}.png'))
      sheets.write_png(result['pictures'][-1], draws.sheet(
          evaluator, images[:16], s, t, config.many_every,
          test[t]['image'][:16] if paired else None, seed))
    result['round_trip_extremes'][key] = evaluator.round_trip(extremes, s, t)
    result['translation'][key] = {
        'model': judge.score(translated), **judge.baselines()}
    result['chance'][key] = judge.chance
    result['features'][key] = judge.features
    _io.dump(path, result)
  if evaluator.has_latents and supervised and min(
      len(x['image']) for x in test.values()) >= 4:
    result['samples'] = paired_samples.score(
        evaluator, kept, {d: x['image'] for d, x in test.items()}, seed)
  if classify and domains.num_classes and min(run.event_shape[:2]) >= 16 and (
      all('label' in test[d] for d in run.domains)):
    train = {
        d: _as_floats(domains.arrays(d, 'train', limit=probes.MAX_IMAGES))
        for d in run.domains}
    for s, t in itertools.permutations(run.domains, 2):
      result['accuracy'][f'{s}_to_{t}'] = probes.label_transfer(
          evaluator, train, test, s, t, domains.num_classes, seed,
          # Of seed 0 it is trained already, on the same images.
          kept.classifier(s) if supervised and seed == 0 else None)
  result['seconds'] = round(time.monotonic() - begin, 1)
  _io.dump(path, result)
  result['report'] = os.path.join(output, 'report.html')
  report.write(result['report'], result, run_dir, config.to_json())
  return result


def images_of(domains: data.DomainSet, split: str, limit: int | None = None
             ) -> dict[str, dict[str, np.ndarray]]:
  """Images of a split; in a paired set, images of one index are partners.

  Args:
    domains: The domains.
    split: Name of the split.
    limit: Largest number of images of each domain; None for all.

  Returns:
    For each domain, `level` (uint8 `[N, H, W, C]`), `image` (float32 in [0, 1])
    and, in an unpaired set with labels, `label`.
  """
  if not domains.paired:
    return {d: _as_floats(domains.arrays(d, split, limit=limit))
            for d in domains.domains}
  parts = list(domains.pairs(split, 256, limit).as_numpy_iterator())
  return {d: _as_floats({'image': np.concatenate([p[d] for p in parts])})
          for d in domains.domains}


def _agreement(run: runs.Run, step: str, images: dict[str, np.ndarray],
               seed: int) -> dict[str, Any] | None:
  """`equation_9.agreement` of the weights that the critics were trained on.

  Those are the newest weights, not their moving average.
  """
  critics = runs.load_critics(run.directory, step)
  if not critics:
    return None
  evaluator = inference.Evaluator(
      runs.load(run.directory, average=False, checkpoint=step))
  return equation_9.agreement(evaluator, critics, images, run.config.gan_loss,
                               run.config.critic_noise, seed)


def _as_trained(run: runs.Run, domains: data.DomainSet, split: str
               ) -> data.DomainSet:
  """The domains, with validation images split off as for the run.

  Another split would hold out images that the run was trained on.
  """
  hidden = run.without_labels() if split == 'validation' else ()
  return domains.without_labels(*hidden) if hidden else domains


def _as_floats(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  levels = arrays['image']
  return arrays | {
      'level': levels,
      'image': np.asarray(images_lib.from_uint8(tf.constant(levels)))}


def _extremes(event_shape: tuple[int, int, int]) -> np.ndarray:
  """Black, white, grey and noise: images unlike those of training."""
  random = np.random.RandomState(0).random_sample((13, *event_shape))
  flat = [np.full(event_shape, value) for value in (0., 0.5, 1.)]
  return np.concatenate([flat, random]).astype(np.float32)


def table(result: dict[str, Any]) -> str:
  """The figures of `evaluate` as text for a terminal."""
  lines = [f'Run {result["run"]}, {result["checkpoint"]}, '
           f'{result["split"]} images: ' +
           ', '.join(f'{d} {n}' for d, n in result['images'].items())]
  for heading, tables in report.figures(result).items():
    lines += ['', heading, *(f'\n{table.text()}' for table in tables)]
  if result['critics']:
    noise = result['critics']['noise']
    lines += ['', 'Critics at both ends of a translation: |C + C - 1| '
              f'{result["critics"]["gap"]:.3f}, correlation '
              f'{result["critics"]["correlation"]:.2f} (best 0 and -1' + (
                  f', not exactly so with critic noise {noise:g})' if noise
                  else ')')]
  if 'report' in result:
    lines += ['', f'Report: {result["report"]}']
  lines += ['', 'Pictures:'] + [f'  {p}' for p in result['pictures']]
  return '\n'.join(lines)

"""The translator stage: trains a translator and translates the source."""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import bijectors
from alignflow_tf import classification
from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf import sheets
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import semantic
from alignflow_tf.adapt import stages
from alignflow_tf.adapt import work as work_lib
from alignflow_tf.train import config as train_config
from alignflow_tf.train import loop
from alignflow_tf.train import runs

# Images that are translated at a time, and that a framing is set from.
_BATCH = 500
_FRAMED = 5_000


def configuration(work: work_lib.Work, kind: str) -> train_config.Config:
  """The training configuration of a translator.

  Args:
    work: The adaptation.
    kind: 'alignflow', 'cyclegan' or 'unit'.

  Raises:
    AdaptError: If the images are no squares, or a given setting is unknown or
      has no use in an adaptation.
    ConfigError: If a value is out of range.
  """
  given = work.settings.of_translator(kind)
  domains = work.problem.domains
  height, width, channels = domains.event_shape
  if height != width:
    raise config_lib.AdaptError(
        f'`image_size` must give squares, got {height}x{width}.')
  preset = given.pop('preset', None)
  config = train_config.resolve(
      preset, model=kind, dataset=domains.name, domain=_folders(domains),
      image_size=height, channels=channels, seed=work.seed,
      **work.settings.reading(), **given)
  if config.objective == 'mle':
    raise config_lib.AdaptError(
        "`translator`: `objective` must be 'hybrid' or 'adversarial', got "
        "'mle', which trains no translations.")
  return config


def translate(work: work_lib.Work, name: str, kind: str,
              settings: dict[str, Any],
              semantic_settings: dict[str, Any] | None,
              guide: work_lib.Finished | None = None) -> work_lib.Finished:
  """Trains a translator and translates the source with it.

  Args:
    work: The adaptation.
    name: Start of the names of the run directory and of the stage.
    kind: 'alignflow', 'cyclegan' or 'unit'.
    settings: Settings that the stage depends on, other than the translator's.
    semantic_settings: Those of the semantic term; None without one.
    guide: The stage whose classifier gives the target labels; None for none.

  Returns:
    The finished stage; see `read`.
  """
  problem = work.problem
  config = configuration(work, kind)
  # The settings that were given, and not every default of this version.
  facts = {'translator': {
      'model': kind, **work.settings.of_translator(kind),
      'flip': work.settings.flip}, **settings, **(semantic_settings or {})}
  run_dir = os.path.join(work.output, f'{name}_translator')

  def make(path: str) -> dict[str, Any]:
    term, domains = None, problem.domains
    if guide is not None:
      images = domains.arrays(problem.target, 'train')['image']
      domains = domains.with_labels(problem.target, {
          'train': classification.predict(guide.model, images).argmax(-1)})
    if semantic_settings is not None:
      term = semantic.SemanticLoss(
          problem.source, problem.target, problem.domains.event_shape,
          problem.num_classes, work.settings, work.seed, guide is not None)
      _same_semantic_settings(run_dir, semantic_settings)
    loop.train(config, run_dir, domains, term)
    evaluator = inference.Evaluator(runs.load(run_dir), batch_size=_BATCH)
    _translate_source(work, lambda images: evaluator.translate(
        images.numpy(), problem.source, problem.target), path)
    return {}

  return work.stage(f'{name}_translated', facts, make)


def frame(work: work_lib.Work, settings: dict[str, Any]) -> work_lib.Finished:
  """Brings the source's images into the target's frame, and does no more.

  The `bijectors.Framing` of both domains, with no network between them.
  """
  problem = work.problem

  def make(path: str) -> dict[str, Any]:
    frames = []
    for images in (problem.train.images, problem.unlabelled):
      frames.append(bijectors.Framing(problem.domains.event_shape))
      bijectors.initialize_from_data(frames[-1], images_lib.from_uint8(
          tf.constant(images[:_FRAMED])))
    source, target = frames
    _translate_source(
        work, lambda images: target.forward(source.inverse(images)), path)
    return {}

  return work.stage('framing_translated', settings, make)


def _translate_source(
    work: work_lib.Work, translate: Callable[[tf.Tensor], Any], path: str
) -> None:
  """Writes translations of the source's training and validation images."""
  problem, count = work.problem, work.settings.translated_images

  def translated(levels: np.ndarray) -> np.ndarray:
    return np.concatenate([
        images_lib.to_uint8(tf.constant(translate(images_lib.from_uint8(
            tf.constant(levels[i:i + _BATCH]))))).numpy()
        for i in range(0, len(levels), _BATCH)])

  train = translated(problem.train.images[:count])
  np.save(os.path.join(path, 'train.npy'), train, allow_pickle=False)
  np.save(os.path.join(path, 'validation.npy'),
          translated(problem.validation.images[:count]), allow_pickle=False)
  sheets.write_png(
      os.path.join(path, 'translated.png'),
      _by_class(problem.train, train, problem.num_classes))


def read(stage: work_lib.Finished, labels: np.ndarray) -> stages.Labelled:
  """The translated training images of the source, with their labels."""
  images = np.load(os.path.join(stage.path, 'train.npy'), allow_pickle=False)
  return stages.Labelled(images, labels[:len(images)])


def _same_semantic_settings(run_dir: str, settings: dict[str, Any]) -> None:
  """Keeps a translator's run to the semantic settings that it began with.

  They are no part of the run's configuration, so the training loop cannot.

  Raises:
    AdaptError: If it began with others.
  """
  record = f'{run_dir}.json'
  if os.path.exists(record) and os.path.exists(
      os.path.join(run_dir, 'config.json')):
    with open(record, encoding='utf-8') as f:
      saved = json.load(f)
    if saved != settings:
      raise config_lib.AdaptError(
          f'`output`: {run_dir} was begun with other settings: '
          f'{work_lib.difference(saved, settings)}. Use another --output, or '
          'remove it.')
  else:
    _io.dump(record, settings)


def _folders(domains: data.DomainSet) -> tuple[str, ...]:
  """The user's own folders, for a translator's configuration."""
  if domains.name != 'folders':
    return ()
  # Where a domain is a TFDS set, its name takes the folder's place.
  return tuple(
      f'{name}:{found.get("place") or os.path.abspath(found["read_from"])}'
      for name, found in domains.describe()['domains'].items())


def _by_class(original: stages.Labelled, translated: np.ndarray,
              num_classes: int) -> np.ndarray:
  """A picture: each class's images, and their translations below."""
  per_class = max(1, 20 // num_classes)
  labels = original.labels[:len(translated)]
  places = np.concatenate([
      np.flatnonzero(labels == c)[:per_class]
      for c in range(num_classes)])
  return sheets.grid(
      [original.images[places], translated[places]],
      scale=max(1, 48 // original.images.shape[1]))

"""Figures of translations, and of rows without a model for comparison."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import NamedTuple

import numpy as np

from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import realism
from alignflow_tf.evaluate import pairs
from alignflow_tf.evaluate import palettes
from alignflow_tf.evaluate import probes
from alignflow_tf.evaluate import reference_networks


class Figure(NamedTuple):
  """Title and format of a figure.

  Attributes:
    title: A few words.
    unit: Its unit, or its range.
    pattern: A format.
    better: 'lower' or 'higher'.
    factor: Number that a figure is multiplied by in tables.
  """
  title: str
  unit: str
  pattern: str
  better: str
  factor: float = 1.

  def text(self, value: float) -> str:
    """A value as tables show it."""
    return self.pattern.format(self.factor * value)


FIGURES: Mapping[str, Figure] = {
    'mse': Figure('MSE', 'on (-1, 1), clipped', '{:.4f}', 'lower'),
    'mse_unclipped': Figure(
        'MSE unclipped', 'on (-1, 1), as translated', '{:.4f}', 'lower'),
    'l1': Figure('L1', 'on (-1, 1)', '{:.4f}', 'lower'),
    'ssim': Figure('SSIM', 'at most 1', '{:.3f}', 'higher'),
    'demeaned_mse': Figure(
        'MSE without means', 'on (-1, 1)', '{:.4f}', 'lower'),
    'correlation': Figure(
        'correlation without means', '-1 to 1', '{:.3f}', 'higher'),
    'top_1': Figure('own partner nearest', 'share', '{:.1%}', 'higher'),
    'top_5': Figure('own partner in 5', 'share', '{:.1%}', 'higher'),
    'percentile': Figure(
        'partner nearer than', 'share of others', '{:.1%}', 'higher'),
    'class_accuracy': Figure(
        'class of pixels', 'share right', '{:.1%}', 'higher'),
    'mean_iou': Figure('mean IoU', '0 to 1', '{:.3f}', 'higher'),
    'label_agreement': Figure(
        'label kept', 'share', '{:.1%}', 'higher'),
    'kid': Figure(
        'KID times 1000', 'of the features named', '{:.2f}', 'lower', 1000.),
    'fid': Figure('FID', 'of the features named', '{:.3f}', 'lower'),
    'not_finite': Figure('not finite', 'share of images', '{:.1%}', 'lower'),
}

ROWS: Mapping[str, str] = {
    'model': 'this model',
    'mean_image': 'mean image',
    'random_image': 'random training image',
    'untranslated': 'source as it is',
    'supervised': 'supervised on pairs',
}


@dataclasses.dataclass
class Judge:
  """Scores translations of one direction, and rows that need no model.

  Attributes:
    domains: The domains.
    source: Name of the source.
    target: Name of the target.
    sources: float32 images `[N, H, W, C]` of the source in [0, 1].
    targets: N images of the target; in a paired set, the partners.
    source_labels: Labels `[N]` of the sources, or None.
    references: The reference networks.
    inception: Features of InceptionV3 in place of the references', or None.
    supervised: Whether networks may be trained for rows and features.
    seed: Seed of the random training images.
    paired: Whether targets are the sources' partners; None for
      `domains.paired`.
  """
  domains: data.DomainSet
  source: str
  target: str
  sources: np.ndarray
  targets: np.ndarray
  source_labels: np.ndarray | None
  references: reference_networks.References
  inception: reference_networks.Features | None = None
  supervised: bool = True
  seed: int = 0
  paired: bool | None = None

  def __post_init__(self) -> None:
    if self.paired is None:
      self.paired = self.domains.paired
    self._palette = palettes.of(
        self.domains.name, self.target, self.domains.event_shape[-1])
    # A single image cannot be compared with others.
    self._several = min(len(self.sources), len(self.targets)) > 1
    found: tuple[reference_networks.Features, str] | None = None
    if self._several and self.inception is not None:
      found = self.inception, 'InceptionV3, last pooling'
    elif self._several and self.supervised:
      found = self.references.features(self.target)
    self._features = found[0] if found else None
    self.features = found[1] if found else ''
    self._classifier = None
    if self.supervised and self.source_labels is not None:
      self._classifier = self.references.classifier(self.target)
    self._target_features = (
        None if self._features is None else self._features(self.targets))
    self._target_within = None if self._target_features is None else (
        realism.within(self._target_features))

  @property
  def chance(self) -> dict[str, float]:
    """Retrieval and label agreement by chance."""
    n = len(self.targets)
    result: dict[str, float] = {}
    if self.paired and self._several:
      result |= {'top_1': 1. / n, 'top_5': min(1., 5. / n), 'percentile': 0.5}
    if self._classifier is not None:
      result['label_agreement'] = 1. / (self.domains.num_classes or 1)
    return result

  def score(self, translated: np.ndarray) -> dict[str, float]:
    """Figures of translations of `sources`, by the names of `FIGURES`.

    All figures but `mse_unclipped` are of pixels clipped to [0, 1], as a viewer
    sees them. If some translations are not finite, `not_finite` is their share,
    errors and distances of sets are NaN, and all other figures count them as
    wrong. A single image has no figures that compare it with others.
    """
    # Clipping would make an infinite pixel white.
    finite = np.isfinite(translated)
    clipped = np.where(
        finite, np.clip(translated, 0., 1.), np.float32(np.nan))
    whole = finite.reshape(len(finite), -1).all(axis=1)
    result: dict[str, float] = {}
    if self.paired:
      result |= {
          'mse': pairs.mse(clipped, self.targets),
          'mse_unclipped': pairs.mse(translated, self.targets),
          'l1': pairs.l1(clipped, self.targets),
          'ssim': pairs.ssim(clipped, self.targets)}
      if self._several:
        result |= {
            'demeaned_mse': pairs.demeaned_mse(clipped, self.targets),
            'correlation': pairs.correlation(clipped, self.targets),
        } | pairs.retrieval(clipped, self.targets)
      if self._palette is not None:
        result |= pairs.palette_agreement(clipped, self.targets, self._palette)
    if self._classifier is not None and self.source_labels is not None:
      result['label_agreement'] = probes.accuracy(
          self._classifier, clipped, self.source_labels)
    if self._features is not None and self._target_features is not None:
      got = self._features(clipped)
      # A network may map NaN to a number.
      got = np.where(whole[:, np.newaxis], got, np.float32(np.nan))
      result['kid'] = realism.kernel_distance(
          got, self._target_features, self._target_within)
      result['fid'] = realism.frechet_distance(got, self._target_features)
    if not whole.all():
      result['not_finite'] = float(1. - whole.mean())
    return result

  def baselines(self) -> dict[str, dict[str, float]]:
    """Figures of the rows that need no unpaired training; see `ROWS`."""
    number = len(self.sources)
    # The split may be larger than memory: neither row needs all of it.
    mean = (self.domains.mean_image(self.target, 'train') + 0.5) / 256.
    drawn = np.random.RandomState(self.seed).randint(
        0, self.domains.sizes[self.target]['train'], number)
    random = self.domains.rows(self.target, 'train', drawn)['image']
    rows = {
        'mean_image': np.repeat(
            mean[np.newaxis].astype(np.float32), number, axis=0),
        'random_image': np.asarray(images_lib.from_uint8(random)),
        'untranslated': self.sources,
    }
    if self.supervised and self.references.from_pairs:
      rows['supervised'] = self.references.supervised(
          self.source, self.target)(self.sources)
    return {name: self.score(images) for name, images in rows.items()}

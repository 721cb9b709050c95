"""The problem: labelled source images, unlabelled target images."""

from __future__ import annotations

import dataclasses

import numpy as np

from alignflow_tf import data
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt.stages import Labelled


@dataclasses.dataclass(frozen=True)
class Problem:
  """Training data, without the target's labels other than those of `few`.

  Attributes:
    source: Name of the labelled domain.
    target: Name of the domain without labels.
    domains: Both, for a translator; no store below has the target's labels.
    num_classes: Number of classes.
    train: Labelled source images for training.
    validation: Labelled source images for choosing settings.
    unlabelled: uint8 target images, training and validation together.
    few: Labelled target images that classifiers learn from too, or None.
  """
  source: str
  target: str
  domains: data.DomainSet
  num_classes: int
  train: Labelled
  validation: Labelled
  unlabelled: np.ndarray
  few: Labelled | None = None


class Scorer:
  """The target's labels, for the final score and for `target_only`."""

  def __init__(self, domains: data.DomainSet, target: str):
    self._domains = domains
    self._target = target

  def test(self) -> Labelled:
    """The target's test images and labels, read on demand."""
    return _labelled(self._domains, self._target, 'test')

  def train(self) -> Labelled:
    """The target's labelled training images, for the upper bound only."""
    return _labelled(self._domains, self._target, 'train')


def make(domains: data.DomainSet, source: str, target: str, few: int = 0
        ) -> tuple[Problem, Scorer | None]:
  """Splits a set into the data of training and those of the final score.

  Args:
    domains: The two domains.
    source: Name of the labelled one.
    target: Name of the other.
    few: Number of images of each class of the target whose labels are used.

  Returns:
    The problem, and the scorer, or None where the target has no labels.

  Raises:
    AdaptError: If the source has no labels, or the target too few.
  """
  if not domains.has_labels(source) or domains.num_classes is None:
    raise config_lib.AdaptError(
        f'`dataset`: the source {source!r} of {domains.name!r} has no labels; '
        'for pictures of your own, put each class in a sub-folder of its own.')
  hidden = domains.without_labels(target)
  unlabelled = np.concatenate([
      hidden.arrays(target, split)['image'] for split in ('train', 'validation')
      if hidden.sizes[target].get(split)])
  problem = Problem(
      source, target, hidden, domains.num_classes,
      _labelled(domains, source, 'train'),
      _labelled(domains, source, 'validation'), unlabelled,
      _few(domains, target, few) if few else None)
  scorer = Scorer(domains, target) if domains.has_labels(target) else None
  return problem, scorer


def _labelled(domains: data.DomainSet, domain: str, split: str) -> Labelled:
  arrays = domains.arrays(domain, split)
  return Labelled(arrays['image'], arrays['label'])


def _few(domains: data.DomainSet, target: str, count: int) -> Labelled:
  """The first images of each class of the target's training split."""
  if not domains.has_labels(target):
    raise config_lib.AdaptError(
        f'`few_labels` needs labels of {target!r}, which has none.')
  images, labels = _labelled(domains, target, 'train')
  assert domains.num_classes is not None
  places = [np.flatnonzero(labels == c)[:count]
            for c in range(domains.num_classes)]
  least = min(map(len, places))
  config_lib.check(
      least == count, 'few_labels', count,
      f'at most {least}, the images of the rarest class of {target!r}')
  chosen = np.concatenate(places)
  return Labelled(images[chosen], labels[chosen])

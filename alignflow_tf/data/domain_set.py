"""`DomainSet`: two or more domains of images, ready for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import copy
from typing import Any

import numpy as np

from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data import streams
from alignflow_tf.data.augment import Augmentation
from alignflow_tf.data.domain import check_batch
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.errors import not_negative
from alignflow_tf.data.errors import positive
from alignflow_tf.data.stores import partner_rows
from alignflow_tf.data.stores import Store

_ENDLESS = np.iinfo(np.int64).max


class DomainSet:
  """Domains of images of one shape, each with train, validation and test.

  Pixels are uint8; the trainer converts them to float and dequantises them. A
  split is read when it is first used, so training never opens the test split.

  ```python
  digits = data.load('digits')
  for batch in digits.train_batches(32, seed=0).take(1):
    batch['mnist']['image']  # uint8 [32, 16, 16, 1]
  digits.arrays('mnist', 'test', limit=100)['label']  # int64 [100]
  ```

  Attributes:
    name: Name of the set, such as 'svhn_mnist'.
    domains: Names of the domains, in order (a, b, ...).
    event_shape: (H, W, C), shared by all domains.
    sizes: Number of images of each split, by domain.
    num_classes: Number of classes, or None where no domain has labels.
    paired: Whether the set has `pairs`.
    grey_copied: By domain, whether its images are grey ones copied to three
      channels. Such images lie on a plane of the pixel space and have no
      density there; the trainer dequantises them more widely.
  """

  def __init__(
      self,
      name: str,
      domains: Sequence[Domain],
      event_shape: tuple[int, int, int],
      *,
      num_classes: int | None = None,
      paired: bool = False,
      seed: int = 0,
      load_shape: tuple[int, int] | None = None,
      flip: bool = False,
      standard_levels: bool = False,
      info: Mapping[str, Any] | None = None,
  ):
    """Builds a set; `data.load` is the usual way to one.

    Args:
      name: Name of the set.
      domains: Two or more domains.
      event_shape: (H, W, C) of a training image.
      num_classes: Number of classes or None.
      paired: Whether images of equal keys belong together.
      seed: Seed of the training order where `train_batches` is given none.
      load_shape: (h, w) of the stored images where they are larger than the
        event: training takes a random crop, evaluation the middle.
      flip: Whether to mirror training images left to right half of the time.
      standard_levels: Whether to bring all images to `levels.standard`.
      info: JSON-able facts about the set as a whole.
    """
    self.name = name
    self.domains = tuple(d.name for d in domains)
    height, width, channels = event_shape
    self.event_shape = (int(height), int(width), int(channels))
    self.sizes = {d.name: dict(d.sizes) for d in domains}
    self.num_classes = num_classes
    self.paired = paired
    self.grey_copied = {d.name: d.grey_copied for d in domains}
    self._domains = {d.name: d for d in domains}
    self._seed = int(seed)
    size = (self.event_shape[0], self.event_shape[1])
    self._augmentation = Augmentation(
        load_shape or size, size, flip, standard_levels)
    self._info = dict(info or {})

  def __repr__(self) -> str:
    return (
        f'DomainSet({self.name!r}, domains={self.domains}, '
        f'event_shape={self.event_shape}, sizes={self.sizes})')

  def has_labels(self, domain: str) -> bool:
    """Whether the images of a domain have labels."""
    return self._domain(domain).labelled

  def without_labels(self, *names: str) -> DomainSet:
    """A copy of the set in which some domains have no labels, in any split.

    A validation split that is cut out of train is stratified by class, which
    uses labels. Therefore the training and validation images of these domains
    are joined and cut again, in the order of the hashes of their keys. Keys
    may contain the name of a class, so they become positions. The test split
    keeps its images. `describe` says `without_labels` for these domains, so
    that a run's data can be cut the same way later.

    Args:
      *names: Names of the domains that lose their labels.

    Returns:
      The new set; this one keeps its labels.

    Raises:
      DataError: On an unknown domain.
    """
    result = copy.copy(self)
    hidden = {d: self._domain(d, 'names').without_labels() for d in names}
    result._domains = {**self._domains, **hidden}
    return result

  def with_labels(
      self, domain: str, labels: Mapping[str, np.ndarray]) -> DomainSet:
    """A copy in which splits of a domain have other labels, say predictions.

    Labels are integers, one for each image of a split in stored order.
    """
    result = copy.copy(self)
    known = self._domain(domain).with_labels(labels)
    result._domains = {**self._domains, domain: known}
    return result

  def train_batches(
      self,
      batch_size: int,
      *,
      seed: int | None = None,
      start_step: int = 0,
      labels: Sequence[str] = (),
      rows: Sequence[int] | None = None,
  ) -> tf.data.Dataset:
    """Endless unpaired training batches, a pure function of (seed, step).

    Each domain is shuffled independently, with a new order in each epoch.
    Element i is the batch of step `start_step + i`, whether or not the run was
    stopped before it.

    Args:
      batch_size: Images per domain in a batch, B.
      seed: The run's seed; None for the one given to `load`.
      start_step: The first step to deliver; a later step costs nothing.
      labels: Domains whose labels are delivered. Other labels are not part of
        the element, so that an unsupervised method cannot read them.
      rows: Positions in [0, B) of the images that are delivered, where several
        processes share a batch; None for all.

    Returns:
      A `tf.data.Dataset` of
      `{domain: {'image': uint8 [B, H, W, C], 'label': int64 [B]}}`. With
      `rows`, B is their number.

    Raises:
      DataError: If a domain has fewer than B training images, or `labels`
        names an unknown or an unlabelled domain.
    """
    batch_size = positive('batch_size', batch_size)
    start_step = not_negative('start_step', start_step)
    seed = self._seed if seed is None else not_negative('seed', seed)
    if isinstance(labels, str):
      labels = (labels,)
    for domain in labels:
      if not self._domain(domain, 'labels').labelled:
        raise DataError(
            f'`labels` names {domain!r}, whose images have no labels in '
            f'{self.name!r}. Domains with labels: '
            f'{[d for d in self.domains if self._domains[d].labelled]}.')
    for domain in self.domains:
      check_batch(domain, self.sizes[domain]['train'], batch_size)
    if rows is not None and not all(0 <= row < batch_size for row in rows):
      raise DataError(
          f'`rows` must be positions in a batch of {batch_size}, got '
          f'{list(rows)}.')
    stores = {d: self._domains[d].store('train') for d in self.domains}
    places = tf.constant(
        list(range(batch_size)) if rows is None else list(rows), tf.int64)

    @streams.plain
    def make_batch(step: tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
      positions = step * batch_size + places
      result = {}
      for domain, store in stores.items():
        index = streams.shuffled_indices(
            positions, store.size, streams.stream_key(seed, 'order', domain)
        )
        index = tf.ensure_shape(index, places.shape)
        image = self._augmentation.train(
            store.images(index), seed, step, domain, batch_size, places)
        result[domain] = {'image': image}
        if domain in labels:
          result[domain]['label'] = tf.gather(store.labels, index)
      return result

    steps = tf.data.Dataset.range(start_step, _ENDLESS)
    dataset = steps.map(
        make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(
        streams.options())

  def batches(
      self,
      domain: str,
      split: str,
      batch_size: int,
      limit: int | None = None,
  ) -> tf.data.Dataset:
    """One pass over a split of one domain, in stored order.

    Args:
      domain: Name of the domain.
      split: 'train', 'validation' or 'test'.
      batch_size: Images in a batch, B. The last batch may be smaller.
      limit: Largest number of images; None for all. The stored order is a
        fixed shuffle, so the first images are a fair sample.

    Returns:
      A finite `tf.data.Dataset` of `{'image': uint8 [b, H, W, C],
      'label': int64 [b] where the domain has labels, 'key': string [b]}`.

    Raises:
      DataError: On an unknown domain or split, or a batch size below 1.
    """
    batch_size = positive('batch_size', batch_size)
    store = self._store(domain, split)

    return streams.one_pass(
        _limited(store.size, limit), batch_size,
        lambda index: self._element(store, index))

  def _element(self, store: Store, index: tf.Tensor) -> dict[str, tf.Tensor]:
    result = {'image': self._augmentation.evaluate(store.images(index))}
    if store.labels is not None:
      result['label'] = tf.gather(store.labels, index)
    result['key'] = tf.gather(store.key_tensor, index)
    return result

  def arrays(
      self, domain: str, split: str, limit: int | None = None
  ) -> dict[str, np.ndarray]:
    """A whole split of one domain as NumPy arrays; see `batches`."""
    return streams.joined(self.batches(domain, split, 256, limit))

  def rows(
      self, domain: str, split: str, indices: Sequence[int] | np.ndarray
  ) -> dict[str, np.ndarray]:
    """The images at given positions of a split, without the others.

    For example, ten random training images:

    ```python
    random = np.random.RandomState(0)
    count = digits.sizes['mnist']['train']
    digits.rows('mnist', 'train', random.randint(0, count, 10))['image']
    ```

    Args:
      domain: Name of the domain.
      split: 'train', 'validation' or 'test'.
      indices: N positions in the stored order of `batches`; they may repeat.

    Returns:
      `{'image': uint8 [N, H, W, C], 'label': int64 [N] where the domain has
      labels, 'key': bytes [N]}`.

    Raises:
      DataError: On an unknown domain or split, or a position outside of it.
    """
    store = self._store(domain, split)
    order = np.asarray(indices)
    if order.ndim != 1 or not order.size or order.dtype.kind not in 'iu' or (
        order.min() < 0 or order.max() >= store.size):
      raise DataError(
          f'`indices` must be one or more integers from 0 to {store.size - 1} '
          f'for split {split!r} of domain {domain!r}, got {indices!r}.')
    with tf.device('/CPU:0'):
      table = tf.constant(order, tf.int64)
    return streams.joined(streams.one_pass(
        len(order), 256, lambda i: self._element(store, tf.gather(table, i))))

  def mean_image(self, domain: str, split: str) -> np.ndarray:
    """The mean of all images of a split, batch by batch.

    Args:
      domain: Name of the domain.
      split: 'train', 'validation' or 'test'.

    Returns:
      float64 [H, W, C] in 0..255.

    Raises:
      DataError: On an unknown domain or split.
    """
    total = np.zeros(self.event_shape, np.float64)
    for batch in self.batches(domain, split, 256).as_numpy_iterator():
      total += batch['image'].sum(axis=0, dtype=np.float64)
    return total / self.sizes[domain][split]

  def pairs(
      self, split: str, batch_size: int, limit: int | None = None
  ) -> tf.data.Dataset:
    """One pass over the pairs of a paired set, joined by key.

    Args:
      split: 'train', 'validation' or 'test'.
      batch_size: Pairs in a batch. The last batch may be smaller.
      limit: Largest number of pairs; None for all.

    Returns:
      A finite `tf.data.Dataset` of `{domain: uint8 [b, H, W, C], ...,
      'key': string [b]}`; row i is the same scene in every domain.

    Raises:
      DataError: If the set is not paired, or a key lacks its partner.
    """
    batch_size = positive('batch_size', batch_size)
    if not self.paired:
      raise DataError(
          f'`pairs` was asked of {self.name!r}, whose domains are unpaired. '
          "Paired sets: 'maps', 'facades', 'cityscapes'.")
    stores = {d: self._store(d, split) for d in self.domains}
    rows = partner_rows(stores, f'{self.name!r}, split {split!r}')
    store = stores[self.domains[0]]
    with tf.device('/CPU:0'):
      tables = {d: tf.constant(r, tf.int64) for d, r in rows.items()}

    def element(index: tf.Tensor) -> dict[str, tf.Tensor]:
      result = {
          d: self._augmentation.evaluate(
              stores[d].images(tf.gather(table, index)))
          for d, table in tables.items()
      }
      result['key'] = tf.gather(store.key_tensor, index)
      return result

    return streams.one_pass(
        _limited(store.size, limit), batch_size, element)

  def describe(self) -> dict[str, Any]:
    """Facts to print and to save with a run, JSON-able.

    Returns:
      Source, licence, counts, split rule, resizing and channel rule of every
      domain, and of the set.
    """
    return {
        'name': self.name,
        'domains': {
            d: {'sizes': dict(self.sizes[d]),
                'grey_copied': self.grey_copied[d], **self._domains[d].info}
            for d in self.domains
        },
        'event_shape': list(self.event_shape),
        'num_classes': self.num_classes,
        'paired': self.paired,
        'augmentation': self._augmentation.describe(),
        **self._info,
    }

  def summary(self) -> str:
    """One line per domain: its sizes, and the rule of its splits."""
    return '\n'.join(d.summary() for d in self._domains.values())

  def _domain(self, domain: str, argument: str = 'domain') -> Domain:
    if domain not in self._domains:
      raise DataError(
          f'`{argument}` names {domain!r}, which is not a domain of '
          f'{self.name!r}. Its domains: {list(self.domains)}.')
    return self._domains[domain]

  def _store(self, domain: str, split: str) -> Store:
    found = self._domain(domain)
    if split not in splits_lib.SPLITS:
      raise DataError(
          f'`split` is {split!r}; it must be one of {splits_lib.SPLITS}.')
    if not found.sizes.get(split):
      raise DataError(
          f'`split` is {split!r}, which is empty for domain {domain!r} of '
          f'{self.name!r} (sizes: {found.sizes}).')
    return found.store(split)


def _limited(count: int, limit: int | None) -> int:
  return count if limit is None else min(count, positive('limit', limit))

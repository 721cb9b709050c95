"""`DomainSet`: two or more domains of images, ready for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import copy
import dataclasses
from typing import Any

import numpy as np

from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data import streams
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.stores import SelectedStore
from alignflow_tf.data.stores import Store

_ENDLESS = np.iinfo(np.int64).max


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
  """Marks a function that is graph operations as it stands.

  AutoGraph would re-read its source, to no use, and warns where it cannot.
  """
  return tf.autograph.experimental.do_not_convert(function)


@dataclasses.dataclass
class Domain:
  """One domain: its counts, and how to get at its images.

  Attributes:
    name: Name of the domain.
    sizes: Images per split.
    open_split: Gives the store of a split; called at most once a split.
    labelled: Whether the images have labels.
    grey_copied: Whether all images are grey ones copied to three channels.
    info: JSON-able facts for `DomainSet.describe`.
  """

  name: str
  sizes: dict[str, int]
  open_split: Callable[[str], Store]
  labelled: bool
  grey_copied: bool
  info: dict[str, Any]
  _stores: dict[str, Store] = dataclasses.field(default_factory=dict)

  def store(self, split: str) -> Store:
    """The (cached) store of a split."""
    if split not in self._stores:
      self._stores[split] = self.open_split(split)
    return self._stores[split]


def check_batch(domain: str, count: int, batch_size: int) -> None:
  """Refuses a batch that a domain cannot fill.

  Args:
    domain: Name of the domain.
    count: Its training images.
    batch_size: Images of it in a batch.

  Raises:
    DataError: If there are fewer images than that.
  """
  if count < batch_size:
    raise DataError(
        f'`batch_size` is {batch_size}, but domain {domain!r} has only '
        f'{count} training images. Give a `batch_size` of at most '
        f'{count}, or more images.')


class DomainSet:
  """Domains of images of one shape, each with train, validation and test.

  Pixels are uint8; the conversion to float and dequantisation are the
  trainer's. A split is read when it is first asked for, so training never
  opens the test split.

  Attributes:
    name: Name of the set, such as 'svhn_mnist'.
    domains: Names of the domains, in order (a, b, ...).
    event_shape: (H, W, C), shared by all domains.
    sizes: Images per domain and split.
    num_classes: Number of classes, or None where no domain has labels.
    paired: Whether `pairs` is to be had.
    grey_copied: Per domain, whether its images are grey ones copied to three
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
      data_service: str | None = None,
      info: Mapping[str, Any] | None = None,
  ):
    """Builds a set; users call `data.load` instead.

    Args:
      name: Name of the set.
      domains: Two or more domains.
      event_shape: (H, W, C) of a training image.
      num_classes: Number of classes or None.
      paired: Whether images of equal keys belong together.
      seed: Seed of the training order where `train_batches` is given none.
      load_shape: (h, w) of the stored images where they are larger than the
        event: training takes a random crop, evaluation the middle.
      flip: Mirror training images left to right half of the time.
      data_service: Address of a tf.data service, or None.
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
    self._crop = (
        load_shape is not None and tuple(load_shape) != self.event_shape[:2]
    )
    self._load_shape = tuple(load_shape or self.event_shape[:2])
    self._flip = flip
    self._data_service = data_service
    self._info = dict(info or {})

  def __repr__(self) -> str:
    return (
        f'DomainSet({self.name!r}, domains={self.domains}, '
        f'event_shape={self.event_shape}, sizes={self.sizes})'
    )

  def has_labels(self, domain: str) -> bool:
    """Whether the images of a domain have labels."""
    return self._domain(domain).labelled

  def without_labels(self, *names: str) -> DomainSet:
    """The same set with some domains' labels out of reach, in every split.

    Where a source has no validation split, it is cut out of train with each
    class in proportion. Not so here, where even that would use labels: training
    and validation images of these domains are put together and cut anew, in
    the order of the hash of their places. Keys, which may hold the name of a
    class, are replaced by places. Test is the same test. `describe` has
    `without_labels` for them, by which a run's data are cut the same again.

    Args:
      *names: Domains.

    Returns:
      A set; this one keeps its labels.

    Raises:
      DataError: On an unknown domain.
    """
    result = copy.copy(self)
    hidden = {d: _without_labels(self._domain(d, 'names')) for d in names}
    result._domains = {**self._domains, **hidden}
    return result

  # -- training ---------------------------------------------------------

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

    Each domain is shuffled on its own and anew each epoch. Element i is the
    batch of step `start_step + i`, the same whether or not the run was
    stopped before it.

    Args:
      batch_size: Images per domain in a batch, B.
      seed: The run's seed; None for the one given to `load`.
      start_step: The first step to deliver; reaching it costs nothing.
      labels: Domains whose labels are delivered. Others' labels are not even
        in the element, so that an unsupervised method cannot read them.
      rows: Places in [0, B) of the images that are delivered, where several
        processes share a batch; None for all.

    Returns:
      A `tf.data.Dataset` of
      `{domain: {'image': uint8 [B, H, W, C], 'label': int64 [B]}}`, or of as
      many images as there are `rows`.

    Raises:
      DataError: If a domain has fewer than B training images, or `labels`
        names an unknown or an unlabelled domain.
    """
    batch_size = _positive('batch_size', batch_size)
    start_step = _not_negative('start_step', start_step)
    seed = self._seed if seed is None else _not_negative('seed', seed)
    if isinstance(labels, str):
      labels = (labels,)
    for domain in labels:
      if not self._domain(domain, 'labels').labelled:
        raise DataError(
            f'`labels` names {domain!r}, whose images have no labels in '
            f'{self.name!r}. Domains with labels: '
            f'{[d for d in self.domains if self._domains[d].labelled]}.'
        )
    for domain in self.domains:
      check_batch(domain, self.sizes[domain]['train'], batch_size)
    if rows is not None and not all(0 <= row < batch_size for row in rows):
      raise DataError(
          f'`rows` must be places in a batch of {batch_size}, got '
          f'{list(rows)}.')
    stores = {d: self._domains[d].store('train') for d in self.domains}
    places = tf.constant(
        list(range(batch_size)) if rows is None else list(rows), tf.int64)

    @_plain
    def make_batch(step: tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
      positions = step * batch_size + places
      result = {}
      for domain, store in stores.items():
        index = streams.shuffled_indices(
            positions, store.size, streams.stream_key(seed, 'order', domain)
        )
        index = tf.ensure_shape(index, places.shape)
        image = self._augment(
            store.images(index), seed, step, domain, batch_size, places)
        result[domain] = {'image': image}
        if domain in labels:
          result[domain]['label'] = tf.gather(store.labels, index)
      return result

    steps = tf.data.Dataset.range(start_step, _ENDLESS)
    dataset = steps.map(
        make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    if self._data_service:
      dataset = dataset.apply(
          tf.data.experimental.service.distribute(
              processing_mode=tf.data.experimental.service.ShardingPolicy
              .DYNAMIC,
              service=self._data_service,
          )
      )
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(_options())

  def _augment(
      self, image: tf.Tensor, seed: int, step: tf.Tensor, domain: str,
      batch_size: int, places: tf.Tensor,
  ) -> tf.Tensor:
    """Random crop and mirroring from stateless seeds of (seed, step)."""
    if not (self._crop or self._flip):
      return image
    count = image.shape[0]

    def draws(what: str, shape: list[int]) -> tf.Tensor:
      key = streams.stream_key(seed, what, domain)
      drawn = tf.random.stateless_uniform(
          [batch_size, *shape],
          seed=tf.stack([tf.constant(key[0] ^ key[1], tf.int64), step])
      )
      return tf.gather(drawn, places)
    if self._crop:
      height, width = self.event_shape[:2]
      room = tf.constant(
          [self._load_shape[0] - height + 1, self._load_shape[1] - width + 1],
          tf.float32)
      offset = tf.cast(draws('crop', [2]) * room, tf.int32)
      rows = offset[:, :1] + tf.range(height)
      columns = offset[:, 1:] + tf.range(width)
      image = tf.gather(image, rows, axis=1, batch_dims=1)
      image = tf.gather(image, columns, axis=2, batch_dims=1)
    if self._flip:
      mirror = draws('flip', []) < 0.5
      image = tf.where(mirror[:, None, None, None], image[:, :, ::-1], image)
    return tf.ensure_shape(image, (count, *self.event_shape))

  # -- evaluation -------------------------------------------------------

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
      limit: At most so many images (a fixed, shuffled-once selection).

    Returns:
      A finite `tf.data.Dataset` of `{'image': uint8 [b, H, W, C],
      'label': int64 [b] where the domain has labels, 'key': string [b]}`.

    Raises:
      DataError: On an unknown domain or split, or a batch size below 1.
    """
    batch_size = _positive('batch_size', batch_size)
    store = self._store(domain, split)

    @_plain
    def element(index: tf.Tensor) -> dict[str, tf.Tensor]:
      result = {'image': self._middle(store.images(index))}
      if store.labels is not None:
        result['label'] = tf.gather(store.labels, index)
      result['key'] = tf.gather(store.key_tensor, index)
      return result

    return _pass(_limited(store.size, limit), batch_size, element)

  def arrays(
      self, domain: str, split: str, limit: int | None = None
  ) -> dict[str, np.ndarray]:
    """A whole split of one domain as NumPy arrays; see `batches`."""
    parts = list(self.batches(domain, split, 256, limit).as_numpy_iterator())
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

  def pairs(
      self, split: str, batch_size: int, limit: int | None = None
  ) -> tf.data.Dataset:
    """One pass over the pairs of a paired set, joined by key.

    Args:
      split: 'train', 'validation' or 'test'.
      batch_size: Pairs in a batch. The last batch may be smaller.
      limit: At most so many pairs.

    Returns:
      A finite `tf.data.Dataset` of `{domain: uint8 [b, H, W, C], ...,
      'key': string [b]}`; row i of every domain shows the same thing.

    Raises:
      DataError: If the set is not paired, or a key lacks its partner.
    """
    batch_size = _positive('batch_size', batch_size)
    if not self.paired:
      raise DataError(
          f'`pairs` was asked of {self.name!r}, whose domains are unpaired. '
          "Paired sets: 'maps', 'facades', 'cityscapes'."
      )
    first, *others = self.domains
    store = self._store(first, split)
    rows = {first: np.arange(store.size)}
    for domain in others:
      other = self._store(domain, split)
      where = {key: i for i, key in enumerate(other.keys)}
      missing = [key for key in store.keys if key not in where]
      if missing or len(where) != store.size:
        raise DataError(
            f'{self.name!r}, split {split!r}: domains {first!r} '
            f'({store.size} images) and {domain!r} ({len(where)}) are not '
            f'paired; without a partner: {missing[:3]}.'
        )
      rows[domain] = np.array([where[key] for key in store.keys])
    with tf.device('/CPU:0'):
      tables = {d: tf.constant(r, tf.int64) for d, r in rows.items()}

    @_plain
    def element(index: tf.Tensor) -> dict[str, tf.Tensor]:
      result = {
          d: self._middle(
              self._store(d, split).images(tf.gather(table, index)))
          for d, table in tables.items()
      }
      result['key'] = tf.gather(store.key_tensor, index)
      return result

    return _pass(_limited(store.size, limit), batch_size, element)

  def _middle(self, image: tf.Tensor) -> tf.Tensor:
    height, width = self.event_shape[:2]
    top = (self._load_shape[0] - height) // 2
    left = (self._load_shape[1] - width) // 2
    return image[:, top:top + height, left:left + width]

  # -- description ------------------------------------------------------

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
        'augmentation': self._augmentation(),
        **self._info,
    }

  def summary(self) -> str:
    """A line a domain: its counts, and the rule that cut its splits."""
    lines = []
    for name, domain in self._domains.items():
      counts = ', '.join(
          f'{domain.sizes[s]:,} {s}' for s in splits_lib.SPLITS
          if s in domain.sizes)
      skipped = domain.info.get('skipped_unreadable', 0)
      lines.append(
          f'{name}: {counts}'
          + (f' ({skipped} unreadable left out)' if skipped else '')
          + f'; {domain.info.get("splits", "cut elsewhere")}')
    return '\n'.join(lines)

  def _augmentation(self) -> str:
    parts = []
    if self._crop:
      height, width = self.event_shape[:2]
      parts.append(
          'training: a random {}x{} crop of {}x{}; evaluation: the middle'
          .format(height, width, *self._load_shape))
    if self._flip:
      parts.append('training: mirrored left to right half of the time')
    return '; '.join(parts) or 'none'

  def _domain(self, domain: str, argument: str = 'domain') -> Domain:
    if domain not in self._domains:
      raise DataError(
          f'`{argument}` names {domain!r}, which is not a domain of '
          f'{self.name!r}. Its domains: {list(self.domains)}.'
      )
    return self._domains[domain]

  def _store(self, domain: str, split: str) -> Store:
    found = self._domain(domain)
    if split not in splits_lib.SPLITS:
      raise DataError(
          f'`split` is {split!r}; it must be one of {splits_lib.SPLITS}.')
    if not found.sizes.get(split):
      raise DataError(
          f'`split` is {split!r}, which is empty for domain {domain!r} of '
          f'{self.name!r} (sizes: {found.sizes}).'
      )
    return found.store(split)


def _without_labels(domain: Domain) -> Domain:
  """A domain whose stores know no labels; see `DomainSet.without_labels`."""

  def open_split(split: str) -> Store:
    if split == 'test':
      found = domain.store(split)
      return SelectedStore([found], np.arange(found.size))
    parts = [domain.store(s) for s in ('train', 'validation')
             if domain.sizes.get(s)]
    # By key, an order in which no label had a part.
    keys = [key for part in parts for key in part.keys]
    order = np.array(splits_lib.by_hash(keys))
    held = domain.sizes.get('validation', 0)
    return SelectedStore(
        parts, order[:held] if split == 'validation' else order[held:])

  return dataclasses.replace(
      domain, open_split=open_split, labelled=False, _stores={},
      info={**domain.info, 'without_labels': True})


def _options() -> tf.data.Options:
  options = tf.data.Options()
  options.deterministic = True
  # Grappler's rewriting copies every captured tensor, that is, the data set,
  # once more into memory (measured on TF 2.21) and finds nothing to fuse here.
  options.experimental_optimization.apply_default_optimizations = False
  # Batches are made from step numbers; cutting up the source by files, as
  # distribution strategies do by default, would only repeat steps.
  options.experimental_distribute.auto_shard_policy = (
      tf.data.experimental.AutoShardPolicy.OFF)
  return options


def _pass(
    count: int,
    batch_size: int,
    element: Callable[[tf.Tensor], dict[str, tf.Tensor]],
) -> tf.data.Dataset:
  starts = tf.data.Dataset.range(0, count, batch_size)
  return starts.map(
      _plain(lambda start: element(
          tf.range(start, tf.minimum(start + batch_size, count)))),
      num_parallel_calls=tf.data.AUTOTUNE,
      deterministic=True,
  ).prefetch(tf.data.AUTOTUNE).with_options(_options())


def _positive(name: str, value: int) -> int:
  if isinstance(value, bool) or not isinstance(
      value, (int, np.integer)) or value < 1:
    raise DataError(f'`{name}` is {value!r}; it must be an integer above 0.')
  return int(value)


def _not_negative(name: str, value: int) -> int:
  if isinstance(value, bool) or not isinstance(
      value, (int, np.integer)) or value < 0:
    raise DataError(
        f'`{name}` is {value!r}; it must be an integer of 0 or more.')
  return int(value)


def _limited(count: int, limit: int | None) -> int:
  return count if limit is None else min(count, _positive('limit', limit))

"""`Domain`: the images of one domain, split by split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import numpy as np

from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.stores import SelectedStore
from alignflow_tf.data.stores import Store


@dataclasses.dataclass
class Domain:
  """One domain: the size of each split, and a function that opens a split.

  For example, a domain of images in memory:

    store = stores.ArrayStore(images, labels, keys)
    Domain('photo', {'train': len(images)}, lambda split: store,
           labelled=True, grey_copied=False, info={'source': 'my photos'})

  Attributes:
    name: Name of the domain.
    sizes: Number of images in each split.
    open_split: Returns the store of a split; called at most once per split.
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
    """The store of a split, opened at the first call."""
    if split not in self._stores:
      self._stores[split] = self.open_split(split)
    return self._stores[split]

  def summary(self) -> str:
    """One line: the sizes, files left out, and the rule of the splits."""
    counts = ', '.join(
        f'{self.sizes[s]:,} {s}' for s in splits_lib.SPLITS if s in self.sizes)
    skipped = self.info.get('skipped_unreadable', 0)
    return (
        f'{self.name}: {counts}'
        + (f' ({skipped} unreadable left out)' if skipped else '')
        + f'; {self.info.get("splits", "split elsewhere")}')

  def without_labels(self) -> Domain:
    """The same domain without labels; see `DomainSet.without_labels`."""

    def open_split(split: str) -> Store:
      if split == 'test':
        found = self.store(split)
        return SelectedStore([found], np.arange(found.size))
      parts = [self.store(s) for s in ('train', 'validation')
               if self.sizes.get(s)]
      # The order of the keys' hashes does not depend on labels.
      keys = [key for part in parts for key in part.keys]
      order = np.array(splits_lib.by_hash(keys))
      held = self.sizes.get('validation', 0)
      return SelectedStore(
          parts, order[:held] if split == 'validation' else order[held:])

    return dataclasses.replace(
        self, open_split=open_split, labelled=False, _stores={},
        info={**self.info, 'without_labels': True})

  def with_labels(self, labels: Mapping[str, np.ndarray]) -> Domain:
    """The same domain with other labels; see `DomainSet.with_labels`."""

    def open_split(split: str) -> Store:
      found = self.store(split)
      return found.with_labels(labels[split]) if split in labels else found

    return dataclasses.replace(
        self, open_split=open_split, labelled=True, _stores={})


def check_batch(domain: str, count: int, batch_size: int) -> None:
  """Refuses a batch that a domain cannot fill.

  Raises:
    DataError: If there are fewer images than a batch has.
  """
  if count < batch_size:
    raise DataError(
        f'`batch_size` is {batch_size}, but domain {domain!r} has only '
        f'{count} training images. Give a `batch_size` of at most '
        f'{count}, or more images.')

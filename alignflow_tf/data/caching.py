"""Preprocessed images in memory, or in a file of the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from typing import Any

import numpy as np

from alignflow_tf import _io
from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import stores
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.stores import ArrayStore
from alignflow_tf.data.stores import MemmapStore
from alignflow_tf.data.stores import Store

CACHES = ('memory', 'file', 'none')
Batches = Iterable[tuple[np.ndarray, np.ndarray | None]]


@dataclasses.dataclass
class Cached:
  """Images and labels of one part of a source, held by one of the caches."""

  labels: np.ndarray | None
  images: np.ndarray | None = None
  path: str | None = None

  @functools.cached_property
  def _tensor(self) -> tf.Tensor:
    """The images, once for all splits that are cut from them."""
    assert self.images is not None
    return stores.to_tensor(self.images)

  def store(self, rows: np.ndarray, keys: Sequence[str]) -> Store:
    """The rows of a split as a `Store`."""
    labels = None if self.labels is None else self.labels[rows]
    if self.path is not None:
      return MemmapStore(self.path, rows, labels, keys)
    return ArrayStore(self._tensor, labels, keys, rows)


def free_memory() -> int | None:
  """Bytes of memory that can be had, or None where the system does not say."""
  try:
    with open('/proc/meminfo', encoding='ascii') as file:
      for line in file:
        if line.startswith('MemAvailable:'):
          return int(line.split()[1]) * 1024
  except (OSError, ValueError):
    pass
  return None


def check_memory(count: int, shape: Sequence[int], what: str) -> None:
  """Refuses a set that would not fit, before it is read.

  Raises:
    DataError: If `count` images of `shape` need over 60 % of free memory.
  """
  need = count * int(np.prod(shape))
  free = free_memory()
  if free is not None and need > 0.6 * free:
    raise DataError(
        f"`cache` is 'memory', but {count} images of {tuple(shape)} of {what} "
        f'take {need / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free. '
        "Give `cache='file'` (read once, then paged from disk), or, for image "
        "folders, `cache='none'`, or a smaller `image_size`."
    )


def read(
    batches: Callable[[], Batches],
    count: int,
    shape: tuple[int, int, int],
    cache: str,
    cache_dir: str | None,
    identity: Any,
    what: str,
) -> Cached:
  """Reads preprocessed images once into memory or into a file.

  Args:
    batches: Gives batches of (uint8 images [b, H, W, C], labels [b] or None).
    count: Number of images to come.
    shape: (H, W, C).
    cache: 'memory' or 'file'.
    cache_dir: Folder of cache files; None for `~/.cache/alignflow_tf`.
    identity: JSON-able; all that the pixels depend on.
    what: The source, for messages.

  Raises:
    DataError: If they do not fit or cannot be written.
  """
  if cache == 'memory':
    check_memory(count, shape, what)
    images = stores.empty((count, *shape))

    def keep(row: int, part: np.ndarray) -> None:
      images[row:row + len(part)] = part

    return Cached(_take(batches, count, keep, what), images=images)
  digest = hashlib.sha256(
      json.dumps([identity, count, shape], sort_keys=True).encode('utf-8')
  ).hexdigest()[:24]
  root = os.path.expanduser(
      cache_dir or os.path.join(
          os.environ.get('XDG_CACHE_HOME', '~/.cache'), 'alignflow_tf'))
  final = os.path.join(root, digest)
  if not os.path.isdir(final):
    with contextlib.ExitStack() as stack:
      try:
        os.makedirs(root, exist_ok=True)
        aside = stack.enter_context(
            _io.temporary_folder(root, f'{digest}.part.', '*.part.*'))
      except OSError as error:
        raise DataError(
            f'`cache_dir` is {root!r}, where nothing can be written '
            f'({_io.first_line(error)}). Name a folder that can be written to.'
        ) from error
      try:
        # Not a mapped file: on a full disk that would kill the process.
        with open(os.path.join(aside, 'images.npy'), 'wb') as file:
          np.lib.format.write_array_header_1_0(file, {
              'descr': '|u1', 'fortran_order': False,
              'shape': (count, *shape)})
          labels = _take(
              batches, count, lambda _, part: file.write(part.tobytes()), what)
        if labels is not None:
          np.save(
              os.path.join(aside, 'labels.npy'), labels, allow_pickle=False)
        try:
          os.rename(aside, final)
        except OSError:
          if not os.path.isdir(final):  # Else another process was faster.
            raise
      except OSError as error:
        raise DataError(
            f'`cache_dir` is {root!r}: writing the images failed '
            f'({_io.first_line(error)}). Make room, or name another folder.'
        ) from error
  path, labels = os.path.join(final, 'images.npy'), None
  try:
    found = np.load(path, mmap_mode='r', allow_pickle=False)
    if found.shape != (count, *shape) or found.dtype != np.uint8:
      raise ValueError(f'{path} holds {found.dtype} {found.shape}')
    labels_path = os.path.join(final, 'labels.npy')
    if os.path.exists(labels_path):
      labels = np.load(labels_path, allow_pickle=False)
  except (EOFError, OSError, ValueError) as error:
    raise DataError(
        f'`cache_dir`: {final!r} is damaged ({_io.first_line(error)}). Remove '
        'that folder; it is made again.'
    ) from error
  return Cached(labels, path=path)


def _take(
    batches: Callable[[], Batches], count: int,
    keep: Callable[[int, np.ndarray], object], what: str,
) -> np.ndarray | None:
  """Hands batches of images to `keep`, with their places; returns labels.

  Raises:
    DataError: If there are not `count` images.
  """
  labels: list[np.ndarray] = []
  row = 0
  for part, part_labels in batches():
    if row + len(part) <= count:
      keep(row, part)
    row += len(part)
    if row > count:
      break
    if part_labels is not None:
      labels.append(np.asarray(part_labels, np.int64))
  if row != count:
    raise DataError(
        f'{what} should hold {count} images, but {row} were read: it is '
        'incomplete or was changed. Remove it and fetch it again.'
    )
  return np.concatenate(labels) if labels else None

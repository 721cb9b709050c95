"""Where the images of one split are held, and how a batch is taken."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
import copy
import math

import numpy as np

from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data.errors import DataError

_ALIGNMENT = 64  # Bytes; what TensorFlow asks of memory that it shares.


def empty(shape: Sequence[int]) -> np.ndarray:
  """An uninitialised uint8 array that `to_tensor` need not copy."""
  size = math.prod(shape)
  buffer = np.empty(size + _ALIGNMENT, np.uint8)
  start = -buffer.ctypes.data % _ALIGNMENT
  return buffer[start:start + size].reshape(shape)


def to_tensor(images: np.ndarray) -> tf.Tensor:
  """Images as a uint8 tensor on the CPU.

  Those from `empty` are shared, so they must not be written to any more; the
  usual ways (`tf.convert_to_tensor`) copy them once or twice.
  """
  if images.size and images.dtype == np.uint8 and images.flags.carray and (
      images.ctypes.data % _ALIGNMENT == 0):
    return tf.experimental.dlpack.from_dlpack(images.__dlpack__())
  with tf.device('/CPU:0'):
    return tf.convert_to_tensor(images, tf.uint8)


class Store(abc.ABC):
  """The images of one split of one domain, addressed by index.

  Attributes:
    size: Number of images n.
    shape: (H, W, C) of every image.
    labels: int64 [n] on the CPU, or None.
    keys: Names of the images, in stored order; unique within the split.
  """

  def __init__(
      self,
      shape: tuple[int, int, int],
      labels: np.ndarray | None,
      keys: Sequence[str],
  ):
    self.size = len(keys)
    self.shape = shape
    self.keys = tuple(keys)
    # Eager CPU tensors that a `map` function captures are handed to the
    # dataset by reference: they are neither graph constants (which stop at
    # 2 GB) nor copied at a call.
    with tf.device('/CPU:0'):
      self.labels = (
          None if labels is None
          else tf.constant(np.asarray(labels), tf.int64)
      )
      self.key_tensor = tf.constant(list(keys), tf.string, [len(keys)])

  def with_labels(self, labels: np.ndarray) -> Store:
    """The same images with labels `[n]` in the place of theirs."""
    result = copy.copy(self)
    with tf.device('/CPU:0'):
      result.labels = tf.ensure_shape(
          tf.constant(np.asarray(labels), tf.int64), [self.size])
    return result

  @abc.abstractmethod
  def images(self, indices: tf.Tensor) -> tf.Tensor:
    """uint8 [B, H, W, C] at int64 [B] `indices`, as graph operations."""


class ArrayStore(Store):
  """Images in memory."""

  def __init__(
      self,
      images: np.ndarray | tf.Tensor,
      labels: np.ndarray | None,
      keys: Sequence[str],
      rows: np.ndarray | None = None,
  ):
    """Holds images.

    Args:
      images: uint8 [N, H, W, C]. A tensor is not copied, so that the splits of
        one source can share it.
      labels: int64 [n] or None.
      keys: n names.
      rows: int64 [n], which of the images are this store's; None for all.
    """
    super().__init__(tuple(images.shape[1:]), labels, keys)
    with tf.device('/CPU:0'):
      self._images = tf.convert_to_tensor(images, tf.uint8)
      self._rows = None if rows is None else tf.constant(rows, tf.int64)

  def images(self, indices: tf.Tensor) -> tf.Tensor:
    if self._rows is not None:
      indices = tf.gather(self._rows, indices)
    return tf.gather(self._images, indices)


class MemmapStore(Store):
  """Images in an uncompressed file of ours, paged in by the system.

  The gather is NumPy's, so this store does not travel to another process.
  """

  def __init__(
      self,
      path: str,
      rows: np.ndarray,
      labels: np.ndarray | None,
      keys: Sequence[str],
  ):
    self._array = np.load(path, mmap_mode='r', allow_pickle=False)
    self._rows = np.asarray(rows, np.int64)
    super().__init__(tuple(self._array.shape[1:]), labels, keys)

  def images(self, indices: tf.Tensor) -> tf.Tensor:
    def gather(index: np.ndarray) -> np.ndarray:
      return np.ascontiguousarray(self._array[self._rows[index]])

    batch = tf.numpy_function(gather, [indices], tf.uint8, stateful=False)
    return tf.ensure_shape(batch, (*indices.shape, *self.shape))


class SelectedStore(Store):
  """Images of other stores in an order of its own, and none of their labels."""

  def __init__(self, parts: Sequence[Store], rows: np.ndarray):
    """Selects.

    Args:
      parts: Stores of images of one shape.
      rows: Places in the parts, one after the other.
    """
    super().__init__(parts[0].shape, None, [str(i) for i in range(len(rows))])
    self._parts = tuple(parts)
    with tf.device('/CPU:0'):
      self._rows = tf.constant(np.asarray(rows), tf.int64)

  def images(self, indices: tf.Tensor) -> tf.Tensor:
    rows = tf.gather(self._rows, indices)
    first, *others = self._parts
    images = first.images(tf.minimum(rows, first.size - 1))
    start = first.size
    for part in others:
      there = rows >= start
      inside = tf.clip_by_value(rows - start, 0, part.size - 1)
      images = tf.where(
          there[:, None, None, None], part.images(inside), images)
      start += part.size
    return images


def partner_rows(
    stores: Mapping[str, Store], what: str
) -> dict[str, np.ndarray]:
  """Rows by which stores of paired domains show the same things.

  Returns:
    For each domain, the rows of its store in the order of the first one's keys.

  Raises:
    DataError: If a key lacks its partner.
  """
  (first, store), *others = stores.items()
  rows = {first: np.arange(store.size)}
  for domain, other in others:
    where = {key: i for i, key in enumerate(other.keys)}
    missing = [key for key in store.keys if key not in where]
    if missing or len(where) != store.size:
      raise DataError(
          f'{what}: domains {first!r} ({store.size} images) and {domain!r} '
          f'({len(where)}) are not paired; without a partner: {missing[:3]}.')
    rows[domain] = np.array([where[key] for key in store.keys])
  return rows

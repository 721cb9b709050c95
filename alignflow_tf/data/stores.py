"""Where the images of one split are held, and how a batch is taken."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np

from alignflow_tf._lazy import tensorflow as tf


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

  @abc.abstractmethod
  def images(self, indices: tf.Tensor) -> tf.Tensor:
    """uint8 [B, H, W, C] at int64 [B] `indices`, as graph operations."""


class ArrayStore(Store):
  """Images in memory."""

  def __init__(
      self,
      images: np.ndarray,
      labels: np.ndarray | None,
      keys: Sequence[str],
  ):
    super().__init__(tuple(images.shape[1:]), labels, keys)
    with tf.device('/CPU:0'):
      # Not `tf.constant`, which makes a second copy on its way.
      self._images = tf.convert_to_tensor(images, tf.uint8)

  def images(self, indices: tf.Tensor) -> tf.Tensor:
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

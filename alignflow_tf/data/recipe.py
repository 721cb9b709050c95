"""`Recipe`: graph operations from a decoded picture to an image of the set.

Training, TFDS records and exported servers share them.
"""

from __future__ import annotations

import dataclasses

from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import pixels

FITS = {
    'crop': 'the largest middle part of the right aspect ratio',
    'stretch': 'the whole picture, its aspect ratio changed',
    'pad': 'the whole picture, black bars added',
}


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How a picture of any size becomes an image of one size.

  For example, `Recipe((48, 64), 3, 'pad').apply(picture)` fits the whole
  picture into 48 rows of 64 pixels, with black bars where it is too narrow or
  too flat.

  Attributes:
    size: (height, width).
    channels: 1 or 3.
    fit: One of `FITS`.
    side: 'whole', or 'left' or 'right' of a side-by-side picture.
    method: A method of `tf.image.resize`; always with antialiasing.
  """

  size: tuple[int, int]
  channels: int
  fit: str = 'crop'
  side: str = 'whole'
  method: str = 'bilinear'

  def rule(self) -> str:
    """The recipe in words."""
    return (
        f'{FITS[self.fit]}, resized to {self.size[0]}x{self.size[1]}, '
        f'{self.method} with antialiasing; Exif orientation applied')

  def apply(
      self, image: tf.Tensor, orientation: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Prepares a decoded picture.

    Args:
      image: uint8 [h, w, c]; c is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4
        (RGB, alpha), static or not.
      orientation: int32 scalar, the Exif orientation, 1 to 8; None for an
        upright picture.

    Returns:
      uint8 [H, W, C].
    """
    if orientation is not None:
      image = _upright(image, orientation)
    if self.side != 'whole':
      half = tf.shape(image)[1] // 2
      image = image[:, :half] if self.side == 'left' else image[:, half:]
    size = tf.constant(self.size)
    if self.fit == 'crop':
      image = _middle(image, self.size)
    elif self.fit == 'pad':
      size = _inner_size(image, self.size)
    image = pixels.resize(image, size, self.channels, self.method)
    if self.fit == 'pad':
      image = tf.image.resize_with_crop_or_pad(image, *self.size)
    return tf.ensure_shape(
        pixels.to_uint8(image), (*self.size, self.channels))


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
  def turned(x: tf.Tensor) -> tf.Tensor:
    return tf.transpose(x, [1, 0, 2])

  return tf.switch_case(orientation, [
      lambda: image,  # 0 does not occur.
      lambda: image,
      lambda: image[:, ::-1],
      lambda: image[::-1, ::-1],
      lambda: image[::-1],
      lambda: turned(image),
      lambda: turned(image)[:, ::-1],
      lambda: turned(image)[::-1, ::-1],
      lambda: turned(image)[::-1],
  ])


def _middle(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  height, width = size
  shape = tf.cast(tf.shape(image), tf.float64)
  scale = tf.minimum(shape[0] / height, shape[1] / width)
  rows = tf.maximum(1, tf.cast(tf.round(height * scale), tf.int32))
  columns = tf.maximum(1, tf.cast(tf.round(width * scale), tf.int32))
  top = (tf.shape(image)[0] - rows) // 2
  left = (tf.shape(image)[1] - columns) // 2
  return image[top:top + rows, left:left + columns]


def _inner_size(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  """The size of the whole picture within `size`, its aspect ratio kept."""
  shape = tf.cast(tf.shape(image), tf.float64)
  scale = tf.minimum(size[0] / shape[0], size[1] / shape[1])
  inner = tf.cast(tf.round(shape[:2] * scale), tf.int32)
  return tf.clip_by_value(inner, 1, tf.constant(size))

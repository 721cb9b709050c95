"""Rules for pixels, from uint8 to uint8.

* Resizing is `tf.image.resize(..., antialias=True)`: when shrinking, the
kernel widens by the factor, so every source pixel counts.
* RGB to grey: 0.2989 R + 0.5870 G + 0.1140 B (the luma of ITU-R BT.601, as in
Pillow's 'L' and `tf.image.rgb_to_grayscale`). Grey to RGB: copied three times.
* Alpha is blended over white, before resizing.
* Rounding is to nearest; values are clipped to 0..255 (bicubic overshoots).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from alignflow_tf._lazy import tensorflow as tf

_CHUNK = 1024


def parse_size(
    value: int | str | tuple[int, int] | None,
    name: str,
    error: type[ValueError],
) -> tuple[int, int] | None:
  """Parses an image size, for example 64, (48, 64) or '48x64'.

  Args:
    value: An integer for a square, a pair (height, width), a string
      'HEIGHTxWIDTH' or 'SIDE', or None.
    name: The argument's name for the message.
    error: Exception class to raise.

  Returns:
    (height, width) in pixels, or None.

  Raises:
    error: If it is something else, or not in 4..4096.
  """
  if value is None:
    return None
  pair: Any = value
  if isinstance(value, str) and re.fullmatch(r'\d+(x\d+)?', value):
    sides = [int(v) for v in value.split('x')]
    pair = (sides[0], sides[-1])
  elif isinstance(value, (int, np.integer)):
    pair = (value, value)
  try:
    height, width = (int(v) for v in pair)
    whole = all(int(v) == v for v in pair)
  except (TypeError, ValueError):
    height = width = 0
    whole = False
  if isinstance(value, bool) or not whole or not (
      4 <= height <= 4096 and 4 <= width <= 4096
  ):
    raise error(
        f'`{name}` is {value!r}; it must be an integer from 4 to 4096 (a '
        'square), a pair (height, width) of such, or a string HEIGHTxWIDTH.'
    )
  return height, width


def resize(
    image: tf.Tensor, size: tf.Tensor, channels: int, method: str = 'bilinear'
) -> tf.Tensor:
  """Resizes a picture, blends its alpha over white, and converts its channels.

  Args:
    image: uint8 [h, w, c]; c is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB,
      alpha), static or not.
    size: int32 [2], height and width.
    channels: 1 or 3.
    method: A method of `tf.image.resize`.

  Returns:
    float32 [height, width, channels] in 0..255; bicubic may overshoot.
  """
  def resized(x: tf.Tensor) -> tf.Tensor:
    # Integers, as the operation takes them: a copy of the whole picture as
    # float32 would take four times its memory and most of the time.
    return tf.cast(
        tf.image.resize(x, size, method, antialias=True), tf.float32)

  def blended(colour: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    # colour * alpha + white * (1 - alpha), for alpha in 0..1.
    product = tf.cast(colour, tf.uint16) * tf.cast(alpha, tf.uint16)
    return resized(product) / 255.0 + (255.0 - resized(alpha))

  def with_channels(count: int) -> tf.Tensor:
    x = tf.ensure_shape(image, [None, None, count])
    if count in (2, 4):
      x, alpha = x[..., :-1], x[..., -1:]
      return to_channels(tf.cond(
          tf.reduce_all(alpha == 255), lambda: resized(x),
          lambda: blended(x, alpha)), channels)
    return to_channels(resized(x), channels)

  if image.shape[-1] is not None:
    return with_channels(image.shape[-1])
  return tf.switch_case(
      tf.shape(image)[-1] - 1,
      [lambda c=c: with_channels(c) for c in (1, 2, 3, 4)])


def to_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
  """Converts a float image to 1 or 3 channels by the rules above.

  Args:
    image: float32 [..., H, W, c] in 0..255; c is 1 (grey) or 3 (RGB).
    channels: 1 or 3.

  Returns:
    float32 [..., H, W, channels].
  """
  if image.shape[-1] == 3 and channels == 1:
    return tf.image.rgb_to_grayscale(image)
  if image.shape[-1] == 1 and channels == 3:
    return tf.repeat(image, 3, axis=-1)
  return image


def to_uint8(image: tf.Tensor) -> tf.Tensor:
  """Rounds and clips a float image in 0..255 to uint8."""
  return tf.cast(tf.clip_by_value(tf.round(image), 0.0, 255.0), tf.uint8)


def resize_array(
    images: np.ndarray,
    size: tuple[int, int],
    channels: int,
    method: str = 'bilinear',
) -> np.ndarray:
  """Resizes an array of equally sized images.

  Args:
    images: [n, h, w, c], values 0..255, any real dtype.
    size: (height, width) of the result, in pixels.
    channels: 1 or 3.
    method: A method of `tf.image.resize`.

  Returns:
    uint8 [n, height, width, channels].
  """
  out = np.empty((len(images), *size, channels), np.uint8)
  same = tuple(images.shape[1:3]) == tuple(size)
  if same and images.shape[-1] == channels and images.dtype == np.uint8:
    out[...] = images
    return out
  rows = _weights(images.shape[1], size[0], method)
  columns = _weights(images.shape[2], size[1], method).T
  for start in range(0, len(images), _CHUNK):
    part = np.asarray(images[start:start + _CHUNK], np.float32)
    if part.shape[-1] > channels:
      part = to_channels(tf.constant(part), channels).numpy()
    if not same:
      # In one layout, so that a channel does not depend on how many there are:
      # NumPy's products differ in their last bit by their operands' strides.
      planes = rows @ np.ascontiguousarray(np.moveaxis(part, -1, 1)) @ columns
      part = np.moveaxis(planes, 1, -1)
    # One channel into three: NumPy copies it on assignment.
    out[start:start + _CHUNK] = np.clip(np.rint(part), 0, 255)
  return out


def _weights(old: int, new: int, method: str) -> np.ndarray:
  """The linear map that `tf.image.resize` applies along one axis.

  Its kernels are separable, so two small matrix products give the same image
  about ten times as fast as the op, which counts for 60,000 of them.

  Args:
    old: Pixels along the axis.
    new: Pixels along it afterwards.
    method: A method of `tf.image.resize`.

  Returns:
    float32 [new, old].
  """
  impulses = tf.eye(old, dtype=tf.float32)[..., None]
  with tf.device('/CPU:0'):
    return tf.image.resize(
        impulses, (new, old), method, antialias=True)[..., 0].numpy()

"""Pixels: dequantisation, ranges, bits per dimension, validation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = [
    'as_picture', 'as_tensor', 'bits_per_dim', 'check_event_shape',
    'dequantize', 'from_uint8', 'polar_weights', 'shift', 'to_critic',
    'to_uint8', 'validate'
]


def from_uint8(images: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
  """Takes uint8 pixels to the middle of their bins in [0, 1].

  Level `k` becomes `(k + 0.5) / 256`, the mean of the values that `dequantize`
  draws. Images that are evaluated without noise so lie in the middle of those
  that the model was trained on.

  Args:
    images: uint8 `Tensor` of any shape.
    dtype: Floating type of the result.

  Returns:
    A `Tensor` of the same shape in (0, 1).

  Raises:
    TypeError: If the images are of a floating type.

  Examples:
    >>> images.from_uint8(np.array([0, 255], np.uint8)).numpy() * 256.
    array([  0.5, 255.5], dtype=float32)
  """
  _check_levels(images, 'images')
  return (tf.cast(images, dtype) + 0.5) / 256.


def _check_levels(images: Any, argument: str) -> None:
  if not hasattr(images, 'dtype'):
    images = np.asarray(images)
  dtype = tf.as_dtype(images.dtype)
  if not dtype.is_integer:
    raise TypeError(
        f'`{argument}` must be integer levels from 0 to 255, got {dtype.name}.')


def to_uint8(images: tf.Tensor) -> tf.Tensor:
  """Takes pixels in [0, 1] to levels 0 to 255; clips values outside."""
  return tf.cast(tf.clip_by_value(tf.floor(images * 256.), 0., 255.), tf.uint8)


def as_picture(images: tf.Tensor) -> tf.Tensor:
  """Images as they come back from an 8-bit file: clipped and rounded.

  `from_uint8(to_uint8(images))`, with the gradient of the identity: the
  straight-through estimator of Bengio et al. 2013, section 3,
  https://arxiv.org/abs/1308.3432.

  Args:
    images: Floating `Tensor` of any shape.

  Returns:
    A `Tensor` of the same shape and type in (0, 1).
  """
  picture = from_uint8(to_uint8(images), images.dtype)
  return images + tf.stop_gradient(picture - images)


def dequantize(
    images: tf.Tensor,
    seed: Any,
    width: float = 1.,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
  """Adds uniform noise to uint8 pixels, so that they have a density.

  `x = (k + 0.5 + width * (u - 0.5)) / 256`, with `k` the level and `u` uniform
  on [0, 1). For `width=1` that is the usual `(k + u) / 256`; its mean is
  `from_uint8`'s value for all widths. Images whose channels are copies of one
  another have no density but for this noise; a larger width bounds the
  likelihood that a model gains from it. It reaches beyond [0, 1] by
  `(width - 1) / 512`.

  Args:
    images: uint8 `Tensor` of any shape.
    seed: Stateless seed, two integers.
    width: Width of the noise in levels, at least 1.
    dtype: Floating type of the result.

  Returns:
    A `Tensor` of the same shape, in [0, 1) for a width of 1.

  Raises:
    TypeError: If the images are of a floating type.
    ValueError: If `width` is below 1.

  Examples:
    >>> x = images.dequantize(np.array([0, 255], np.uint8), seed=(0, 1))
    >>> images.to_uint8(x).numpy()
    array([  0, 255], dtype=uint8)

  #### References

  [1]: Lucas Theis, Aäron van den Oord, Matthias Bethge. A note on the
       evaluation of generative models. In _ICLR_, 2016, section 3.1.
       https://arxiv.org/abs/1511.01844
  """
  if not width >= 1.:
    raise ValueError(f'`width` must be at least 1, got {width!r}.')
  _check_levels(images, 'images')
  noise = tf.random.stateless_uniform(tf.shape(images), seed, dtype=dtype)
  offset = 0.5 - 0.5 * width
  return (tf.cast(images, dtype) + offset + width * noise) / 256.


def bits_per_dim(log_prob: tf.Tensor, event_size: int) -> tf.Tensor:
  """Bits per dimension of 8-bit images from densities on [0, 1].

  `-log_prob / (event_size * log(2)) + 8`: a bin of a level is 1/256 wide.

  Args:
    log_prob: Log-densities in nats of dequantised images in [0, 1].
    event_size: Number of dimensions of an image.

  Returns:
    A `Tensor` of the shape of `log_prob`, in bits; lower is better.

  Examples:
    >>> float(images.bits_per_dim(tf.constant(0.), 12))
    8.0
  """
  return -log_prob / (event_size * math.log(2.)) + 8.


def to_critic(images: tf.Tensor) -> tf.Tensor:
  """Takes [0, 1] to [-1, 1], the range of critics, classifiers and MSE."""
  return images * 2. - 1.


def shift(images: tf.Tensor, most: int, seed: tf.Tensor) -> tf.Tensor:
  """Shifts each image by whole pixels, drawn for each; edges are repeated.

  Args:
    images: `[B, H, W, C]`.
    most: Largest shift along each axis, in either direction.
    seed: Stateless seed, two integers.

  Returns:
    `[B, H, W, C]`.

  #### References

  [1]: Shengyu Zhao et al. Differentiable Augmentation for Data-Efficient GAN
       Training. In _NeurIPS_, 2020. https://arxiv.org/abs/2006.10738
  """
  offsets = tf.random.stateless_uniform(
      [2, tf.shape(images)[0], 1], seed, -most, most + 1, tf.int32)
  height, width = images.shape[1:3]
  rows = tf.clip_by_value(tf.range(height) + offsets[0], 0, height - 1)
  columns = tf.clip_by_value(tf.range(width) + offsets[1], 0, width - 1)
  return tf.gather(tf.gather(images, rows, batch_dims=1), columns, axis=2,
                   batch_dims=1)


def polar_weights(num: int, dtype: tf.DType) -> tuple[np.ndarray, np.ndarray]:
  """Weights of the polar path between two latents (section 5.3 of AlignFlow).

  Frame `i` of `num` is `sin(phi) * z0 + cos(phi) * z1`, with `phi` from pi / 2
  to 0 in equal steps: `z0` and `z1` are the first and the last.

  Returns:
    `sin(phi)` and `cos(phi)`, of shape `[num, 1, 1, 1]`.
  """
  phi = np.linspace(np.pi / 2., 0., num).reshape([num, 1, 1, 1])
  phi = phi.astype(dtype.as_numpy_dtype)
  return np.sin(phi), np.cos(phi)


def check_event_shape(event_shape: Any) -> tuple[int, int, int]:
  """Checks a shape of images that a user hands in.

  Args:
    event_shape: `(height, width, channels)`.

  Returns:
    The shape, as Python integers.

  Raises:
    ValueError: If it is not three positive integers.
  """
  sizes = tuple(event_shape) if np.iterable(event_shape) else ()
  if len(sizes) != 3 or not all(
      isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0
      for n in sizes):
    raise ValueError(
        '`event_shape` must be (height, width, channels), three positive '
        f'integers, got {event_shape!r}.')
  height, width, channels = (int(n) for n in sizes)
  return height, width, channels


def validate(
    images: Any,
    event_shape: tuple[int, int, int],
    argument: str = 'images',
    low: float = -0.5,
    high: float = 1.5,
    dtype: tf.DType = tf.float32,
) -> np.ndarray:
  """Checks a batch of images that a user hands in.

  The check is for images in the wrong range, such as [0, 255] or [-1, 1].
  Translated images may lie a little outside [0, 1], as flows do not clip, and
  are accepted from `low` to `high`.

  Args:
    images: The batch.
    event_shape: `(height, width, channels)` expected.
    argument: Name of the argument, for the message.
    low: Smallest value accepted.
    high: Largest value accepted.
    dtype: Floating type of the result.

  Returns:
    The images as an array of shape `[B, height, width, channels]`.

  Raises:
    TypeError: If the images are not numbers of a floating type.
    ValueError: If shape, range or finiteness is wrong.
  """
  array = np.asarray(images)
  if not np.issubdtype(array.dtype, np.floating):
    raise TypeError(
        f'`{argument}` must be floating numbers in [0, 1], got dtype '
        f'{array.dtype}: use alignflow_tf.images.from_uint8 for uint8 pixels.')
  if array.ndim != 4 or array.shape[1:] != tuple(event_shape):
    raise ValueError(
        f'`{argument}` must have shape [B, {event_shape[0]}, {event_shape[1]}, '
        f'{event_shape[2]}], got {list(array.shape)}.')
  if not array.shape[0]:
    raise ValueError(f'`{argument}` must hold at least one image, got none.')
  if not np.isfinite(array).all():
    raise ValueError(f'`{argument}` must be finite, got NaN or infinity.')
  if array.min() < low or array.max() > high:
    raise ValueError(
        f'`{argument}` must have pixels in [0, 1], and none outside [{low:g}, '
        f'{high:g}], got values from {array.min():.4g} to {array.max():.4g}.')
  return array.astype(dtype.as_numpy_dtype)


def as_tensor(
    images: Any,
    event_shape: tuple[int, int, int],
    argument: str = 'images',
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
  """Checks a batch of images, and keeps gradients with respect to it.

  Args:
    images: The batch. Values of a graph's tensor are not known, and not
      checked.
    event_shape: `(height, width, channels)` expected.
    argument: Name of the argument, for the message.
    dtype: Floating type of the result.

  Returns:
    The images as a `Tensor` of shape `[B, height, width, channels]`.

  Raises:
    TypeError: If the images are not numbers of a floating type.
    ValueError: If shape, range or finiteness is wrong; see `validate`.
  """
  if not tf.is_symbolic_tensor(images):
    array = validate(images, event_shape, argument, dtype=dtype)
    # A tensor stays the one it was, for gradients.
    return tf.cast(images if tf.is_tensor(images) else array, dtype)
  if not images.dtype.is_floating:
    raise TypeError(
        f'`{argument}` must be floating numbers in [0, 1], got dtype '
        f'{images.dtype.name}.')
  if not images.shape.is_compatible_with([None, *event_shape]):
    raise ValueError(
        f'`{argument}` must have shape [B, *{event_shape}], got '
        f'{images.shape}.')
  return tf.cast(images, dtype)

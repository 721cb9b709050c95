"""Images in the levels of one standard: full contrast, light on dark."""

from __future__ import annotations

from alignflow_tf._lazy import tensorflow as tf


def standard(images: tf.Tensor) -> tf.Tensor:
  """Stretches each image to 0..255, and inverts it where it is dark on light.

  With levels `x` stretched to [0, 1], an image counts as dark on light if

  ```
  (mean(x) - mean(middle of x)) + (mean(x) - 1/2) > 0
  ```

  that is, if it is light, or lighter around than in its middle, where the thing
  is; the middle is 12/32 of the width and 20/32 of the height. An image of one
  level becomes black. Light things on black, such as MNIST's digits, stay as
  they are. It is no bijection: which image was inverted is not kept.

  Args:
    images: uint8 `[..., H, W, C]`.

  Returns:
    uint8 of the same shape.
  """
  x = tf.cast(images, tf.float32)
  axes = [-3, -2, -1]
  low = tf.reduce_min(x, axes, keepdims=True)
  x = tf.math.divide_no_nan(
      x - low, tf.reduce_max(x, axes, keepdims=True) - low)
  height, width = images.shape[-3:-1]
  top, left = round(height * 6 / 32), round(width * 10 / 32)
  middle = x[..., top:height - top, left:width - left, :]
  light = 2. * tf.reduce_mean(x, axes, keepdims=True) - tf.reduce_mean(
      middle, axes, keepdims=True) > 0.5
  return tf.cast(tf.round(255. * tf.where(light, 1. - x, x)), tf.uint8)

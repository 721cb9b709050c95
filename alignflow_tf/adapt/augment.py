"""Random affine maps of images, which should not change their class."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp


def random_affine(
    images: tf.Tensor, seed: tf.Tensor, scale: float = 0.1, shift: float = 0.1,
) -> tf.Tensor:
  """Maps each image by an affine map of its own, about the middle.

  `y(p) = x(M (p - middle) + middle + t)`, bilinear, with entries of `M - I`
  drawn from N(0, scale^2) and those of `t` from U(-shift, shift) times the
  width: section 4.1 of French et al. [1]. Beyond the edge, the edge goes on.

  Args:
    images: `[B, H, W, C]`; H and W static. Gradients reach them, once.
    seed: Stateless seed, two integers.
    scale: Standard deviation of the linear part.
    shift: Largest shift, of the width.

  #### References

  [1]: Geoff French, Michal Mackiewicz, Mark Fisher. Self-ensembling for Visual
       Domain Adaptation. In _ICLR_, 2018. https://arxiv.org/abs/1706.05208
  """
  size = tf.shape(images)[0]
  height, width = images.shape[1:3]
  linear = tf.eye(2) + scale * tf.random.stateless_normal([size, 2, 2], seed)
  offset = width * shift * tf.random.stateless_uniform(
      [size, 2], seed + 1, -1., 1.)
  middle = tf.constant([(width - 1) / 2., (height - 1) / 2.])
  offset += middle - tf.linalg.matvec(linear, middle)

  @tf.custom_gradient
  def warp(x: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
    transforms = tf.concat([
        linear[:, 0], offset[:, :1], linear[:, 1], offset[:, 1:],
        tf.zeros([size, 2])], axis=1)
    y = tf.raw_ops.ImageProjectiveTransformV3(
        images=x, transforms=transforms, output_shape=[height, width],
        fill_value=0., interpolation='BILINEAR', fill_mode='NEAREST')

    # That operation's own gradient warps back, which is not its transpose.
    def gradient(dy: tf.Tensor) -> tf.Tensor:
      zeros = tf.zeros_like(x)  # The map is linear: its values do not matter.
      with tf.GradientTape() as tape:
        tape.watch(zeros)
        warped = _interpolate(zeros, linear, offset)
      return tape.gradient(warped, zeros, dy)

    return y, gradient

  return warp(images)


def _interpolate(
    images: tf.Tensor, linear: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
  """The same map by TFP's interpolation, slower and with a true gradient."""
  height, width = images.shape[1:3]
  places = tf.reshape(tf.stack(tf.meshgrid(
      tf.range(float(width)), tf.range(float(height))), axis=-1), [1, -1, 2])
  where = tf.matmul(places, linear, transpose_b=True) + offset[:, tf.newaxis]
  values = tfp.math.batch_interp_regular_nd_grid(
      where[..., ::-1], [0., 0.], [height - 1., width - 1.], images, axis=-3,
      fill_value='constant_extension')
  return tf.reshape(values, tf.shape(images))

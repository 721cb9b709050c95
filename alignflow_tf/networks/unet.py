"""A U-Net of images and a time: the velocity of a continuous flow."""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
import numpy as np

from alignflow_tf import _checks

__all__ = ['velocity_unet']

# sin and cos of `pi * 2**i * time`, for i below this.
_FREQUENCIES = 6
# Channels of a group of the normalisation.
_GROUP = 8


def velocity_unet(
    image_shape: tuple[int, int, int],
    filters: int = 32,
    num_blocks: int = 2,
    num_halvings: int = 2,
    seed: int = 0,
    dtype: Any = 'float32',
    name: str = 'velocity',
) -> keras.Model:
  """Network v(x, t) of images and times, with one velocity for each pixel.

  A smaller form of the U-Net of diffusion models [1], without attention:
  residual blocks at each of `num_halvings + 1` scales on the way down and again
  on the way up, which takes over the features of the way down. A block is
  `x + conv(swish(norm(conv(swish(norm(x))) + dense(t))))`, with group
  normalisation, so an image's velocity does not depend on the other images.
  The last convolution starts at zero, and so does the velocity.

  ```python
  network = networks.velocity_unet((32, 32, 3))
  network([images, tf.fill([8, 1], 0.5)])   # [8, 32, 32, 3]
  ```

  Args:
    image_shape: `(height, width, channels)` of the images.
    filters: Channels at the finest scale, a multiple of 8; they double at each
      halving.
    num_blocks: Residual blocks a scale, on the way down and on the way up.
    num_halvings: How often height and width are halved.
    seed: Non-negative integer that fixes the initial weights.
    dtype: A Keras dtype or dtype policy for all but the last layer.
    name: Name of the model.

  Returns:
    A Keras model of images `[B, height, width, channels]` and times `[B, 1]`,
    to velocities of the images' shape, float32 under a mixed policy.

  Raises:
    ValueError: If an argument is out of range or the halvings do not divide the
      images.

  #### References

  [1]: Jonathan Ho, Ajay Jain, Pieter Abbeel. Denoising Diffusion Probabilistic
       Models. In _NeurIPS_, 2020, appendix B. https://arxiv.org/abs/2006.11239
  """
  num_blocks = _checks.integer('num_blocks', num_blocks)
  num_halvings = _checks.integer('num_halvings', num_halvings, least=0)
  if filters < _GROUP or filters % _GROUP:
    raise ValueError(
        f'`filters` (--width) must be a multiple of {_GROUP}, got {filters!r}.')
  if any(side % 2**num_halvings for side in image_shape[:2]):
    raise ValueError(
        f'`num_halvings` is {num_halvings}, which does not divide images of '
        f'{image_shape[0]}x{image_shape[1]} pixels.')
  seeds = itertools.count(seed * 997)

  def initializer() -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=next(seeds))

  def conv(x: Any, channels: int, kernel: int = 3, strides: int = 1) -> Any:
    return keras.layers.Conv2D(
        channels, kernel, strides, padding='same', dtype=dtype,
        kernel_initializer=initializer())(x)

  def norm(x: Any) -> Any:
    x = keras.layers.GroupNormalization(
        x.shape[-1] // _GROUP, epsilon=1e-5, dtype=dtype)(x)
    return keras.ops.silu(x)

  def dense(x: Any, units: int) -> Any:
    return keras.layers.Dense(
        units, dtype=dtype, kernel_initializer=initializer())(x)

  def blocks(x: Any, channels: int) -> Any:
    for _ in range(num_blocks):
      h = conv(norm(x), channels)
      h += keras.layers.Reshape((1, 1, channels), dtype=dtype)(
          dense(embedding, channels))
      h = conv(norm(h), channels)
      x = h + (x if x.shape[-1] == channels else conv(x, channels, 1))
    return x

  image = keras.Input(image_shape, name='image')
  time = keras.Input((1,), name='time')
  angles = time * (math.pi * 2.**np.arange(_FREQUENCIES, dtype=np.float32))
  embedding = keras.ops.silu(dense(keras.ops.concatenate(
      [time, keras.ops.sin(angles), keras.ops.cos(angles)], axis=-1),
                                   4 * filters))
  x, passed = conv(image, filters), []
  for scale in range(num_halvings):
    x = blocks(x, filters * 2**scale)
    passed.append(x)
    x = conv(x, filters * 2**(scale + 1), strides=2)
  x = blocks(x, filters * 2**num_halvings)
  for scale in reversed(range(num_halvings)):
    x = conv(keras.layers.UpSampling2D(dtype=dtype)(x), filters * 2**scale)
    x = keras.ops.concatenate([x, passed.pop()], axis=-1)
    x = blocks(x, filters * 2**scale)
  outputs = keras.layers.Conv2D(
      image_shape[2], 3, padding='same', kernel_initializer='zeros',
      dtype='float32')(norm(x))
  return keras.Model([image, time], outputs, name=name)

"""The patch critic."""

from __future__ import annotations

from typing import Any

import keras

from alignflow_tf import _checks

__all__ = ['patch_critic']


def patch_critic(
    image_shape: tuple[int, int, int],
    filters: int = 64,
    num_layers: int = 3,
    seed: int = 0,
    dtype: Any = 'float32',
    name: str = 'critic',
) -> keras.Model:
  """PatchGAN critic: a logit for each of many overlapping patches.

  `num_layers` convolutions of kernel 4 and stride 2 double the channels from
  `filters` on (to 8 times at most); two more of stride 1 give one logit a
  patch. Leaky ReLU of slope 0.2; instance normalisation without parameters
  after all but the first and the last. With 3 layers a patch is 70x70 pixels.

  Args:
    image_shape: `(height, width, channels)` of the images.
    filters: Channels of the first convolution.
    num_layers: Number of convolutions of stride 2.
    seed: Non-negative integer that fixes the initial weights.
    dtype: A Keras dtype or dtype policy for all but the last layer.
    name: Name of the model.

  Returns:
    A Keras model from `[B, height, width, channels]` in [-1, 1] to logits of
    shape `[B, h, w, 1]`, float32 under a mixed policy.

  Raises:
    ValueError: If an argument is not positive or the images are too small for
      so many layers.

  #### References

  [1]: Phillip Isola et al. Image-to-Image Translation with Conditional
       Adversarial Networks. In _CVPR_, 2017. https://arxiv.org/abs/1611.07004
  [2]: Jun-Yan Zhu et al. Unpaired Image-to-Image Translation using
       Cycle-Consistent Adversarial Networks. In _ICCV_, 2017, section 4.
       https://arxiv.org/abs/1703.10593
  """
  filters = _checks.integer('filters', filters)
  num_layers = _checks.integer('num_layers', num_layers)
  size = min(image_shape[:2]) // 2**num_layers - 2
  if size < 1:
    most = (min(image_shape[:2]) // 3).bit_length() - 1
    raise ValueError(
        f'`num_layers` is {num_layers}, which leaves nothing of images of '
        f'{image_shape[0]}x{image_shape[1]} pixels; use at most {most}.')
  count = iter(range(seed * 64, seed * 64 + 64))

  def conv(channels: int, strides: int, **kwargs: Any) -> keras.layers.Layer:
    initializer = keras.initializers.RandomNormal(
        stddev=0.02, seed=next(count))
    return keras.layers.Conv2D(
        channels, 4, strides=strides, padding='valid',
        kernel_initializer=initializer, **kwargs)

  # Padding by 1 on each side, as published; Keras' 'same' pads by 1 and 2 at
  # stride 1.
  inputs = keras.Input(image_shape, name='image')
  x = inputs
  for i in range(num_layers + 1):
    x = keras.layers.ZeroPadding2D(1, dtype=dtype)(x)
    x = conv(filters * min(2**i, 8), 2 if i < num_layers else 1,
             dtype=dtype)(x)
    if i:
      x = keras.layers.GroupNormalization(
          groups=-1, epsilon=1e-5, center=False, scale=False, dtype=dtype)(x)
    x = keras.layers.LeakyReLU(0.2, dtype=dtype)(x)
  x = keras.layers.ZeroPadding2D(1, dtype='float32')(x)
  outputs = conv(1, 1, dtype='float32')(x)
  return keras.Model(inputs, outputs, name=name)

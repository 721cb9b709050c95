"""A small U-Net that learns from pairs."""

from __future__ import annotations

import keras

__all__ = ['regressor']


def regressor(
    image_shape: tuple[int, int, int],
    filters: int = 48,
    num_blocks: int = 4,
    seed: int = 0,
    name: str = 'regressor',
) -> keras.Model:
  """U-Net of two halvings for image to image regression.

  Two strided convolutions, residual blocks, two transposed convolutions that
  see the earlier activations of their size, and a linear output. There is no
  normalisation: an image's mean colour is part of the answer.

  Args:
    image_shape: `(height, width, channels)`, in and out; 4 divides height and
      width.
    filters: Channels at half of the size; twice as many at a quarter.
    num_blocks: Residual blocks at a quarter of the size.
    seed: Non-negative integer that fixes the initial weights.
    name: Name of the model.

  Returns:
    A Keras model of images `[B, height, width, channels]` in [-1, 1] to a
    dictionary: `image`, as many of the same shape, and `features`,
    `[B, 4 * filters]`, mean and standard deviation of the innermost channels.

  Raises:
    ValueError: If 4 does not divide the images.

  #### References

  [1]: Olaf Ronneberger, Philipp Fischer, Thomas Brox. U-Net: Convolutional
       Networks for Biomedical Image Segmentation. In _MICCAI_, 2015.
       https://arxiv.org/abs/1505.04597
  """
  if image_shape[0] % 4 or image_shape[1] % 4:
    raise ValueError(
        '`image_shape` must have a height and width that 4 divides, got '
        f'{image_shape}.')
  seeds = iter(range(seed * 64, seed * 64 + 64))

  def init() -> keras.initializers.Initializer:
    return keras.initializers.HeNormal(seed=next(seeds))

  def conv(x: keras.KerasTensor, channels: int, kernel: int = 3,
           strides: int = 1, relu: bool = True) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        channels, kernel, strides, 'same', kernel_initializer=init(),
        activation='relu' if relu else None)(x)

  def double(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    return keras.layers.Conv2DTranspose(
        channels, 4, 2, 'same', kernel_initializer=init(),
        activation='relu')(x)

  inputs = keras.Input(image_shape, name='image')
  half = conv(inputs, filters, 4, 2)
  x = conv(half, 2 * filters, 4, 2)
  for _ in range(num_blocks):
    branch = conv(conv(x, 2 * filters), 2 * filters, relu=False)
    x = keras.layers.ReLU()(keras.layers.Add()([x, 0.5 * branch]))
  features = keras.layers.Concatenate()([
      keras.ops.mean(x, axis=(1, 2)), keras.ops.std(x, axis=(1, 2))])
  x = conv(keras.layers.Concatenate()([double(x, filters), half]), filters)
  x = keras.layers.Concatenate()([double(x, filters // 2), inputs])
  image = keras.layers.Conv2D(
      image_shape[2], 3, padding='same', kernel_initializer=init())(x)
  return keras.Model(inputs, {'image': image, 'features': features}, name=name)

"""Digit classifiers of the domain adaptation literature."""

from __future__ import annotations

import keras

from alignflow_tf import _checks

__all__ = ['dtn', 'lenet', 'strided_classifier']


def lenet(
    image_shape: tuple[int, int, int],
    num_classes: int = 10,
    seed: int = 0,
    name: str = 'lenet',
) -> keras.Model:
  """LeNet as in CyCADA: two 5x5 convolutions, two dense layers, dropout 0.5.

  Args:
    image_shape: `(height, width, channels)`; at least 16x16 pixels.
    num_classes: Number of classes.
    seed: Non-negative integer that fixes the initial weights and the dropout.
    name: Name of the model.

  Returns:
    A Keras model from `[B, height, width, channels]` in [-1, 1] to logits of
    shape `[B, num_classes]`.

  Raises:
    ValueError: If the images are smaller than 16x16, or `num_classes` is not
      positive.

  #### References

  [1]: Judy Hoffman et al. CyCADA: Cycle-Consistent Adversarial Domain
       Adaptation. In _ICML_, 2018. https://arxiv.org/abs/1711.03213
  """
  if min(image_shape[:2]) < 16:
    raise ValueError(
        '`image_shape` must be at least 16x16 pixels for LeNet, got '
        f'{image_shape}.')
  _checks.integer('num_classes', num_classes)
  count = iter(range(seed * 16, seed * 16 + 16))

  def init() -> keras.initializers.Initializer:
    return keras.initializers.GlorotNormal(seed=next(count))

  return keras.Sequential([
      keras.Input(image_shape),
      keras.layers.Conv2D(20, 5, kernel_initializer=init()),
      keras.layers.MaxPooling2D(),
      keras.layers.ReLU(),
      keras.layers.Conv2D(50, 5, kernel_initializer=init()),
      keras.layers.SpatialDropout2D(0.5, seed=next(count)),
      keras.layers.MaxPooling2D(),
      keras.layers.ReLU(),
      keras.layers.Flatten(),
      keras.layers.Dense(500, 'relu', kernel_initializer=init()),
      keras.layers.Dropout(0.5, seed=next(count)),
      keras.layers.Dense(num_classes, kernel_initializer=init()),
  ], name=name)


def dtn(
    image_shape: tuple[int, int, int],
    num_classes: int = 10,
    seed: int = 0,
    name: str = 'dtn',
) -> keras.Model:
  """The DTN classifier of CyCADA: three 5x5 convolutions of stride 2.

  Batch normalisation, ReLU and growing dropout after each, then a dense layer
  of 512 and the classes.

  Args:
    image_shape: `(height, width, channels)`; at least 8x8 pixels, 32x32 there.
    num_classes: Number of classes.
    seed: Non-negative integer that fixes the initial weights and the dropout.
    name: Name of the model.

  Returns:
    A Keras model from `[B, height, width, channels]` in [-1, 1] to logits of
    shape `[B, num_classes]`.

  Raises:
    ValueError: If the images are smaller than 8x8, or `num_classes` is not
      positive.

  #### References

  [1]: Judy Hoffman et al. CyCADA: Cycle-Consistent Adversarial Domain
       Adaptation. In _ICML_, 2018. https://arxiv.org/abs/1711.03213
  """
  if min(image_shape[:2]) < 8:
    raise ValueError(
        '`image_shape` must be at least 8x8 pixels for DTN, got '
        f'{image_shape}.')
  _checks.integer('num_classes', num_classes)
  count = iter(range(seed * 16, seed * 16 + 16))

  def init() -> keras.initializers.Initializer:
    return keras.initializers.GlorotNormal(seed=next(count))

  layers: list[keras.layers.Layer] = [keras.Input(image_shape)]
  for channels, rate in ((64, 0.1), (128, 0.3), (256, 0.5)):
    layers += [
        keras.layers.ZeroPadding2D(2),
        keras.layers.Conv2D(channels, 5, strides=2, kernel_initializer=init()),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
        keras.layers.SpatialDropout2D(rate, seed=next(count)),
        keras.layers.ReLU()]
  layers += [
      keras.layers.Flatten(),
      keras.layers.Dense(512, kernel_initializer=init()),
      keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
      keras.layers.ReLU(),
      keras.layers.Dropout(0.5, seed=next(count)),
      keras.layers.Dense(num_classes, kernel_initializer=init())]
  return keras.Sequential(layers, name=name)


def strided_classifier(
    image_shape: tuple[int, int, int],
    num_classes: int = 10,
    filters: int = 32,
    seed: int = 0,
    name: str = 'strided_classifier',
) -> keras.Model:
  """Three 3x3 convolutions of stride 2 and a dense layer, for many small steps.

  After the classifier that CyCADA's published code trains together with its
  translator (four convolutions from 64 channels, batch normalisation); without
  dropout and without statistics of batches, so that a translator gets the same
  gradient for an image in any batch.

  Args:
    image_shape: `(height, width, channels)`.
    num_classes: Number of classes.
    filters: Channels of the first convolution; doubled by each that follows.
    seed: Non-negative integer that fixes the initial weights.
    name: Name of the model.

  Returns:
    A Keras model from `[B, height, width, channels]` in [-1, 1] to logits of
    shape `[B, num_classes]`.

  Raises:
    ValueError: If `num_classes` or `filters` is not positive.
  """
  _checks.integer('num_classes', num_classes)
  _checks.integer('filters', filters)

  def init(i: int) -> keras.initializers.Initializer:
    return keras.initializers.HeNormal(seed=seed * 16 + i)

  layers: list[keras.layers.Layer] = [keras.Input(image_shape)]
  for i in range(3):
    layers += [
        keras.layers.Conv2D(filters * 2**i, 3, strides=2, padding='same',
                            kernel_initializer=init(i)),
        keras.layers.LeakyReLU(0.2)]
  layers += [keras.layers.Flatten(),
             keras.layers.Dense(num_classes, kernel_initializer=init(3))]
  return keras.Sequential(layers, name=name)

"""Digit classifiers of the domain adaptation literature."""

from __future__ import annotations

import keras

__all__ = ['lenet']


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
    ValueError: If the images are smaller than 16x16.

  #### References

  [1]: Judy Hoffman et al. CyCADA: Cycle-Consistent Adversarial Domain
       Adaptation. In _ICML_, 2018. https://arxiv.org/abs/1711.03213
  """
  if min(image_shape[:2]) < 16:
    raise ValueError(
        '`image_shape` must be at least 16x16 pixels for LeNet, got '
        f'{image_shape}.')
  if not isinstance(num_classes, int) or isinstance(num_classes, bool) or (
      num_classes < 1):
    raise ValueError(
        f'`num_classes` must be a positive integer, got {num_classes!r}.')
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

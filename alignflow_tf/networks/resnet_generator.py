"""The residual generator of CycleGAN."""

from __future__ import annotations

from typing import Any

import keras

from alignflow_tf import _checks

__all__ = ['resnet_generator']


@keras.saving.register_keras_serializable('alignflow_tf')
class _ReflectionPad(keras.layers.Layer):
  """Pads height and width by mirroring; Keras has zeros only."""

  def __init__(self, size: int, **kwargs: Any):
    super().__init__(**kwargs)
    self.size = size

  def call(self, inputs: Any) -> Any:
    edge = (self.size, self.size)
    return keras.ops.pad(inputs, ((0, 0), edge, edge, (0, 0)), mode='reflect')

  def compute_output_shape(self, input_shape: tuple[int | None, ...]
                          ) -> tuple[int | None, ...]:
    batch, height, width, channels = input_shape
    grow = 2 * self.size
    return (batch, height and height + grow, width and width + grow, channels)

  def get_config(self) -> dict[str, Any]:
    return super().get_config() | {'size': self.size}


def resnet_generator(
    image_shape: tuple[int, int, int],
    filters: int = 64,
    num_blocks: int = 9,
    num_halvings: int = 2,
    seed: int = 0,
    dtype: Any = 'float32',
    name: str = 'generator',
) -> keras.Model:
  """Generator of CycleGAN: halve, residual blocks, double.

  In the notation of the paper's appendix 7.2, with two halvings and 6 or 9
  blocks: `c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3`, instance
  normalisation without parameters and ReLU after all convolutions but the last,
  which `tanh` follows; reflection padding where nothing is halved or doubled.

  Args:
    image_shape: `(height, width, channels)` of the images, in and out.
    filters: Channels of the first convolution; they double at each halving.
    num_blocks: Number of residual blocks: 6 for images of 128x128 and 9 for
      larger ones, in the paper.
    num_halvings: How often height and width are halved (2 in the paper).
    seed: Non-negative integer that fixes the initial weights, N(0, 0.02).
    dtype: A Keras dtype or dtype policy for all but the last layer.
    name: Name of the model.

  Returns:
    A Keras model of images `[B, height, width, channels]` in [-1, 1] to as many
    of the same shape and range, float32 under a mixed policy.

  Raises:
    ValueError: If an argument is out of range or the halvings do not divide the
      images.

  #### References

  [1]: Jun-Yan Zhu et al. Unpaired Image-to-Image Translation using
       Cycle-Consistent Adversarial Networks. In _ICCV_, 2017, sections 4 and
       7.2. https://arxiv.org/abs/1703.10593
  """
  filters = _checks.integer('filters', filters)
  num_blocks = _checks.integer('num_blocks', num_blocks)
  num_halvings = _checks.integer('num_halvings', num_halvings, least=0)
  factor = 2**num_halvings
  if any(size % factor or size // factor < 2 for size in image_shape[:2]):
    raise ValueError(
        f'`num_halvings` is {num_halvings}, but images of {image_shape[0]}x'
        f'{image_shape[1]} pixels must be halved so often with 2 pixels or '
        'more left; use fewer.')
  if min(image_shape[:2]) < 4:
    raise ValueError(
        '`image_shape` must be at least 4x4 pixels, for a padding by 3, got '
        f'{image_shape}.')
  seeds = iter(range(seed * 256, seed * 256 + 256))

  def init() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.02, seed=next(seeds))

  def same(x: Any, channels: int, kernel: int, **kwargs: Any) -> Any:
    """A convolution after reflection padding."""
    x = _ReflectionPad(kernel // 2, dtype=kwargs.get('dtype', dtype))(x)
    return keras.layers.Conv2D(
        channels, kernel, kernel_initializer=init(),
        **({'dtype': dtype} | kwargs))(x)

  def norm(x: Any, relu: bool = True) -> Any:
    x = keras.layers.GroupNormalization(
        groups=-1, epsilon=1e-5, center=False, scale=False, dtype=dtype)(x)
    return keras.layers.ReLU(dtype=dtype)(x) if relu else x

  inputs = keras.Input(image_shape, name='image')
  x = norm(same(inputs, filters, 7))
  channels = filters
  for _ in range(num_halvings):
    channels *= 2
    x = keras.layers.ZeroPadding2D(1, dtype=dtype)(x)
    x = norm(keras.layers.Conv2D(
        channels, 3, strides=2, kernel_initializer=init(), dtype=dtype)(x))
  for _ in range(num_blocks):
    branch = norm(same(x, channels, 3))
    branch = norm(same(branch, channels, 3), relu=False)
    x = keras.layers.Add(dtype=dtype)([x, branch])
  for _ in range(num_halvings):
    channels //= 2
    x = norm(keras.layers.Conv2DTranspose(
        channels, 3, strides=2, padding='same', kernel_initializer=init(),
        dtype=dtype)(x))
  x = same(x, image_shape[2], 7, dtype='float32')
  outputs = keras.layers.Activation('tanh', dtype='float32')(x)
  return keras.Model(inputs, outputs, name=name)

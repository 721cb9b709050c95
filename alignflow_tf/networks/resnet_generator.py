"""The residual generator of CycleGAN, and its layers for other networks."""

from __future__ import annotations

from typing import Any

import keras

from alignflow_tf import _checks

__all__ = ['ResNetLayers', 'resnet_generator']


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


class ResNetLayers:
  """The parts of a residual generator, with initial weights from one seed.

  Each method takes a Keras tensor and gives the next. For example, an encoder
  that halves images twice, with one residual block:

  ```python
  layers = ResNetLayers(seed=0)
  image = keras.Input((32, 32, 3))
  encoder = keras.Model(image, layers.blocks(layers.encode(image, 64, 2), 1))
  ```
  """

  def __init__(self, seed: int = 0, dtype: Any = 'float32'):
    """Begins a network.

    Args:
      seed: Non-negative integer that fixes the initial weights, N(0, 0.02).
      dtype: A Keras dtype or dtype policy.
    """
    self._seeds = iter(range(seed * 256, seed * 256 + 256))
    self._dtype = dtype

  def conv(self, x: Any, channels: int, kernel: int, **kwargs: Any) -> Any:
    """A convolution of odd kernel after reflection padding."""
    kwargs = {'dtype': self._dtype} | kwargs
    if kernel > 1:
      x = _ReflectionPad(kernel // 2, dtype=kwargs['dtype'])(x)
    return keras.layers.Conv2D(
        channels, kernel, kernel_initializer=self._initializer(), **kwargs)(x)

  def norm(self, x: Any, relu: bool = True) -> Any:
    """Instance normalisation without parameters, and ReLU."""
    x = keras.layers.GroupNormalization(
        groups=-1, epsilon=1e-5, center=False, scale=False,
        dtype=self._dtype)(x)
    return keras.layers.ReLU(dtype=self._dtype)(x) if relu else x

  def encode(self, x: Any, filters: int, num_halvings: int) -> Any:
    """Images to `filters * 2**num_halvings` channels of fewer pixels.

    Raises:
      ValueError: If an argument is out of range or the halvings do not divide
        the images.
    """
    filters = _checks.integer('filters', filters)
    num_halvings = _checks.integer('num_halvings', num_halvings, least=0)
    shape, factor = x.shape[1:], 2**num_halvings
    if any(size % factor or size // factor < 2 for size in shape[:2]):
      raise ValueError(
          f'`num_halvings` is {num_halvings}, but images of {shape[0]}x'
          f'{shape[1]} pixels must be halved so often with 2 pixels or more '
          'left; use fewer.')
    if min(shape[:2]) < 4:
      raise ValueError(
          '`image_shape` must be at least 4x4 pixels, for a padding by 3, got '
          f'{shape}.')
    x = self.norm(self.conv(x, filters, 7))
    for i in range(num_halvings):
      x = keras.layers.ZeroPadding2D(1, dtype=self._dtype)(x)
      x = self.norm(keras.layers.Conv2D(
          filters * 2**(i + 1), 3, strides=2, dtype=self._dtype,
          kernel_initializer=self._initializer())(x))
    return x

  def blocks(self, x: Any, number: int) -> Any:
    """Residual blocks."""
    for _ in range(number):
      branch = self.norm(self.conv(x, x.shape[-1], 3))
      branch = self.norm(self.conv(branch, x.shape[-1], 3), relu=False)
      x = keras.layers.Add(dtype=self._dtype)([x, branch])
    return x

  def decode(self, x: Any, num_halvings: int, channels: int) -> Any:
    """Features to float32 images of `channels` in [-1, 1]."""
    for _ in range(num_halvings):
      x = self.norm(keras.layers.Conv2DTranspose(
          x.shape[-1] // 2, 3, strides=2, padding='same', dtype=self._dtype,
          kernel_initializer=self._initializer())(x))
    x = self.conv(x, channels, 7, dtype='float32')
    return keras.layers.Activation('tanh', dtype='float32')(x)

  def _initializer(self) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.02, seed=next(self._seeds))


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
  num_blocks = _checks.integer('num_blocks', num_blocks)
  layers = ResNetLayers(seed, dtype)
  inputs = keras.Input(image_shape, name='image')
  x = layers.blocks(layers.encode(inputs, filters, num_halvings), num_blocks)
  return keras.Model(
      inputs, layers.decode(x, num_halvings, image_shape[2]), name=name)

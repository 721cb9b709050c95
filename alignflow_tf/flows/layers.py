"""The layers of a flow, made with its options; its checks and its head."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf import bijectors
from alignflow_tf import images as images_lib
from alignflow_tf import networks

__all__ = ['Layers', 'preprocessing']

tfb = tfp.bijectors


class Layers:
  """Makes the layers of one flow.

  Each network has a seed of its own, which follows from the flow's seed and the
  order in which layers are made.

  Attributes:
    event_shape: `(height, width, channels)` of the images, as integers.
    dtype: Type of the flow.

  Examples:
    >>> make = flows.Layers((8, 8, 2), num_scales=1, num_blocks=1)
    >>> flow = make.flow(make.coupling(
    ...     2, bijectors.ChannelMask(), width=4), name='mine')
    >>> flow.forward(tf.zeros([1, 8, 8, 2])).shape
    TensorShape([1, 8, 8, 2])
  """

  def __init__(
      self,
      event_shape: tuple[int, int, int],
      num_scales: int,
      num_blocks: int,
      *,
      squeeze_last: bool = True,
      transform: bijectors.transforms.Transform | None = None,
      alpha: float | None = 0.05,
      framing: bool = False,
      match_colours: bool = False,
      seed: int = 0,
      memory: str = 'standard',
      dtype: Any = tf.float32,
      network_dtype: Any = None,
  ):
    """Checks the arguments.

    Args:
      event_shape: `(height, width, channels)` of the images.
      num_scales: Number of scales.
      num_blocks: Residual blocks a network.
      squeeze_last: Whether the flow halves height and width at its last scale
        too, as it does at all others.
      transform: The couplings' transform; `bijectors.transforms.Affine()` by
        default.
      alpha: See `bijectors.ImagePreprocess`; None for a flow without
        pre-processing, such as a trunk under adapters that have it.
      framing: Whether a `bijectors.Framing` follows the pre-processing.
      match_colours: Whether a `bijectors.ActNorm` of the image's channels
        follows the pre-processing, so that all domains' colours have mean 0 and
        standard deviation 1 at the start.
      seed: Non-negative integer that fixes the initial weights.
      memory: What is stored for gradients: 'standard' or 'reversible'; see
        `bijectors.ImageChain`.
      dtype: Type of the flow, `tf.float32` or `tf.float64`.
      network_dtype: Keras dtype or policy of the networks, for example
        `'mixed_bfloat16'`; by default the flow's type.

    Raises:
      ValueError: If an argument is out of range or the scales do not divide the
        image.
    """
    halvings = _checks.integer('num_scales', num_scales) - (not squeeze_last)
    self.event_shape = images_lib.check_event_shape(event_shape)
    height, width, _ = self.event_shape
    if height % 2**halvings or width % 2**halvings:
      raise ValueError(
          f'`num_scales={num_scales}` needs images whose height and width '
          f'{2**halvings} divides, got `event_shape={self.event_shape}`: use '
          'fewer scales or another image size.')
    self.dtype = _checks.floating_type('dtype', dtype)
    self._num_blocks = _checks.integer('num_blocks', num_blocks)
    self._transform = transform
    self._preprocessing = preprocessing(
        self.event_shape, alpha, framing, match_colours, self.dtype)
    self._memory = memory
    self._seed = 1009 * _checks.integer('seed', seed, least=0)
    self._network_dtype = network_dtype or self.dtype.name

  def coupling(self, channels: int, mask: bijectors.Mask,
               width: int) -> tfb.Bijector:
    """A coupling whose network is a ResNet of `width` hidden channels."""
    return bijectors.Coupling(
        channels, mask,
        functools.partial(
            networks.ConditionerResNet, filters=width,
            num_blocks=self._num_blocks, seed=self.next_seed(),
            dtype=self._network_dtype),
        self._transform, dtype=self.dtype)

  def act_norm(self, channels: int) -> tfb.Bijector:
    return bijectors.ActNorm(channels, dtype=self.dtype)

  def invertible_conv(self, channels: int) -> tfb.Bijector:
    return bijectors.InvertibleConv1x1(
        channels, seed=self.next_seed(), dtype=self.dtype)

  def next_seed(self) -> int:
    """A seed for initial weights: a flow's networks must not start alike."""
    self._seed += 1
    return self._seed

  def flow(self, body: tfb.Bijector, name: str) -> tfb.Bijector:
    """The flow: `body`, from the latent, and the pre-processing of images."""
    return bijectors.ImageChain([
        *self._preprocessing, body], memory=self._memory, name=name)


def preprocessing(
    event_shape: tuple[int, int, int], alpha: float | None, framing: bool,
    match_colours: bool, dtype: tf.DType) -> list[tfb.Bijector]:
  """The bijectors between an image and the first layer of a flow."""
  layers: list[tfb.Bijector] = []
  if alpha is not None:
    layers.append(bijectors.ImagePreprocess(alpha, dtype=dtype))
  if framing:
    layers.append(bijectors.Framing(event_shape, dtype=dtype))
  if match_colours:
    layers.append(bijectors.ActNorm(event_shape[-1], dtype=dtype))
  return layers

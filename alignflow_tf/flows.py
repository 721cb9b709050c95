"""Named flow architectures: each returns one bijector from latent to image.

All of them keep contract and shape: `forward` runs from latent to image
(G_{Z->A} of the AlignFlow paper), `inverse` from image to latent, a latent has
the shape of its image, images are NHWC with pixels in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf import bijectors
from alignflow_tf import images as images_lib
from alignflow_tf import networks

__all__ = [
    'FLOWS', 'couplings', 'flowpp', 'glow', 'magnitudes', 'num_parameters',
    'real_nvp', 'spline', 'view'
]

tfb = tfp.bijectors

Network = Callable[[int], keras.layers.Layer]


def real_nvp(
    event_shape: tuple[int, int, int],
    num_scales: int = 4,
    channels: int = 32,
    num_blocks: int = 4,
    *,
    transform: bijectors.transforms.Transform | None = None,
    alpha: float | None = 0.05,
    framing: bool = False,
    seed: int = 0,
    memory: str = 'standard',
    dtype: Any = tf.float32,
    network_dtype: Any = None,
    name: str = 'real_nvp',
) -> tfb.Bijector:
  """Multi-scale Real NVP, by default as in the paper's appendix B.1.

  From image to latent: `ImagePreprocess`, then at each scale but the last 3
  couplings with checkerboard masks at `channels` hidden channels, squeeze, 3
  with channel masks at twice as many, and one half of the variables (the
  anti-diagonal pixels of each 2x2 block) goes to the latent as it stands while
  the other goes on to the next scale, at twice the `channels`; at the last
  scale 4 couplings with checkerboard masks. An `ActNorm` stands before each
  coupling. The latent keeps the image's layout.

  Args:
    event_shape: `(height, width, channels)` of the images.
    num_scales: Number of scales; `2**(num_scales - 1)` must divide height and
      width.
    channels: Hidden channels of the networks at the finest scale (32 in the
      paper: 32, 64, 128, 256 over four scales).
    num_blocks: Residual blocks a network (4 in the paper).
    transform: The couplings' transform; `bijectors.transforms.Affine()` by
      default.
    alpha: See `alignflow_tf.bijectors.ImagePreprocess`; None for a flow without
      pre-processing, such as a trunk under adapters that have it.
    framing: Whether a `bijectors.Framing` follows the pre-processing.
    seed: Non-negative integer that fixes the initial weights.
    memory: What is stored for gradients: 'standard' or 'reversible'; see
      `bijectors.ImageChain`.
    dtype: Type of the flow, `tf.float32` or `tf.float64`.
    network_dtype: Keras dtype or policy of the networks (`'mixed_bfloat16'`,
      say); by default the flow's type.
    name: Name of the bijector.

  Returns:
    A `tfb.Bijector`. It is the identity but for the pre-processing until it is
    trained or `bijectors.initialize_from_data` is called on it.

  Raises:
    ValueError: If an argument is out of range or the scales do not divide the
      image.

  #### References

  [1]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, appendix B.1.
       https://arxiv.org/abs/1905.12892
  [2]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017. https://arxiv.org/abs/1605.08803
  """
  event_shape = _check_event_shape(event_shape, num_scales)
  _check_positive(channels=channels, num_blocks=num_blocks)
  seeds = _Seeds(seed)
  dtype = _checks.floating_type('dtype', dtype)

  def couplings(image_channels: int, width: int, mask: type[bijectors.Mask],
                number: int) -> list[tfb.Bijector]:
    layers: list[tfb.Bijector] = []
    for i in range(number):
      network = functools.partial(
          networks.ConditionerResNet, filters=width, num_blocks=num_blocks,
          seed=next(seeds), dtype=network_dtype or dtype.name)
      layers += [
          bijectors.ActNorm(image_channels, dtype=dtype),
          bijectors.Coupling(
              image_channels, mask(reverse=bool(i % 2)), network, transform,
              dtype=dtype)]
    return layers

  def scale(index: int, image_channels: int) -> tfb.Bijector:
    """From the latent to the input of the scale."""
    width = channels * 2**index
    if index == num_scales - 1:
      return bijectors.ImageChain(
          couplings(image_channels, width, bijectors.CheckerboardMask, 4),
          name=f'scale_{index}')
    return bijectors.ImageChain([
        *couplings(image_channels, width, bijectors.CheckerboardMask, 3),
        tfb.Invert(bijectors.Squeeze('channel')),
        *couplings(
            4 * image_channels, 2 * width, bijectors.ChannelMask, 3),
        bijectors.Reorder('alternate', 'channel', name='to_channel'),
        bijectors.FactorOut(scale(index + 1, 2 * image_channels)),
        bijectors.Squeeze('alternate'),
    ], name=f'scale_{index}')

  return bijectors.ImageChain([
      *_preprocessing(event_shape, alpha, framing, dtype),
      scale(0, event_shape[-1])], memory=memory, name=name)


def glow(
    event_shape: tuple[int, int, int],
    num_scales: int = 3,
    channels: int = 64,
    num_blocks: int = 2,
    steps_per_scale: int = 4,
    *,
    transform: bijectors.transforms.Transform | None = None,
    alpha: float | None = 0.05,
    framing: bool = False,
    seed: int = 0,
    memory: str = 'standard',
    dtype: Any = tf.float32,
    network_dtype: Any = None,
    name: str = 'glow',
) -> tfb.Bijector:
  """Glow: squeeze, then steps of actnorm, 1x1 convolution and coupling.

  At each scale the images are squeezed, `steps_per_scale` steps of `ActNorm`,
  `InvertibleConv1x1` and a channel-masked `Coupling` follow, and half of
  the channels is factored out between scales. The networks are those of
  `real_nvp`, and unlike in the Glow paper the halves that are factored out have
  the standard normal as prior, so that the latent has one shared base.

  Args:
    event_shape: `(height, width, channels)` of the images.
    num_scales: Number of scales; `2**num_scales` must divide height and width.
    channels: Hidden channels of the networks, at all scales.
    num_blocks: Residual blocks a network.
    steps_per_scale: Steps of flow a scale.
    transform: The couplings' transform; `bijectors.transforms.Affine()` by
      default.
    alpha: See `alignflow_tf.bijectors.ImagePreprocess`; None for a flow without
      pre-processing, such as a trunk under adapters that have it.
    framing: Whether a `bijectors.Framing` follows the pre-processing.
    seed: Non-negative integer that fixes the initial weights.
    memory: What is stored for gradients: 'standard' or 'reversible'; see
      `bijectors.ImageChain`.
    dtype: Type of the flow, `tf.float32` or `tf.float64`.
    network_dtype: Keras dtype or policy of the networks.
    name: Name of the bijector.

  Returns:
    A `tfb.Bijector`.

  Raises:
    ValueError: If an argument is out of range or the scales do not divide the
      image.

  #### References

  [1]: Diederik P. Kingma, Prafulla Dhariwal. Glow: Generative Flow with
       Invertible 1x1 Convolutions. In _NeurIPS_, 2018.
       https://arxiv.org/abs/1807.03039
  """
  event_shape = _check_event_shape(event_shape, num_scales, num_scales)
  _check_positive(channels=channels, num_blocks=num_blocks,
                  steps_per_scale=steps_per_scale)
  seeds = _Seeds(seed)
  dtype = _checks.floating_type('dtype', dtype)

  def steps(image_channels: int) -> list[tfb.Bijector]:
    layers: list[tfb.Bijector] = []
    for i in range(steps_per_scale):
      network = functools.partial(
          networks.ConditionerResNet, filters=channels, num_blocks=num_blocks,
          seed=next(seeds), dtype=network_dtype or dtype.name)
      layers += [
          bijectors.ActNorm(image_channels, dtype=dtype),
          bijectors.InvertibleConv1x1(
              image_channels, seed=next(seeds), dtype=dtype),
          bijectors.Coupling(
              image_channels, bijectors.ChannelMask(reverse=bool(i % 2)),
              network, transform, dtype=dtype)]
    return layers

  def scale(index: int, image_channels: int) -> tfb.Bijector:
    squeezed = 4 * image_channels
    layers = steps(squeezed)
    rest: list[tfb.Bijector] = []
    if index < num_scales - 1:
      rest = [bijectors.FactorOut(scale(index + 1, squeezed // 2))]
    return bijectors.ImageChain([
        tfb.Invert(bijectors.Squeeze('channel')), *layers, *rest,
        bijectors.Squeeze('channel')], name=f'scale_{index}')

  return bijectors.ImageChain([
      *_preprocessing(event_shape, alpha, framing, dtype),
      scale(0, event_shape[-1])], memory=memory, name=name)


def couplings(
    event_shape: tuple[int, int, int],
    num_scales: int = 2,
    channels: int = 24,
    num_blocks: int = 1,
    steps_per_scale: int = 4,
    *,
    transform: bijectors.transforms.Transform | None = None,
    alpha: float | None = 0.05,
    framing: bool = False,
    seed: int = 0,
    memory: str = 'standard',
    dtype: Any = tf.float32,
    network_dtype: Any = None,
    name: str = 'couplings',
) -> tfb.Bijector:
  """Couplings alone: an adapter that starts as the identity.

  From image to latent: `ImagePreprocess`, then at each scale a squeeze and
  `steps_per_scale` channel-masked couplings on all variables. There is no
  `ActNorm`, and nothing is factored out, so before training the flow is the
  identity but for the pre-processing, whatever the images. Over a trunk of its
  own, it is a poor density; as an adapter, translation starts from the image as
  it is, and the couplings have the difference of the domains to learn.

  Args:
    event_shape: `(height, width, channels)` of the images.
    num_scales: Number of scales; `2**num_scales` must divide height and width.
    channels: Hidden channels of the networks, at all scales.
    num_blocks: Residual blocks a network.
    steps_per_scale: Couplings a scale.
    transform: The couplings' transform; `bijectors.transforms.Affine()` by
      default.
    alpha: See `alignflow_tf.bijectors.ImagePreprocess`; None for a flow without
      pre-processing.
    framing: Whether a `bijectors.Framing` follows the pre-processing.
    seed: Non-negative integer that fixes the initial weights.
    memory: What is stored for gradients: 'standard' or 'reversible'; see
      `bijectors.ImageChain`.
    dtype: Type of the flow, `tf.float32` or `tf.float64`.
    network_dtype: Keras dtype or policy of the networks.
    name: Name of the bijector.

  Returns:
    A `tfb.Bijector`.

  Raises:
    ValueError: If an argument is out of range or the scales do not divide the
      image.
  """
  event_shape = _check_event_shape(event_shape, num_scales, num_scales)
  _check_positive(channels=channels, num_blocks=num_blocks,
                  steps_per_scale=steps_per_scale)
  seeds = _Seeds(seed)
  dtype = _checks.floating_type('dtype', dtype)

  def scale(index: int, image_channels: int) -> tfb.Bijector:
    squeezed = 4 * image_channels
    layers: list[tfb.Bijector] = [
        bijectors.Coupling(
            squeezed, bijectors.ChannelMask(reverse=bool(i % 2)),
            functools.partial(
                networks.ConditionerResNet, filters=channels,
                num_blocks=num_blocks, seed=next(seeds),
                dtype=network_dtype or dtype.name),
            transform, dtype=dtype) for i in range(steps_per_scale)]
    if index < num_scales - 1:
      layers.append(scale(index + 1, squeezed))
    # A channel mask splits each 2x2 block into its two diagonals.
    return bijectors.ImageChain([
        tfb.Invert(bijectors.Squeeze('alternate')), *layers,
        bijectors.Squeeze('alternate')], name=f'scale_{index}')

  return bijectors.ImageChain([
      *_preprocessing(event_shape, alpha, framing, dtype),
      scale(0, event_shape[-1])], memory=memory, name=name)


def view(
    event_shape: tuple[int, int, int],
    *,
    alpha: float | None = 0.05,
    framing: bool = False,
    dtype: Any = tf.float32,
    name: str = 'view',
) -> tfb.Bijector:
  """Images as a trunk takes them: the adapter of a hub domain.

  `ImagePreprocess`, and `Framing` where asked for; no couplings.

  Args:
    event_shape: `(height, width, channels)` of the images.
    alpha: See `alignflow_tf.bijectors.ImagePreprocess`; None for none.
    framing: Whether a `bijectors.Framing` follows.
    dtype: Type of the flow, `tf.float32` or `tf.float64`.
    name: Name of the bijector.

  Returns:
    A `tfb.Bijector`.

  Raises:
    ValueError: If an argument is out of range.
  """
  event_shape = images_lib.check_event_shape(event_shape)
  return bijectors.ImageChain(_preprocessing(
      event_shape, alpha, framing, _checks.floating_type('dtype', dtype)),
      name=name)


def _preprocessing(
    event_shape: tuple[int, int, int], alpha: float | None, framing: bool,
    dtype: tf.DType) -> list[tfb.Bijector]:
  """The bijectors between an image and the couplings."""
  layers: list[tfb.Bijector] = []
  if alpha is not None:
    layers.append(bijectors.ImagePreprocess(alpha, dtype=dtype))
  if framing:
    layers.append(bijectors.Framing(event_shape, dtype=dtype))
  return layers


def spline(event_shape: tuple[int, int, int], *args: Any, bins: int = 8,
           name: str = 'spline', **options: Any) -> tfb.Bijector:
  """`real_nvp` with rational-quadratic splines for transforms.

  Args:
    event_shape: `(height, width, channels)` of the images.
    *args: As in `real_nvp`.
    bins: Number of bins of a spline.
    name: Name of the bijector.
    **options: As in `real_nvp`, but for `transform`.

  Returns:
    A `tfb.Bijector`.

  Raises:
    ValueError: As `real_nvp`, or if `bins` is not a positive integer.

  #### References

  [1]: Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios. Neural
       Spline Flows. In _NeurIPS_, 2019. https://arxiv.org/abs/1906.04032
  """
  return real_nvp(
      event_shape, *args, name=name,
      transform=bijectors.transforms.RationalQuadratic(bins), **options)


def flowpp(event_shape: tuple[int, int, int], *args: Any, components: int = 4,
           name: str = 'flowpp', **options: Any) -> tfb.Bijector:
  """`real_nvp` with the logistic mixture transforms of Flow++.

  Of the Flow++ paper it has the couplings' transform; networks and masks are
  those of `real_nvp`, without attention.

  Args:
    event_shape: `(height, width, channels)` of the images.
    *args: As in `real_nvp`.
    components: Number of logistic distributions of a mixture.
    name: Name of the bijector.
    **options: As in `real_nvp`, but for `transform`.

  Returns:
    A `tfb.Bijector`.

  Raises:
    ValueError: As `real_nvp`, or if `components` is not a positive integer.

  #### References

  [1]: Jonathan Ho et al. Flow++: Improving Flow-Based Generative Models with
       Variational Dequantization and Architecture Design. In _ICML_, 2019,
       section 3.2. https://arxiv.org/abs/1902.00275
  """
  return real_nvp(
      event_shape, *args, name=name,
      transform=bijectors.transforms.MixtureOfLogistics(components), **options)


# Flows by name. Each takes `num_scales`, `channels`, `num_blocks`, `framing`,
# `seed`, `memory`, `dtype` and `network_dtype`.
FLOWS: dict[str, Callable[..., tfb.Bijector]] = {
    'real_nvp': real_nvp,
    'glow': glow,
    'couplings': couplings,
    'spline': spline,
    'flowpp': flowpp,
}


def magnitudes(module: tf.Module) -> list[tf.Variable]:
  """The weight-norm magnitudes of a bijector, flow or model.

  Args:
    module: Any bijector or model.

  Returns:
    One variable for each network; empty without weight normalisation.
  """
  return [g for layer in networks.conditioners(module)
          for g in layer.magnitudes]


def num_parameters(module: tf.Module) -> int:
  """Number of trainable scalars of a bijector, flow or model."""
  return sum(int(np.prod(v.shape)) for v in module.trainable_variables)


class _Seeds:
  """Distinct seeds from one: a flow's networks must not start alike."""

  def __init__(self, seed: int):
    self._next = 1009 * _checks.integer('seed', seed, least=0)

  def __next__(self) -> int:
    self._next += 1
    return self._next


def _check_positive(**arguments: int) -> None:
  for name, value in arguments.items():
    _checks.integer(name, value)


def _check_event_shape(
    event_shape: tuple[int, int, int], num_scales: int,
    halvings: int | None = None) -> tuple[int, int, int]:
  """Returns the shape as Python integers, or says what is wrong with it."""
  _check_positive(num_scales=num_scales)
  shape = images_lib.check_event_shape(event_shape)
  halvings = num_scales - 1 if halvings is None else halvings
  if shape[0] % 2**halvings or shape[1] % 2**halvings:
    raise ValueError(
        f'`num_scales={num_scales}` needs images whose height and width '
        f'{2**halvings} divides, got `event_shape={shape}`: use fewer scales '
        'or another image size.')
  if min(shape[:2]) // 2**halvings < (2 if halvings < num_scales else 1):
    raise ValueError(
        f'`num_scales={num_scales}` leaves a checkerboard of one pixel of '
        f'`event_shape={shape}`: use fewer scales or larger images.')
  return shape

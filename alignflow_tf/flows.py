"""Named flow architectures: each returns one bijector from latent to image.

All of them keep contract and shape: `forward` runs from latent to image
(G_{Z->A} of the AlignFlow paper), `inverse` from image to latent, a latent has
the shape of its image, images are NHWC with pixels in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

__all__ = ['SharedScales', 'glow', 'num_parameters', 'real_nvp']

tfb = tfp.bijectors

Network = Callable[[int], keras.layers.Layer]


class SharedScales:
  """Lets several flows share the couplings of some scales.

  Give one instance to all the flows that shall share (section 3.3 of the paper:
  "we can share parameters between the two mappings"). The first flow to be
  built makes the scales named here, and later ones use the same bijectors; the
  other scales and the pre-processing are each flow's own. Activation
  normalisations that are shared are initialised from the last domain's data.

  ```python
  shared = alignflow_tf.flows.SharedScales([2, 3])
  model = alignflow_tf.AlignFlow(
      ('a', 'b'), (32, 32, 3),
      flow=functools.partial(alignflow_tf.flows.real_nvp, shared=shared))
  ```
  """

  def __init__(self, scales: Iterable[int]):
    """Names the scales to share, 0 being the finest.

    Args:
      scales: Non-negative integers.

    Raises:
      ValueError: If one is not a non-negative integer.
    """
    self.scales = frozenset(scales)
    for scale in self.scales:
      if not isinstance(scale, int) or scale < 0:
        raise ValueError(
            f'`scales` must be non-negative integers, got {scale!r}.')
    self._made: dict[tuple[Any, ...], list[tfb.Bijector]] = {}

  def get(
      self,
      scale: int,
      key: tuple[Any, ...],
      make: Callable[[], list[tfb.Bijector]],
  ) -> list[tfb.Bijector]:
    """Returns a scale's bijectors, made anew unless the scale is shared."""
    if scale not in self.scales:
      return make()
    if (scale, *key) not in self._made:
      self._made[(scale, *key)] = make()
    return self._made[(scale, *key)]


def real_nvp(
    event_shape: tuple[int, int, int],
    num_scales: int = 4,
    channels: int = 32,
    num_blocks: int = 4,
    *,
    alpha: float = 0.05,
    framing: bool = False,
    shared: SharedScales | None = None,
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
    alpha: See `alignflow_tf.bijectors.ImagePreprocess`.
    framing: Whether a `bijectors.Framing` follows the pre-processing.
    shared: Scales whose couplings are shared with other flows.
    seed: Non-negative integer that fixes the initial weights.
    memory: What is stored for gradients: 'standard', 'recompute' or
      'reversible'; see `bijectors.LogDetChain`.
    dtype: Type of the flow, `tf.float32` or `tf.float64`.
    network_dtype: Keras dtype or policy of the networks (`'mixed_bfloat16'`,
      say); by default the flow's type.
    name: Name of the bijector.

  Returns:
    A `tfb.Bijector`. It is the identity but for the pre-processing until it is
    trained or `bijectors.initialize_act_norms` is called on it.

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
  shared = shared or SharedScales(())
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
          bijectors.AffineCoupling(
              image_channels, mask(reverse=bool(i % 2)), network, dtype=dtype)]
    return layers

  def scale(index: int, image_channels: int) -> tfb.Bijector:
    """From the latent to the input of the scale."""
    width = channels * 2**index
    key = (image_channels, width, num_blocks, dtype, str(network_dtype))
    if index == num_scales - 1:
      return bijectors.LogDetChain(shared.get(index, key, lambda: couplings(
          image_channels, width, bijectors.CheckerboardMask, 4)),
                       name=f'scale_{index}')
    fine = shared.get(index, ('fine', *key), lambda: couplings(
        image_channels, width, bijectors.CheckerboardMask, 3))
    coarse = shared.get(index, ('coarse', *key), lambda: couplings(
        4 * image_channels, 2 * width, bijectors.ChannelMask, 3))
    return bijectors.LogDetChain([
        *fine,
        tfb.Invert(bijectors.Squeeze('channel')),
        *coarse,
        bijectors.Reorder('alternate', 'channel', name='to_channel'),
        bijectors.FactorOut(scale(index + 1, 2 * image_channels)),
        bijectors.Squeeze('alternate'),
    ], name=f'scale_{index}')

  return bijectors.LogDetChain([
      bijectors.ImagePreprocess(alpha, dtype=dtype),
      *([bijectors.Framing(event_shape, dtype=dtype)] if framing else []),
      scale(0, event_shape[-1])], memory=memory, name=name)


def glow(
    event_shape: tuple[int, int, int],
    num_scales: int = 3,
    channels: int = 64,
    num_blocks: int = 2,
    steps_per_scale: int = 4,
    *,
    alpha: float = 0.05,
    framing: bool = False,
    shared: SharedScales | None = None,
    seed: int = 0,
    memory: str = 'standard',
    dtype: Any = tf.float32,
    network_dtype: Any = None,
    name: str = 'glow',
) -> tfb.Bijector:
  """Glow: squeeze, then steps of actnorm, 1x1 convolution and coupling.

  At each scale the images are squeezed, `steps_per_scale` steps of `ActNorm`,
  `InvertibleConv1x1` and a channel-masked `AffineCoupling` follow, and half of
  the channels is factored out between scales. The networks are those of
  `real_nvp`, and unlike in the Glow paper the halves that are factored out have
  the standard normal as prior, so that the latent has one shared base.

  Args:
    event_shape: `(height, width, channels)` of the images.
    num_scales: Number of scales; `2**num_scales` must divide height and width.
    channels: Hidden channels of the networks, at all scales.
    num_blocks: Residual blocks a network.
    steps_per_scale: Steps of flow a scale.
    alpha: See `alignflow_tf.bijectors.ImagePreprocess`.
    framing: Whether a `bijectors.Framing` follows the pre-processing.
    shared: Scales whose steps are shared with other flows.
    seed: Non-negative integer that fixes the initial weights.
    memory: What is stored for gradients: 'standard', 'recompute' or
      'reversible'; see `bijectors.LogDetChain`.
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
  shared = shared or SharedScales(())
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
          bijectors.AffineCoupling(
              image_channels, bijectors.ChannelMask(reverse=bool(i % 2)),
              network, dtype=dtype)]
    return layers

  def scale(index: int, image_channels: int) -> tfb.Bijector:
    squeezed = 4 * image_channels
    layers = shared.get(
        index, (squeezed, channels, num_blocks, steps_per_scale, dtype,
                str(network_dtype)), lambda: steps(squeezed))
    rest: list[tfb.Bijector] = []
    if index < num_scales - 1:
      rest = [bijectors.FactorOut(scale(index + 1, squeezed // 2))]
    return bijectors.LogDetChain([
        tfb.Invert(bijectors.Squeeze('channel')), *layers, *rest,
        bijectors.Squeeze('channel')], name=f'scale_{index}')

  return bijectors.LogDetChain([
      bijectors.ImagePreprocess(alpha, dtype=dtype),
      *([bijectors.Framing(event_shape, dtype=dtype)] if framing else []),
      scale(0, event_shape[-1])], memory=memory, name=name)


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

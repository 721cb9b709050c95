"""Glow."""

from __future__ import annotations

from typing import Any

import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf import bijectors
from alignflow_tf.flows import layers as layers_lib

__all__ = ['glow']

tfb = tfp.bijectors


def glow(
    event_shape: tuple[int, int, int],
    num_scales: int = 3,
    channels: int = 64,
    num_blocks: int = 2,
    steps_per_scale: int = 4,
    *,
    name: str = 'glow',
    **options: Any,
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
    name: Name of the bijector.
    **options: Those of `flows.Layers`, from `transform` on.

  Returns:
    A `tfb.Bijector`.

  Raises:
    ValueError: If an argument is out of range or the scales do not divide the
      image.

  Examples:
    >>> flow = flows.glow((4, 4, 1), num_scales=1, channels=4)
    >>> flow.inverse(tf.zeros([2, 4, 4, 1])).shape
    TensorShape([2, 4, 4, 1])

  #### References

  [1]: Diederik P. Kingma, Prafulla Dhariwal. Glow: Generative Flow with
       Invertible 1x1 Convolutions. In _NeurIPS_, 2018.
       https://arxiv.org/abs/1807.03039
  """
  _checks.integer('channels', channels)
  _checks.integer('steps_per_scale', steps_per_scale)
  make = layers_lib.Layers(event_shape, num_scales, num_blocks, **options)

  def step(image_channels: int, reverse: bool) -> list[tfb.Bijector]:
    coupling = make.coupling(
        image_channels, bijectors.ChannelMask(reverse), channels)
    return [make.act_norm(image_channels),
            make.invertible_conv(image_channels), coupling]

  def scale(index: int, image_channels: int) -> tfb.Bijector:
    squeezed = 4 * image_channels
    layers: list[tfb.Bijector] = []
    for i in range(steps_per_scale):
      layers += step(squeezed, reverse=bool(i % 2))
    if index < num_scales - 1:
      layers.append(bijectors.FactorOut(scale(index + 1, squeezed // 2)))
    return bijectors.ImageChain([
        tfb.Invert(bijectors.Squeeze('channel')), *layers,
        bijectors.Squeeze('channel')], name=f'scale_{index}')

  return make.flow(scale(0, make.event_shape[-1]), name)

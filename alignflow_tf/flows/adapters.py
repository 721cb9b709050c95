"""Flows that start as the identity, for adapters over a trunk."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf import bijectors
from alignflow_tf import images as images_lib
from alignflow_tf.flows import layers as layers_lib

__all__ = ['couplings', 'view']

tfb = tfp.bijectors


def couplings(
    event_shape: tuple[int, int, int],
    num_scales: int = 2,
    channels: int = 24,
    num_blocks: int = 1,
    steps_per_scale: int = 4,
    *,
    name: str = 'couplings',
    **options: Any,
) -> tfb.Bijector:
  """Couplings alone: an adapter that starts as the identity.

  From image to latent: `ImagePreprocess`, then at each scale a squeeze and
  `steps_per_scale` channel-masked couplings on all variables. There is no
  `ActNorm` among them, and nothing is factored out, so before training the flow
  is the identity but for the pre-processing, whatever the images. Over a trunk
  of its own, it is a poor density; as an adapter, translation starts from the
  image as it is, or with `match_colours` in the colours of the target, and the
  couplings have the rest of the difference of the domains to learn.

  Args:
    event_shape: `(height, width, channels)` of the images.
    num_scales: Number of scales; `2**num_scales` must divide height and width.
    channels: Hidden channels of the networks, at all scales.
    num_blocks: Residual blocks a network.
    steps_per_scale: Couplings a scale.
    name: Name of the bijector.
    **options: Those of `flows.Layers`, from `transform` on.

  Returns:
    A `tfb.Bijector`.

  Raises:
    ValueError: If an argument is out of range or the scales do not divide the
      image.

  Examples:
    >>> flow = flows.couplings((4, 4, 1), 1, 4)
    >>> x = tf.constant(0.25, shape=[1, 4, 4, 1])
    >>> latent = bijectors.ImagePreprocess().inverse(x)
    >>> bool(tf.reduce_all(flow.inverse(x) == latent))
    True
  """
  _checks.integer('channels', channels)
  _checks.integer('steps_per_scale', steps_per_scale)
  make = layers_lib.Layers(event_shape, num_scales, num_blocks, **options)

  def scale(index: int, image_channels: int) -> tfb.Bijector:
    squeezed = 4 * image_channels
    layers = [
        make.coupling(
            squeezed, bijectors.ChannelMask(reverse=bool(i % 2)), channels)
        for i in range(steps_per_scale)]
    if index < num_scales - 1:
      layers.append(scale(index + 1, squeezed))
    # A channel mask splits each 2x2 block into its two diagonals.
    return bijectors.ImageChain([
        tfb.Invert(bijectors.Squeeze('alternate')), *layers,
        bijectors.Squeeze('alternate')], name=f'scale_{index}')

  return make.flow(scale(0, make.event_shape[-1]), name)


def view(
    event_shape: tuple[int, int, int],
    *,
    alpha: float | None = 0.05,
    framing: bool = False,
    match_colours: bool = False,
    dtype: Any = tf.float32,
    name: str = 'view',
) -> tfb.Bijector:
  """Images as a trunk takes them: the adapter of a hub domain.

  `ImagePreprocess`, and `Framing` and `ActNorm` where asked for; no couplings.

  Args:
    event_shape: `(height, width, channels)` of the images.
    alpha: See `alignflow_tf.bijectors.ImagePreprocess`; None for none.
    framing: Whether a `bijectors.Framing` follows.
    match_colours: Whether a `bijectors.ActNorm` of the channels follows.
    dtype: Type of the flow, `tf.float32` or `tf.float64`.
    name: Name of the bijector.

  Returns:
    A `tfb.Bijector`.

  Raises:
    ValueError: If an argument is out of range.

  Examples:
    >>> flow = flows.view((4, 4, 1))
    >>> flow.inverse(tf.constant(0.5, shape=[1, 4, 4, 1])).numpy().max().item()
    0.0
  """
  event_shape = images_lib.check_event_shape(event_shape)
  return bijectors.ImageChain(layers_lib.preprocessing(
      event_shape, alpha, framing, match_colours,
      _checks.floating_type('dtype', dtype)), name=name)

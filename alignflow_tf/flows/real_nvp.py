"""Real NVP, and Real NVP with other transforms in its couplings."""

from __future__ import annotations

from typing import Any

import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf import bijectors
from alignflow_tf.flows import layers as layers_lib

__all__ = ['flowpp', 'real_nvp', 'spline']

tfb = tfp.bijectors


def real_nvp(
    event_shape: tuple[int, int, int],
    num_scales: int = 4,
    channels: int = 32,
    num_blocks: int = 4,
    *,
    name: str = 'real_nvp',
    **options: Any,
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
      width, which must be at least twice that.
    channels: Hidden channels of the networks at the finest scale (32 in the
      paper: 32, 64, 128, 256 over four scales).
    num_blocks: Residual blocks a network (4 in the paper).
    name: Name of the bijector.
    **options: Those of `flows.Layers`, from `transform` on.

  Returns:
    A `tfb.Bijector`. It is the identity but for the pre-processing until it is
    trained or `bijectors.initialize_from_data` is called on it.

  Raises:
    ValueError: If an argument is out of range or the scales do not divide the
      image.

  Examples:
    >>> flow = flows.real_nvp((4, 4, 1), num_scales=1, channels=4, num_blocks=1)
    >>> flow.inverse(tf.zeros([2, 4, 4, 1])).shape
    TensorShape([2, 4, 4, 1])

  #### References

  [1]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, appendix B.1.
       https://arxiv.org/abs/1905.12892
  [2]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017. https://arxiv.org/abs/1605.08803
  """
  _checks.integer('channels', channels)
  make = layers_lib.Layers(
      event_shape, num_scales, num_blocks, squeeze_last=False, **options)
  if min(make.event_shape[:2]) < 2**num_scales:
    raise ValueError(
        f'`num_scales={num_scales}` leaves a checkerboard of one pixel of '
        f'`event_shape={make.event_shape}`: use fewer scales or larger images.')

  def couplings(image_channels: int, width: int, mask: type[bijectors.Mask],
                number: int) -> list[tfb.Bijector]:
    layers = []
    for i in range(number):
      layers += [
          make.act_norm(image_channels),
          make.coupling(image_channels, mask(reverse=bool(i % 2)), width)]
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

  return make.flow(scale(0, make.event_shape[-1]), name)


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

  Examples:
    >>> flow = flows.spline((4, 4, 1), 1, 4, 1, bins=4)
    >>> flow.inverse_event_shape([4, 4, 1])
    TensorShape([4, 4, 1])

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

  Examples:
    >>> flow = flows.flowpp((4, 4, 1), 1, 4, 1, components=2)
    >>> flow.inverse_event_shape([4, 4, 1])
    TensorShape([4, 4, 1])

  #### References

  [1]: Jonathan Ho et al. Flow++: Improving Flow-Based Generative Models with
       Variational Dequantization and Architecture Design. In _ICML_, 2019,
       section 3.2. https://arxiv.org/abs/1902.00275
  """
  return real_nvp(
      event_shape, *args, name=name,
      transform=bijectors.transforms.MixtureOfLogistics(components), **options)



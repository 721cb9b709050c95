"""The affine coupling of Real NVP on images."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from alignflow_tf.bijectors import log_det_bijector
from alignflow_tf.bijectors import masks

__all__ = ['AffineCoupling']


class AffineCoupling(log_det_bijector.LogDetBijector):
  """Affine coupling of images, with a checkerboard or a channel mask.

  With `kept, changed = mask.split(x)`, where the kept part conditions and stays
  as it is (see `alignflow_tf.bijectors.masks` for which part that is):

  ```
  raw, shift = network(mask.network_input(kept))
  log_scale = bound * tanh(raw)

  forward:  y = join(kept, changed * exp(log_scale) + shift)
  inverse:  x = join(kept, (changed - shift) * exp(-log_scale))
  forward log-det: sum of log_scale over rows, columns and channels
  ```

  `bound` is a learned positive-initialised scale, one a channel, so `log_scale`
  cannot run away in one step, and yet its range is the data's to choose. A
  network whose last layer starts at zero makes the coupling start as the
  identity. The kept part reaches the network bit for bit the same in both
  directions, so the inverse is exact to rounding, whatever the network's own
  precision.

  #### References

  [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017, equations 7 to 9 and section 4.1.
       https://arxiv.org/abs/1605.08803
  [2]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, appendix B.1.
       https://arxiv.org/abs/1905.12892
  """

  def __init__(
      self,
      channels: int,
      mask: masks.Mask,
      network: Callable[[int], keras.layers.Layer],
      dtype: tf.DType = tf.float32,
      validate_args: bool = False,
      name: str = 'affine_coupling',
  ):
    """Builds the coupling and its network.

    Args:
      channels: Number of channels of the images, a positive integer.
      mask: `CheckerboardMask` or `ChannelMask`.
      network: A function from a number of output channels to a Keras layer (or
        model) that takes `[B, H, W, mask.network_channels(channels)]` to
        `[B, H, W, output channels]`, image by image: batch normalisation and
        its like would make an image's latent depend on its neighbours.
      dtype: The flow's floating type. The network may compute in another one:
        its output is cast back.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If `channels` is not a positive integer or the mask cannot
        split that many.
    """
    parameters = dict(locals())
    if not isinstance(channels, int) or channels < 1:
      raise ValueError(
          f'`channels` must be a positive integer, got {channels!r}.')
    if not isinstance(mask, masks.Mask):
      raise ValueError(
          '`mask` must be a `CheckerboardMask` or a `ChannelMask`, got '
          f'{mask!r}.')
    mask.validate(channels)
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          is_constant_jacobian=False,
          validate_args=validate_args,
          dtype=dtype,
          parameters=parameters,
          name=name)
      self._channels = channels
      self._mask = self._no_dependency(mask)
      changed = mask.changed_channels(channels)
      layer = network(2 * changed)
      if not layer.built:
        layer.build((None, None, None, mask.network_channels(channels)))
      # Keras 3 objects map themselves to *new* variables in a SavedModel, and
      # `tf.Module` does not see them: the layer is hidden from tracking and
      # its raw variables are tracked in its place, by name.
      self._network = self._no_dependency(layer)
      self._network_variables = {v.name: v.value for v in layer.variables}
      if len(self._network_variables) != len(layer.variables):
        names = sorted(v.name for v in layer.variables)
        raise ValueError(
            '`network` must give its variables different names, as '
            f'checkpoints go by them; got {names}.')
      self._bound = tf.Variable(
          tf.ones([changed], dtype), name='log_scale_bound')

  @property
  def network(self) -> keras.layers.Layer:
    """The conditioning network."""
    return self._network

  @property
  def mask(self) -> masks.Mask:
    """The mask."""
    return self._mask

  def _shift_and_log_scale(
      self, kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    inputs = self._mask.network_input(kept)
    # Convolutions take one batch axis; any others are folded into it.
    rank = inputs.shape.rank
    if rank != 4:
      shape = tf.shape(inputs)
      inputs = tf.reshape(
          inputs, tf.concat([[-1], shape[-3:]], axis=0))
      inputs.set_shape([None, *kept.shape[-3:-1],
                        self._mask.network_channels(self._channels)])
    output = tf.cast(self._network(inputs), kept.dtype)
    if rank != 4:
      output = tf.reshape(
          output,
          tf.concat([shape[:-1], tf.shape(output)[-1:]], axis=0))
    raw, shift = tf.split(output, 2, axis=-1)
    log_scale = tf.cast(self._bound, kept.dtype) * tf.tanh(raw)
    return self._mask.restrict(shift), self._mask.restrict(log_scale)

  def _forward_and_log_det(
      self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    self._check(x)
    kept, changed = self._mask.split(x)
    shift, log_scale = self._shift_and_log_scale(kept)
    y = self._mask.join(kept, changed * tf.exp(log_scale) + shift)
    return y, tf.reduce_sum(log_scale, axis=[-3, -2, -1])

  def _inverse_and_log_det(
      self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    self._check(y)
    kept, changed = self._mask.split(y)
    shift, log_scale = self._shift_and_log_scale(kept)
    x = self._mask.join(kept, (changed - shift) * tf.exp(-log_scale))
    return x, -tf.reduce_sum(log_scale, axis=[-3, -2, -1])

  def _check(self, x: tf.Tensor) -> None:
    if x.shape.rank is None or x.shape.rank < 3 or (
        x.shape[-1] != self._channels):
      raise ValueError(
          f'`{self.name}` takes images of shape [..., height, width, '
          f'{self._channels}], got {x.shape}.')

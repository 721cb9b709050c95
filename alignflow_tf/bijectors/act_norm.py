"""Activation normalisation with explicit data-dependent initialisation."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf.bijectors import image_bijector

__all__ = ['ActNorm', 'initialize_from_data']

tfb = tfp.bijectors

def initialize_from_data(flow: tfb.Bijector, images: tf.Tensor) -> None:
  """Sets every `ActNorm` and `Framing` in `flow` from a batch of images.

  One pass of `flow.inverse` (image to latent) in which each such layer first
  takes its statistics from the images that reach it. For example, an `ActNorm`
  takes their mean and standard deviation, so it passes on zero mean and unit
  variance in each channel. Call it once, eagerly, before the first training
  step; the result is saved with the model.

  Layers are reached through `ImageChain`, `FactorOut` and `tfb.Chain`. Within
  other bijectors that hold bijectors, for example `tfb.Invert`, they stay as
  they are.

  Args:
    flow: A bijector from latent to image.
    images: Float `Tensor` of shape `[B, H, W, C]`, of the flow's type.

  Raises:
    RuntimeError: If called inside a `tf.function`.
    ValueError: If `images` holds NaN or infinity, or is no batch of images.

  Examples:
    >>> flow = bijectors.ImageChain([bijectors.ActNorm(1)])
    >>> bijectors.initialize_from_data(flow, tf.constant([[[[1.], [3.]]]]))
    >>> flow.bijectors[0].loc.numpy()
    array([2.], dtype=float32)
  """
  if not tf.executing_eagerly():
    raise RuntimeError(
        '`initialize_from_data` sets variables once from data: call it eagerly,'
        ' outside any tf.function.')
  images = tf.convert_to_tensor(images)
  if images.shape.rank != 4 or images.shape[0] == 0:
    raise ValueError(
        '`images` must be a batch of shape [B, H, W, C] with B > 0, got shape '
        f'{images.shape}.')
  if not bool(tf.reduce_all(tf.math.is_finite(images))):
    raise ValueError('`images` must be finite, got NaN or infinity.')
  image_bijector.initialize(flow, images)


class ActNorm(image_bijector.ImageBijector):
  """Activation normalisation: one scale and shift for each channel.

  ```
  forward:  y = x * exp(log_scale) + loc
  inverse:  x = (y - loc) * exp(-log_scale)
  forward log-det: H * W * sum(log_scale)
  ```

  The inverse (image to latent) normalises. The variables start at zero (the
  identity) and are set from data by `initialize_from_data` alone: no graph that
  is traced, exported or served holds an initialisation.

  Examples:
    >>> act_norm = bijectors.ActNorm(1)
    >>> images = tf.constant([[[[1.], [3.]]]])
    >>> bijectors.initialize_from_data(act_norm, images)
    >>> act_norm.inverse(images).numpy().ravel()
    array([-1.,  1.], dtype=float32)

  #### References

  [1]: Diederik P. Kingma, Prafulla Dhariwal. Glow: Generative Flow with
       Invertible 1x1 Convolutions. In _NeurIPS_, 2018, section 3.1.
       https://arxiv.org/abs/1807.03039
  """

  # Keeps a constant channel (the background of digits) from an infinite scale.
  _MIN_STDDEV = 1e-3
  _STATE = ('_loc', '_log_scale')

  def __init__(
      self,
      channels: int,
      dtype: Any = tf.float32,
      validate_args: bool = False,
      name: str = 'act_norm',
  ):
    """Builds the bijector as the identity.

    Args:
      channels: Number of channels, a positive integer.
      dtype: Floating type.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If `channels` is not a positive integer.
    """
    parameters = dict(locals())
    channels = _checks.integer('channels', channels)
    dtype = _checks.floating_type('dtype', dtype)
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          is_constant_jacobian=False,
          validate_args=validate_args,
          dtype=dtype,
          parameters=parameters,
          name=name)
      self._channels = channels
      self._loc = tf.Variable(tf.zeros([channels], dtype), name='loc')
      self._log_scale = tf.Variable(
          tf.zeros([channels], dtype), name='log_scale')

  @property
  def loc(self) -> tf.Variable:
    """The shift, of shape `[channels]`."""
    return self._loc

  @property
  def log_scale(self) -> tf.Variable:
    """The logarithm of the scale, of shape `[channels]`."""
    return self._log_scale

  def _values(self) -> list[Any]:
    return [self._loc, self._log_scale]

  def _function(self, inverse: bool) -> tuple[Any, ...]:
    return _normalize, (inverse,)

  def _initialize_from(self, y: tf.Tensor) -> tf.Tensor:
    self._check(y)
    mean, variance = tf.nn.moments(y, list(range(y.shape.rank - 1)))
    self._loc.assign(mean)
    self._log_scale.assign(
        tf.math.log(tf.maximum(tf.sqrt(variance), self._MIN_STDDEV)))
    return super()._initialize_from(y)

  def _check(self, x: tf.Tensor) -> None:
    if x.shape.rank is None or x.shape.rank < 3 or (
        x.shape[-1] != self._channels):
      raise ValueError(
          f'`{self.name}` takes images of shape [..., height, width, '
          f'{self._channels}], got {x.shape}.')


def _normalize(
    inverse: bool, x: tf.Tensor, loc: tf.Tensor, log_scale: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """`ActNorm` as a pure function: its value and log-determinant."""
  shape = tf.shape(x)
  log_det = tf.reduce_sum(log_scale) * tf.cast(shape[-3] * shape[-2], x.dtype)
  if inverse:
    y, log_det = (x - loc) * tf.exp(-log_scale), -log_det
  else:
    y = x * tf.exp(log_scale) + loc
  return y, tf.broadcast_to(log_det, shape[:-3])

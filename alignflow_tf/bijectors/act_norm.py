"""Activation normalisation with explicit data-dependent initialisation."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import contextvars
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf.bijectors import log_det_bijector
from alignflow_tf.bijectors import shared_function

__all__ = ['ActNorm', 'initialize_act_norms']

tfb = tfp.bijectors

_initializing = contextvars.ContextVar('initializing_act_norms', default=False)


def initializing() -> bool:
  """Whether `initialize_act_norms` is running."""
  return _initializing.get()


@contextlib.contextmanager
def _initialization() -> Iterator[None]:
  token = _initializing.set(True)
  try:
    yield
  finally:
    _initializing.reset(token)


def initialize_act_norms(flow: tfb.Bijector, images: tf.Tensor) -> None:
  """Sets every `ActNorm` in `flow` from a batch of images.

  One pass of `flow.inverse` (image to latent) in which each `ActNorm` first
  takes the mean and the standard deviation of what reaches it, so that it
  hands on zero mean and unit variance, channel by channel. To be called once,
  eagerly, before the first training step; the result is saved with the model.

  Args:
    flow: Any bijector from latent to image; its `ActNorm`s may be nested.
    images: Float `Tensor` of shape `[B, H, W, C]`, of the flow's type.

  Raises:
    RuntimeError: If called inside a `tf.function`.
    ValueError: If `images` holds NaN or infinity, or is no batch of images.
  """
  if not tf.executing_eagerly():
    raise RuntimeError(
        '`initialize_act_norms` sets variables once from data: call it eagerly,'
        ' outside any tf.function.')
  images = tf.convert_to_tensor(images)
  if images.shape.rank != 4 or images.shape[0] == 0:
    raise ValueError(
        '`images` must be a batch of shape [B, H, W, C] with B > 0, got shape '
        f'{images.shape}.')
  if not bool(tf.reduce_all(tf.math.is_finite(images))):
    raise ValueError('`images` must be finite, got NaN or infinity.')
  with _initialization():
    # A new tensor, which TFP's cache cannot have met.
    flow.inverse(tf.identity(images))


class ActNorm(log_det_bijector.LogDetBijector):
  """Activation normalisation: an affine map, one scale and shift a channel.

  ```
  forward:  y = x * exp(log_scale) + loc
  inverse:  x = (y - loc) * exp(-log_scale)
  forward log-det: H * W * sum(log_scale)
  ```

  The inverse (image to latent) normalises. The variables start at zero (the
  identity) and are set from data by `initialize_act_norms`, never in passing:
  no graph that is traced, exported or served holds an initialisation.

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

  def _forward_and_log_det(
      self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    self._check(x)
    return shared_function.call(
        _normalize, (False,), x, self._loc, self._log_scale)

  def _inverse_and_log_det(
      self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    self._check(y)
    if initializing():
      axes = list(range(y.shape.rank - 1))
      mean, variance = tf.nn.moments(y, axes)
      self._loc.assign(mean)
      self._log_scale.assign(
          tf.math.log(tf.maximum(tf.sqrt(variance), self._MIN_STDDEV)))
    return shared_function.call(
        _normalize, (True,), y, self._loc, self._log_scale)

  def _pure(self, direction: str) -> log_det_bijector.Pure:
    return _normalize, (direction == 'inverse',)

  def _values(self) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(v) for v in (self._loc, self._log_scale)]

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

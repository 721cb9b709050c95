"""Invertible 1x1 convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf.bijectors import image_bijector

__all__ = ['InvertibleConv1x1']

tfb = tfp.bijectors


class InvertibleConv1x1(image_bijector.ImageBijector):
  """A learned linear map of the channels, the same at each pixel.

  ```
  w = P @ L @ (U + diag(sign * exp(log_scale)))
  forward:  y[..., i, j, :] = w @ x[..., i, j, :]
  inverse:  x[..., i, j, :] = w^-1 @ y[..., i, j, :]
  forward log-det: H * W * sum(log_scale)
  ```

  `P` is a fixed permutation, `L` unit lower and `U` strictly upper triangular,
  and `sign` fixed: the matrix starts as a random orthogonal one and stays
  invertible.
  `tfb.ScaleMatvecLU` is the same map of vectors; on images it solves two
  triangular systems for each pixel, where this one inverts the matrix once (it
  is as small as the number of channels) and convolves.

  Examples:
    >>> conv = bijectors.InvertibleConv1x1(12, seed=1)
    >>> conv.forward(tf.zeros([2, 8, 8, 12])).shape
    TensorShape([2, 8, 8, 12])

  #### References

  [1]: Diederik P. Kingma, Prafulla Dhariwal. Glow: Generative Flow with
       Invertible 1x1 Convolutions. In _NeurIPS_, 2018, section 3.2.
       https://arxiv.org/abs/1807.03039
  """

  _STATE = ('_lower', '_upper', '_log_scale', '_permutation', '_sign')

  def __init__(
      self,
      channels: int,
      seed: int = 0,
      dtype: Any = tf.float32,
      validate_args: bool = False,
      name: str = 'invertible_conv_1x1',
  ):
    """Builds the bijector with a random orthogonal matrix.

    Args:
      channels: Number of channels, a positive integer.
      seed: Non-negative integer that fixes the first matrix.
      dtype: Floating type.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If `channels` is not a positive integer, or `seed` is not a
        non-negative one.
    """
    parameters = dict(locals())
    channels = _checks.integer('channels', channels)
    dtype = _checks.floating_type('dtype', dtype)
    seed = _checks.integer('seed', seed, least=0)
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          is_constant_jacobian=False,
          validate_args=validate_args,
          dtype=dtype,
          parameters=parameters,
          name=name)
      self._channels = channels
      normal = np.random.RandomState(seed).standard_normal((channels, channels))
      rotation, _ = np.linalg.qr(normal)
      lower_upper, permutation = tf.linalg.lu(tf.constant(rotation, tf.float64))
      lower_upper = lower_upper.numpy()
      diagonal = np.diag(lower_upper)

      def constant(value: np.ndarray) -> tf.Tensor:
        return tf.constant(value, dtype)

      # Constants as NumPy arrays: a tensor attribute cannot be captured by
      # graphs of other scopes.
      self._permutation = np.eye(channels)[:, np.argsort(permutation.numpy())].T
      self._sign = np.sign(diagonal)
      self._lower = tf.Variable(
          constant(np.tril(lower_upper, -1)), name='lower')
      self._upper = tf.Variable(constant(np.triu(lower_upper, 1)), name='upper')
      self._log_scale = tf.Variable(
          constant(np.log(np.abs(diagonal))), name='log_scale')

  def _values(self) -> list[Any]:
    dtype = self._lower.dtype
    return [tf.constant(self._permutation, dtype),
            tf.constant(self._sign, dtype),
            self._lower, self._upper, self._log_scale]

  def _function(self, inverse: bool) -> tuple[Any, ...]:
    return _convolve, (inverse,)

  @property
  def matrix(self) -> tf.Tensor:
    """The matrix `w`, of shape `[channels, channels]`."""
    permutation, lower, upper = _factors(*self._values())
    return permutation @ lower @ upper

  @property
  def inverse_matrix(self) -> tf.Tensor:
    """The inverse of `w`."""
    return _inverse_matrix(*_factors(*self._values()))

  def _check(self, x: tf.Tensor) -> None:
    if x.shape.rank is None or x.shape.rank < 3 or (
        x.shape[-1] != self._channels):
      raise ValueError(
          f'`{self.name}` takes images of shape [..., height, width, '
          f'{self._channels}], got {x.shape}.')


def _factors(
    permutation: tf.Tensor, sign: tf.Tensor, lower: tf.Tensor,
    upper: tf.Tensor, log_scale: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """`P`, `L` and `U + diag(...)`."""
  lower = tf.linalg.band_part(lower, -1, 0)
  lower = tf.linalg.set_diag(lower, tf.ones_like(log_scale))
  upper = tf.linalg.band_part(upper, 0, -1)
  return permutation, lower, tf.linalg.set_diag(upper, sign * tf.exp(log_scale))


def _inverse_matrix(
    permutation: tf.Tensor, lower: tf.Tensor, upper: tf.Tensor) -> tf.Tensor:
  lower_inverse = tf.linalg.triangular_solve(
      lower, tf.transpose(permutation), lower=True)
  return tf.linalg.triangular_solve(upper, lower_inverse, lower=False)


def _convolve(
    inverse: bool, x: tf.Tensor, *values: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """`InvertibleConv1x1` as a pure function: its value and log-determinant."""
  permutation, lower, upper = _factors(*values)
  shape = tf.shape(x)
  log_det = tf.reduce_sum(values[-1]) * tf.cast(shape[-3] * shape[-2], x.dtype)
  if inverse:
    matrix, log_det = _inverse_matrix(permutation, lower, upper), -log_det
  else:
    matrix = permutation @ lower @ upper
  y = tf.linalg.matmul(x, matrix, transpose_b=True)
  return y, tf.broadcast_to(log_det, shape[:-3])

"""The map between pixels and the real line, with a true inverse."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf.bijectors import image_bijector

__all__ = ['ImagePreprocess']


class ImagePreprocess(image_bijector.ImageBijector):
  """Takes real numbers to pixel values: a scaled sigmoid with linear tails.

  With `a = alpha`, `limit = log((1 - a) / a)` and `slope = a * (1 - a) /
  (1 - 2 * a)`, the derivative at the limits, elementwise:

  ```
  forward:  y = (sigmoid(x) - a) / (1 - 2 * a)     where |x| <= limit
            y = 1 + slope * (x - limit)            where x > limit
            y = slope * (x + limit)                where x < -limit
  inverse:  x = logit(a + (1 - 2 * a) * y)         where 0 <= y <= 1
            x = limit + (y - 1) / slope            where y > 1
            x = -limit + y / slope                 where y < 0
  forward log-det: log(sigmoid(c) * (1 - sigmoid(c)) / (1 - 2 * a))
                   with c = clip(x, -limit, limit)
  ```

  On [0, 1] it is Real NVP's logit. Outside it goes on as a straight line, with
  one continuous derivative, so it is a bijection of the real line that neither
  saturates nor overflows: an image that a flow puts slightly outside [0, 1]
  still has its own latent, to float32 accuracy, and the way back exists. (A
  sigmoid alone reaches 1.0 in float32, whose logit is infinite. The published
  AlignFlow decodes with `tanh`, which is not the inverse of its logit at all.)

  Dequantisation is no part of it: see `alignflow_tf.images.dequantize`.

  Examples:
    >>> preprocess = bijectors.ImagePreprocess()
    >>> preprocess.inverse(tf.constant([0., 0.5, 1.])).numpy().round(3)
    array([-2.944,  0.   ,  2.944], dtype=float32)

  #### References

  [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017, section 4.1.
       https://arxiv.org/abs/1605.08803
  """

  def __init__(
      self,
      alpha: float = 0.05,
      dtype: Any = tf.float32,
      validate_args: bool = False,
      name: str = 'image_preprocess',
  ):
    """Builds the bijector.

    Args:
      alpha: How far from 0 and 1 the sigmoid is used, in (0, 0.5).
      dtype: Floating type.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If `alpha` is outside (0, 0.5).
    """
    parameters = dict(locals())
    alpha = _checks.number('alpha', alpha, 0., 0.5)
    dtype = _checks.floating_type('dtype', dtype)
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=0,
          is_constant_jacobian=False,
          validate_args=validate_args,
          dtype=dtype,
          parameters=parameters,
          name=name)
      self._alpha = alpha

  def _is_increasing(self) -> bool:
    return True

  def _function(self, inverse: bool) -> tuple[Any, ...]:
    return (_from_pixels if inverse else _to_pixels), (self._alpha,)


def _limit_and_slope(alpha: float) -> tuple[float, float]:
  return (math.log((1. - alpha) / alpha),
          alpha * (1. - alpha) / (1. - 2. * alpha))


def _log_derivative(alpha: float, x: tf.Tensor) -> tf.Tensor:
  """`log dy/dx` at `x` in [-limit, limit]."""
  return -tf.nn.softplus(x) - tf.nn.softplus(-x) - math.log(1. - 2. * alpha)


def _to_pixels(alpha: float, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  limit, slope = _limit_and_slope(alpha)
  inside = tf.clip_by_value(x, -limit, limit)
  y = (tf.sigmoid(inside) - alpha) / (1. - 2. * alpha)
  return y + slope * (x - inside), _log_derivative(alpha, inside)


def _from_pixels(alpha: float, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  _, slope = _limit_and_slope(alpha)
  inside = tf.clip_by_value(y, 0., 1.)
  p = alpha + (1. - 2. * alpha) * inside
  logit = tf.math.log(p) - tf.math.log1p(-p)
  return logit + (y - inside) / slope, -_log_derivative(alpha, logit)

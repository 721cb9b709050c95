"""A bijector base class that computes value and log-determinant together."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ['LogDetBijector']

tfb = tfp.bijectors


class LogDetBijector(tfb.Bijector, abc.ABC):
  """Bijector whose value and log-determinant come from one evaluation.

  TFP asks for a value (`_forward`) and for a log-determinant
  (`_forward_log_det_jacobian`) in two calls, so a coupling would run its
  network twice for every `log_prob`. A subclass of this one defines just

  - `_forward_and_log_det(x) -> (y, log |det dy/dx|)` and
  - `_inverse_and_log_det(y) -> (x, log |det dx/dy|)`,

  and whichever value TFP asks for first leaves the log-determinant in TFP's own
  cache, where the second call finds it.

  The two log-determinants have the batch shape: they are summed over the
  `forward_min_event_ndims` (`inverse_min_event_ndims`) rightmost axes.
  """

  @abc.abstractmethod
  def _forward_and_log_det(
      self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns `y` and `log |det dy/dx|`."""

  @abc.abstractmethod
  def _inverse_and_log_det(
      self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns `x` and `log |det dx/dy|`."""

  # `_cache` is private to TFP (FFJORD fills it the same way). Should a release
  # drop it, everything stays correct and only the second evaluation returns;
  # a test counts the convolutions in the graph of `log_prob`.

  def _forward(self, x: tf.Tensor) -> tf.Tensor:
    y, log_det = self._forward_and_log_det(x)
    self._cache.forward_attributes(x)['ildj'] = -log_det
    return y

  def _inverse(self, y: tf.Tensor) -> tf.Tensor:
    x, log_det = self._inverse_and_log_det(y)
    self._cache.inverse_attributes(y)['ildj'] = log_det
    return x

  def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
    return self._forward_and_log_det(x)[1]

  def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
    return self._inverse_and_log_det(y)[1]

  # TFP's cache is one for all bijectors and takes those of equal constructor
  # arguments for the same function. Two `ActNorm(3)` are not: they have their
  # own variables, and the flows of two domains meet on the same tensors.

  def __eq__(self, other: Any) -> bool:
    return self is other

  def __hash__(self) -> int:
    return id(self)

  @classmethod
  def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict:
    # Networks and variables have no batch dimensions of their own.
    del dtype, num_classes
    return {}

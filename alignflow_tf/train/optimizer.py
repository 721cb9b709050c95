"""Adam, the moving average of weights, and gradient norms.

An update is a few small operations for each of hundreds of variables. They are
traced once for `_TOGETHER` variables, whatever their shapes, so that the graph
of a step has one call for that many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import Any

import tensorflow as tf

from alignflow_tf.train import replicas

Variables = Sequence[tf.Variable]

_EPSILON = 1e-8
# Larger chunks are fewer calls; smaller chunks run side by side on more cores.
_TOGETHER = 20


class Adam(tf.Module):
  """Adam with TensorFlow's fused kernel, and a moving average of the weights.

  ```
  m = beta_1 m + (1 - beta_1) g
  v = beta_2 v + (1 - beta_2) g^2
  w = w - rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + 1e-8)
  ```

  Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, the order of computation
  at the end of section 2.

  Attributes:
    iterations: Number of updates done, an int64 variable.
  """

  def __init__(self, variables: Variables, beta_1: float, beta_2: float,
               averages: Variables | None = None):
    """Makes the moments, all zero.

    Args:
      variables: Variables to update, float32.
      beta_1: Decay of the first moment.
      beta_2: Decay of the second moment.
      averages: The variables' moving averages, if any.
    """
    super().__init__(name='adam')
    # The model's own places in a checkpoint are enough for these.
    self._variables = self._no_dependency(list(variables))
    self._averages = self._no_dependency(list(averages or ()))
    self._betas = beta_1, beta_2

    def zeros(kind: str) -> list[tf.Variable]:
      return [tf.Variable(tf.zeros(v.shape), trainable=False, name=kind)
              for v in variables]

    self._m, self._v = zeros('m'), zeros('v')
    self.iterations = tf.Variable(
        0, dtype=tf.int64, trainable=False, name='iterations')

  def apply(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor,
            where: tf.Tensor, scale: tf.Tensor | float = 1.,
            average_rate: tf.Tensor | float = 0.) -> None:
    """Updates the variables, then their averages.

    `average += average_rate * (variable - average)`.

    Args:
      gradients: A gradient for each variable.
      rate: Learning rate, a scalar.
      where: Boolean scalar; if False, nothing changes.
      scale: Scalar that multiplies the gradients.
      average_rate: Scalar in [0, 1].
    """
    beta_1, beta_2 = self._betas
    count = tf.cast(self.iterations + 1, tf.float32)
    numbers = [tf.convert_to_tensor(n, tf.float32) for n in (
        scale, beta_1**count, beta_2**count, rate, beta_1, beta_2,
        average_rate)]
    handles = [[v.handle for v in part] for part in (
        self._variables, self._m, self._v, self._averages) if part]
    for chunk in _chunks(list(zip(*handles, gradients, strict=True))):
      parts = [tensor for part in zip(*chunk, strict=True) for tensor in part]
      _adam(len(chunk), bool(self._averages))(where, *numbers, *parts)
    replicas.assign(
        self.iterations, self.iterations + tf.cast(where, tf.int64))


def squared_norm(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
  """The square of the global norm of gradients, a scalar."""
  return tf.add_n([
      _squared_norm(len(chunk))(*chunk) for chunk in _chunks(gradients)])


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
  for i in range(0, len(values), _TOGETHER):
    yield values[i:i + _TOGETHER]


def _function(function: Callable[..., Any], specs: Sequence[Any]) -> Any:
  traced = tf.function(
      function, autograph=False,
      experimental_attributes={'_noinline': True})
  with tf.init_scope():
    return traced.get_concrete_function(*specs)


_GRADIENT = tf.TensorSpec(None, tf.float32)
_HANDLE = tf.TensorSpec([], tf.resource)
_NUMBER = tf.TensorSpec([], tf.float32)


@functools.cache
def _squared_norm(number: int) -> Any:
  return _function(
      lambda *gradients: 2. * tf.add_n([tf.nn.l2_loss(g) for g in gradients]),
      [_GRADIENT] * number)


@functools.cache
def _adam(number: int, averaged: bool) -> Any:
  """The update of `number` variables, a function of their handles."""

  def update(where: tf.Tensor, *arguments: tf.Tensor) -> None:
    (scale, beta_1_power, beta_2_power, rate, beta_1, beta_2,
     average_rate), parts = arguments[:7], arguments[7:]
    columns = [parts[i:i + number] for i in range(0, len(parts), number)]

    def apply() -> tf.Tensor:
      for variable, m, v, *average, gradient in zip(*columns, strict=True):
        tf.raw_ops.ResourceApplyAdam(
            var=variable, m=m, v=v, beta1_power=beta_1_power,
            beta2_power=beta_2_power, lr=rate, beta1=beta_1, beta2=beta_2,
            epsilon=_EPSILON, grad=gradient * scale)
        if averaged:
          value, old = (tf.raw_ops.ReadVariableOp(
              resource=handle, dtype=tf.float32)
                        for handle in (variable, average[0]))
          # A fused op, instead of `assign_sub` and a product.
          tf.raw_ops.ResourceApplyGradientDescent(
              var=average[0], alpha=average_rate, delta=old - value)
      return tf.constant(0)

    tf.cond(where, apply, lambda: tf.constant(0))

  handles = [_HANDLE] * number * (4 if averaged else 3)
  return _function(update, [
      tf.TensorSpec([], tf.bool), *[_NUMBER] * 7, *handles,
      *[_GRADIENT] * number])

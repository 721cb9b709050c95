"""Adam, the moving average and gradient norms, many variables a call.

A step's optimizer is a few small operations for each of hundreds of variables.
Here they are traced once for `_TOGETHER` variables, whatever their shapes, so
that the graph of a step holds a call for that many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import Any

import tensorflow as tf
import tf_keras

from alignflow_tf.train import replicas

__all__ = ['adam', 'make_adam', 'squared_norm']

Variables = Sequence[tf.Variable]

_EPSILON = 1e-8
# More are fewer calls; fewer run side by side on more cores.
_TOGETHER = 20


def make_adam(
    rate: Callable[[], tf.Tensor], beta_1: float, beta_2: float,
    variables: Variables) -> tf_keras.optimizers.legacy.Optimizer:
  """Makes Adam's state, the slots of all variables included.

  The class is the one whose update is TensorFlow's fused kernel. `adam` calls
  that kernel itself; the object keeps the state and its names in checkpoints.
  """
  optimizer = tf_keras.optimizers.legacy.Adam(
      rate, beta_1, beta_2, epsilon=_EPSILON)
  # Slots exist before a checkpoint is read.
  optimizer._create_all_weights(variables)
  return optimizer


def squared_norm(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
  """The square of the global norm of gradients, a scalar."""
  return tf.add_n([
      _squared_norm(len(chunk))(*chunk) for chunk in _chunks(gradients)])


def adam(
    optimizer: tf_keras.optimizers.legacy.Optimizer,
    variables: Variables,
    gradients: Sequence[tf.Tensor],
    where: tf.Tensor,
    scale: tf.Tensor | None = None,
    averages: Variables | None = None,
    average_rate: tf.Tensor | None = None,
) -> None:
  """One step of Adam, and of the moving average after it.

  Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 2, last
  paragraph's order of computation. With `averages`,
  `average += average_rate * (variable - average)`.

  Args:
    optimizer: Made by `make_adam`.
    variables: What to update.
    gradients: As many gradients.
    where: Boolean scalar, without which nothing changes.
    scale: Scalar that multiplies the gradients; 1 if None.
    averages: The variables' moving averages, if any.
    average_rate: Scalar in [0, 1]; must be given with `averages`.
  """
  count = tf.cast(optimizer.iterations + 1, tf.float32)
  beta_1, beta_2, rate = (
      tf.convert_to_tensor(optimizer._get_hyper(name, tf.float32))
      for name in ('beta_1', 'beta_2', 'learning_rate'))
  numbers = [
      where, tf.ones([]) if scale is None else scale, beta_1**count,
      beta_2**count, rate, beta_1,
      beta_2, tf.zeros([]) if average_rate is None else average_rate]
  handles = [[v.handle for v in variables]]
  for name in ('m', 'v'):
    handles.append([optimizer.get_slot(v, name).handle for v in variables])
  if averages is not None:
    handles.append([v.handle for v in averages])
  for chunk in _chunks(list(zip(*handles, gradients, strict=True))):
    parts = [tensor for part in zip(*chunk, strict=True) for tensor in part]
    _adam(len(chunk), averages is not None)(*numbers, *parts)
  replicas.assign(
      optimizer.iterations, optimizer.iterations + tf.cast(
          where, optimizer.iterations.dtype))


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
  """The update of so many variables, which takes their handles."""

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
          # One fused op less than `assign_sub` and its product.
          tf.raw_ops.ResourceApplyGradientDescent(
              var=average[0], alpha=average_rate, delta=old - value)
      return tf.constant(0)

    tf.cond(where, apply, lambda: tf.constant(0))

  handles = [_HANDLE] * number * (4 if averaged else 3)
  return _function(update, [
      tf.TensorSpec([], tf.bool), *[_NUMBER] * 7, *handles,
      *[_GRADIENT] * number])

"""Functions that are traced once for all layers that compute alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import functools
from typing import Any

import tensorflow as tf

__all__ = ['call', 'is_shared', 'not_inlined', 'unshared']

_inlined = contextvars.ContextVar('inlined', default=True)
_shared = contextvars.ContextVar('shared', default=True)


@contextlib.contextmanager
def not_inlined() -> Iterator[None]:
  """Keeps TensorFlow from inlining the functions called within.

  Inlined, each call is placed, connected and instantiated anew: half of the
  time between tracing a training step and its end. Exports are inlined:
  converters do not know the attribute.
  """
  token = _inlined.set(False)
  try:
    yield
  finally:
    _inlined.reset(token)


@contextlib.contextmanager
def unshared() -> Iterator[None]:
  """Places the operations themselves in the graph, for XLA to compile.

  The gradient of a function takes shapes from the function's results. XLA must
  know shapes, and then takes all that goes into the function, images and
  weights, for constants: it evaluates the convolutions as it compiles, and
  compiles again for each step's weights.
  """
  token = _shared.set(False)
  try:
    yield
  finally:
    _shared.reset(token)


def is_shared() -> bool:
  """Whether `call` calls functions, and is not within `unshared`."""
  return _shared.get()


def call(
    function: Callable[..., Any],
    static: tuple[Any, ...],
    *tensors: tf.Tensor,
) -> Any:
  """`function(*static, *tensors)`, traced once for all calls of its kind.

  The layers of a flow are many and alike. What each of them does to Python and
  to TensorFlow's runtime (trace, differentiate, instantiate) is most of the
  time to the first step, so those that differ in tensors alone share it.

  Args:
    function: A pure function of static values and tensors. It must not use
      variables (give it their values) nor gradient tapes (use `tf.gradients`).
    static: Hashable arguments; each combination is traced on its own.
    *tensors: The tensors, or what converts to tensors; each combination of
      shapes and types is traced on its own.

  Returns:
    What `function` returns.
  """
  values = [tf.convert_to_tensor(t) for t in tensors]
  if not _shared.get():
    return function(*static, *values)
  specs = tuple((v.shape, v.dtype) for v in values)
  return _traced(function, static, specs, _inlined.get())(*values)


@functools.lru_cache(maxsize=1024)
def _traced(function: Callable[..., Any], static: tuple[Any, ...],
            specs: tuple[tuple[tf.TensorShape, tf.DType], ...],
            inlined: bool) -> Any:
  traced = tf.function(
      lambda *tensors: function(*static, *tensors), autograph=False,
      experimental_attributes=None if inlined else {'_noinline': True})
  # Lifted out of the graph that asks first, which the cache would keep alive.
  with tf.init_scope():
    return traced.get_concrete_function(*[tf.TensorSpec(*s) for s in specs])

"""How bijectors place their computations in TensorFlow's graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import functools
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

# 'inlined', 'not inlined' or 'unshared'.
_mode = contextvars.ContextVar('mode', default='inlined')


@contextlib.contextmanager
def _within(mode: str) -> Iterator[None]:
  token = _mode.set(mode)
  try:
    yield
  finally:
    _mode.reset(token)


@contextlib.contextmanager
def not_inlined() -> Iterator[None]:
  """Keeps TensorFlow from inlining the functions that `call` makes within.

  Inlined, each call is placed, connected and instantiated separately, which
  doubles the time from tracing a training step to its end. Exports are inlined,
  since converters do not know the attribute.
  """
  with _within('unshared' if _mode.get() == 'unshared' else 'not inlined'):
    yield


@contextlib.contextmanager
def unshared() -> Iterator[None]:
  """Places operations instead of function calls in the graph, for XLA.

  The gradient of a function takes shapes from the function's results. XLA must
  know shapes when it compiles, so it would take everything that goes into the
  function, images and weights, for constants: it would evaluate the
  convolutions while compiling, and compile again for each step's weights.
  """
  with _within('unshared'):
    yield


def call(
    function: Callable[..., Any],
    static: tuple[Any, ...],
    *tensors: tf.Tensor,
) -> Any:
  """`function(*static, *tensors)`, traced once for all layers of a kind.

  The layers of a flow are many and alike, and tracing, differentiating and
  instantiating them is most of the time to the first step. Layers that differ
  in tensors alone therefore call one traced function.

  Args:
    function: A pure function of static values and tensors. It must not use
      variables (pass their values) nor gradient tapes (use `tf.gradients`).
    static: Hashable arguments; each combination is traced separately.
    *tensors: Tensors, or values that convert to tensors; each combination of
      shapes and types is traced separately.

  Returns:
    The result of `function`.
  """
  values = [tf.convert_to_tensor(t) for t in tensors]
  if _mode.get() == 'unshared':
    return function(*static, *values)
  specs = tuple((v.shape, v.dtype) for v in values)
  return _traced(
      function, static, specs, _mode.get() == 'inlined')(*values)


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


def clear_cache() -> None:
  """Empties TFP's cache of the results of all bijectors of the process.

  The cache goes by tensors, so it knows nothing of weights: call this after
  changing weights by hand while tensors from before are still held. It also
  keeps every traced graph alive, since a graph's tensors refer to their graph:
  call this after tracing graphs that are not needed any more. Results that were
  cleared are computed again when asked for.

  Examples:
    >>> weight = tf.Variable(2.)
    >>> scale = tfp.bijectors.Scale(weight)
    >>> x = tf.constant(3.)
    >>> before = scale.forward(x)
    >>> bijectors.clear_cache()
    >>> _ = weight.assign(4.)
    >>> scale.forward(x).numpy().item()
    12.0
  """
  # Private to TFP. Without it results stay correct and memory grows.
  storage: Any = getattr(
      getattr(tfp.bijectors.Bijector, '_cache', None), 'storage', None)
  if not storage:
    return
  # Each key and each end of an edge removes itself when its tensor is gone;
  # none may do so while the others are being removed.
  for key, edge in list(storage.items()):
    for reference in (key, edge.input_ref, edge.output_ref):
      if reference is not None:
        reference.cancel()
  storage.clear()

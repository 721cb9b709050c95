"""A bijector base class that computes value and log-determinant together."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf.bijectors import shared_function

__all__ = [
    'LogDetBijector', 'evaluate', 'event_ndims', 'pull_back', 'run', 'values_of'
]

tfb = tfp.bijectors

Pure = tuple[Callable[..., Any], tuple[Any, ...]]

_OPPOSITE = {'forward': 'inverse', 'inverse': 'forward'}


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

  # What chains use that do not store activations: see `LogDetChain`.

  def _pure(self, direction: str) -> Pure:
    """Function and static arguments, for `function(*static, x, *values)`.

    It gives value and log-determinant of images `[B, H, W, C]` and uses no
    variables: `values` are those of `_values`.
    """
    raise NotImplementedError(
        f'{type(self).__name__} trains with `memory="standard"` alone.')

  def _values(self) -> list[tf.Tensor]:
    """The parameters, as tensors."""
    return []

  def _run(self, direction: str, x: tf.Tensor, values: Sequence[tf.Tensor],
           recompute: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Value and log-determinant from given parameters.

    With `recompute`, gradients come from computing it all again: the input is
    all that is stored.
    """
    function, static = self._pure(direction)
    if recompute:
      return _recomputed(function, static)(x, *values)
    return shared_function.call(function, static, x, *values)

  def _pull_back(
      self, direction: str, y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor,
      values: Sequence[tf.Tensor]
  ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """From an output and gradients there: the input and gradients here."""
    x, dx, *dvalues = shared_function.call(
        _pull_back, (*self._pure(direction), *self._pure(_OPPOSITE[direction])),
        y, dy, dlog_det, *values)
    return x, dx, dvalues

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

  # Attributes that hold variables, which a copy shares.
  _STATE: tuple[str, ...] = ()

  def copy(self, **overrides: Any) -> LogDetBijector:
    """A copy with the same variables, as of all TFP's bijectors.

    Args:
      **overrides: Constructor arguments that differ. With any but `name` and
        `validate_args`, the copy has variables of its own.

    Returns:
      A bijector of the same class, with a cache of its own.
    """
    made = super().copy(**overrides)
    if set(overrides) <= {'name', 'validate_args'}:
      for attribute in self._STATE:
        setattr(made, attribute, getattr(self, attribute))
    return made

  def __eq__(self, other: Any) -> bool:
    return self is other

  def __hash__(self) -> int:
    return id(self)

  @classmethod
  def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict:
    # Networks and variables have no batch dimensions of their own.
    del dtype, num_classes
    return {}


def event_ndims(bijector: tfb.Bijector) -> tuple[Any, Any]:
  """Least event dimensions of `forward` and of `inverse`.

  Integers for one tensor; TFP's own chains have NumPy's, which are turned into
  Python's. Structures of bijectors of several tensors stay as they are.
  """
  ndims = bijector.forward_min_event_ndims, bijector.inverse_min_event_ndims
  forward, inverse = (
      int(n) if isinstance(n, (np.ndarray, np.integer)) else n for n in ndims)
  return forward, inverse


def evaluate(
    bijector: tfb.Bijector, x: tf.Tensor, direction: str
) -> tuple[tf.Tensor, tf.Tensor | None]:
  """A layer's value and log-determinant, without TFP's cache where it can be.

  Args:
    bijector: A bijector on images.
    x: Images `[..., H, W, C]`.
    direction: 'forward' or 'inverse'.

  Returns:
    The value, and the log-determinant of shape `[...]`, or None for 0.
  """
  if isinstance(bijector, LogDetBijector):
    y, log_det = getattr(bijector, f'_{direction}_and_log_det')(x)
    ndims = getattr(bijector, f'{direction}_min_event_ndims')
    if ndims < 3:
      log_det = tf.reduce_sum(log_det, axis=list(range(ndims - 3, 0)))
    return y, log_det
  y = getattr(bijector, direction)(x)
  if bijector._is_permutation:
    return y, None
  return y, getattr(bijector, f'{direction}_log_det_jacobian')(x, event_ndims=3)


def values_of(bijector: tfb.Bijector) -> list[tf.Tensor]:
  """The parameters of a layer of a chain, as tensors."""
  if isinstance(bijector, LogDetBijector):
    return bijector._values()
  if bijector._is_permutation:
    return []
  raise NotImplementedError(
      f'{bijector.name} trains with `memory="standard"` alone.')


def run(
    bijector: tfb.Bijector, direction: str, x: tf.Tensor,
    values: Sequence[tf.Tensor], recompute: bool,
) -> tuple[tf.Tensor, tf.Tensor | None]:
  """As `evaluate`, from given parameters; see `LogDetBijector._run`."""
  if isinstance(bijector, LogDetBijector):
    return bijector._run(direction, x, values, recompute)
  return getattr(bijector, direction)(x), None


def pull_back(
    bijector: tfb.Bijector, direction: str, y: tf.Tensor, dy: tf.Tensor,
    dlog_det: tf.Tensor, values: Sequence[tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
  """A layer's input and gradients from its output: `_pull_back`."""
  if isinstance(bijector, LogDetBijector):
    return bijector._pull_back(direction, y, dy, dlog_det, values)
  # The transpose of a permutation is its inverse.
  back = getattr(bijector, _OPPOSITE[direction])
  return back(y), back(dy), []


def _pull_back(
    function: Callable[..., Any], static: tuple[Any, ...],
    inverse: Callable[..., Any], inverse_static: tuple[Any, ...],
    y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor, *values: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
  x, _ = inverse(*inverse_static, y, *values)
  x = tf.stop_gradient(x)
  return x, *_gradients(function, static, x, dy, dlog_det, *values)


def _gradients(
    function: Callable[..., Any], static: tuple[Any, ...], x: tf.Tensor,
    dy: tf.Tensor, dlog_det: tf.Tensor, *values: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
  outputs = function(*static, x, *values)
  # What `shared_function` traces, tapes do not see.
  return tuple(tf.gradients(
      outputs, [x, *values], grad_ys=[dy, dlog_det],
      unconnected_gradients=tf.UnconnectedGradients.ZERO))


def _recomputed(
    function: Callable[..., Any], static: tuple[Any, ...]
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:

  @tf.custom_gradient
  def run(x: tf.Tensor, *values: tf.Tensor) -> Any:
    def gradient(dy: tf.Tensor, dlog_det: tf.Tensor) -> tuple[tf.Tensor, ...]:
      # As in `LogDetChain`.
      with shared_function.not_inlined():
        return tuple(shared_function.call(
            _gradients, (function, static), x, dy, dlog_det, *values))

    return tuple(shared_function.call(function, static, x, *values)), gradient

  return run

"""A base class for bijectors on images: one evaluation, value and log-det."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _graph

__all__ = [
    'ImageBijector', 'check_reversible', 'evaluate', 'event_ndims', 'gradients',
    'initialize', 'pull_back', 'values_of'
]

tfb = tfp.bijectors

Function = Callable[..., tuple[tf.Tensor, tf.Tensor]]


class ImageBijector(tfb.Bijector):
  """A bijector on images `[..., H, W, C]`, defined by a pure function.

  TFP asks for a value (`_forward`) and for a log-determinant
  (`_forward_log_det_jacobian`) in two calls, so a coupling would run its
  network twice for every `log_prob`. Here both come from one evaluation: the
  call that TFP makes first leaves the log-determinant in TFP's own cache, where
  the second call finds it.

  A subclass defines `_function`, and `_values` if it has variables:

  ```python
  class Shift(ImageBijector):

    def __init__(self, channels, name='shift'):
      parameters = dict(locals())
      super().__init__(
          forward_min_event_ndims=3, parameters=parameters, name=name)
      self._shift = tf.Variable(tf.zeros([channels]), name='shift')

    def _values(self):
      return [self._shift]

    def _function(self, inverse):
      return _shift, (inverse,)

  def _shift(inverse, x, shift):
    log_det = tf.zeros(tf.shape(x)[:-3], x.dtype)
    return (x - shift if inverse else x + shift), log_det
  ```

  Such a bijector works in chains that store no activations, too; see
  `ImageChain`.
  """

  # Attributes that hold variables, which a copy shares.
  _STATE: tuple[str, ...] = ()

  def _function(self, inverse: bool) -> tuple[Function, tuple[Any, ...]]:
    """A pure function, for `function(*static, x, *values)`.

    It returns `y` and `log |det dy/dx|`, summed over the
    `forward_min_event_ndims` rightmost axes, or for `inverse` those of the
    inverse. `static` are hashable arguments: layers that differ in `values`
    alone share one traced function.
    """
    raise NotImplementedError(
        f'{type(self).__name__} must define `_function`.')

  def _values(self) -> list[Any]:
    """The variables, or tensors made of them; lists may be nested."""
    return []

  def _check(self, x: tf.Tensor) -> None:
    """Raises ValueError for images that do not fit."""
    del x

  def _evaluate(
      self, x: tf.Tensor, inverse: bool, values: list[Any]
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Value and log-determinant, from the given values of variables."""
    self._check(x)
    function, static = self._function(inverse)
    return _graph.call(function, static, x, *values)

  def _pull_back(
      self, y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor, inverse: bool,
      values: list[Any],
  ) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
    """From an output `[B, H, W, C]` and gradients there, those of the input.

    Args:
      y: The output of `_evaluate`.
      dy: Gradient of the loss with respect to `y`.
      dlog_det: Gradient with respect to the log-determinant, `[B]`.
      inverse: The direction of `_evaluate`.
      values: Its values.

    Returns:
      The input, the gradient there, and the gradients of `values`.
    """
    x, dx, *dvalues = _graph.call(
        _pull_back, (*self._function(inverse), *self._function(not inverse)),
        y, dy, dlog_det, *values)
    return x, dx, dvalues

  def _check_reversible(self) -> None:
    """Raises NotImplementedError where `_pull_back` cannot be had."""

  def _initialize_from(self, y: tf.Tensor) -> tf.Tensor:
    """Sets variables from images `y` and returns `inverse(y)`.

    See `initialize_from_data`; by default there is nothing to set.
    """
    return self._evaluate(y, True, self._values())[0]

  # `_cache` is private to TFP (FFJORD fills it the same way). Should a release
  # drop it, everything stays correct and only the second evaluation returns;
  # a test counts the convolutions in the graph of `log_prob`.

  def _forward(self, x: tf.Tensor) -> tf.Tensor:
    y, log_det = self._evaluate(x, False, self._values())
    self._cache.forward_attributes(x)['ildj'] = -log_det
    return y

  def _inverse(self, y: tf.Tensor) -> tf.Tensor:
    x, log_det = self._evaluate(y, True, self._values())
    self._cache.inverse_attributes(y)['ildj'] = log_det
    return x

  def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
    return self._evaluate(x, False, self._values())[1]

  def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
    return self._evaluate(y, True, self._values())[1]

  def copy(self, **overrides: Any) -> ImageBijector:
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


def event_ndims(bijector: tfb.Bijector) -> tuple[Any, Any]:
  """Least event dimensions of `forward` and of `inverse`.

  Integers for one tensor; TFP's own chains have NumPy's, which are turned into
  Python's. Structures of bijectors of several tensors stay as they are.
  """
  ndims = bijector.forward_min_event_ndims, bijector.inverse_min_event_ndims
  forward, inverse = (
      int(n) if isinstance(n, (np.ndarray, np.integer)) else n for n in ndims)
  return forward, inverse


# Layers of a chain: this library's, permutations, and any other bijector on
# images. Only the first two can do without stored activations.


def check_reversible(bijector: tfb.Bijector) -> None:
  """Raises NotImplementedError for layers that need stored activations."""
  if isinstance(bijector, ImageBijector):
    bijector._check_reversible()
  elif not bijector._is_permutation:
    raise NotImplementedError(
        f'`{bijector.name}` needs `memory="standard"`: it is neither an '
        '`ImageBijector` nor a permutation.')


def values_of(bijector: tfb.Bijector) -> list[Any]:
  """The values that `evaluate` takes."""
  return bijector._values() if isinstance(bijector, ImageBijector) else []


def evaluate(
    bijector: tfb.Bijector, x: tf.Tensor, inverse: bool, values: list[Any]
) -> tuple[tf.Tensor, tf.Tensor | None]:
  """A layer's value and log-determinant, where it can without TFP's cache.

  Args:
    bijector: A bijector on images.
    x: Images `[..., H, W, C]`.
    inverse: Whether to evaluate the inverse.
    values: As `values_of` gives them.

  Returns:
    The value, and the log-determinant of shape `[...]`, or None for 0.
  """
  direction = 'inverse' if inverse else 'forward'
  if isinstance(bijector, ImageBijector):
    y, log_det = bijector._evaluate(x, inverse, values)
    ndims = getattr(bijector, f'{direction}_min_event_ndims')
    if ndims < 3:
      log_det = tf.reduce_sum(log_det, axis=list(range(ndims - 3, 0)))
    return y, log_det
  y = getattr(bijector, direction)(x)
  if bijector._is_permutation:
    return y, None
  return y, getattr(bijector, f'{direction}_log_det_jacobian')(x, event_ndims=3)


def pull_back(
    bijector: tfb.Bijector, y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor,
    inverse: bool, values: list[Any],
) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
  """A layer's input and gradients from its output; see `_pull_back`."""
  if isinstance(bijector, ImageBijector):
    return bijector._pull_back(y, dy, dlog_det, inverse, values)
  # The transpose of a permutation is its inverse.
  back = bijector.forward if inverse else bijector.inverse
  return back(y), back(dy), []


def initialize(bijector: tfb.Bijector, y: tf.Tensor) -> tf.Tensor:
  """Initialises a layer from images and returns their `inverse`."""
  if isinstance(bijector, ImageBijector):
    return bijector._initialize_from(y)
  # A chain of TFP's: `tfb.Chain` makes objects of its base class.
  if isinstance(bijector, tfb.Chain.__mro__[1:2]):
    for part in bijector.bijectors:
      y = initialize(part, y)
    return y
  # A new tensor, which TFP's cache cannot have met.
  return bijector.inverse(tf.identity(y))


def _pull_back(
    function: Function, static: tuple[Any, ...], opposite: Function,
    opposite_static: tuple[Any, ...], y: tf.Tensor, dy: tf.Tensor,
    dlog_det: tf.Tensor, *values: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
  x, _ = opposite(*opposite_static, y, *values)
  x = tf.stop_gradient(x)
  y, log_det = function(*static, x, *values)
  # Summed over the image where the function gives one for each pixel.
  log_det = tf.reduce_sum(log_det, axis=list(range(1, log_det.shape.rank)))
  return (x, *gradients(
      [y, log_det], [x, *values], [dy, dlog_det]))


def gradients(outputs: list[tf.Tensor], inputs: list[tf.Tensor],
                     upstream: list[tf.Tensor]) -> list[tf.Tensor]:
  """Gradients in a graph that `_graph.call` traces, where tapes see nothing."""
  return tf.gradients(outputs, inputs, grad_ys=upstream,
                      unconnected_gradients=tf.UnconnectedGradients.ZERO)

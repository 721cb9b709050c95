"""A chain of bijectors that adds up log-determinants in the pass itself."""

from __future__ import annotations

from collections.abc import Sequence
import functools
import itertools
import operator
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf.bijectors import act_norm
from alignflow_tf.bijectors import log_det_bijector
from alignflow_tf.bijectors import shared_function
from alignflow_tf.bijectors import weights

__all__ = ['MEMORY', 'LogDetChain']

tfb = tfp.bijectors

MEMORY = ('standard', 'recompute', 'reversible')


class LogDetChain(log_det_bijector.LogDetBijector):
  """`tfb.Chain` for images, of one evaluation and a small graph.

  ```
  forward:  y = bijectors[0](bijectors[1](... bijectors[-1](x)))
  inverse:  x = bijectors[-1]^-1(... bijectors[0]^-1(y))
  forward log-det: the sum of theirs
  ```

  `tfb.Chain` asks each of its bijectors for the value, and later for the
  log-determinant, which it looks up in TFP's cache, broadcasts, and reduces: in
  a flow of dozens of small layers that is most of the graph. This class adds
  them up on the way. It takes no keyword arguments for its bijectors.

  What a gradient needs of the forward pass is stored by default (`memory` is
  'standard'), and grows with the number of bijectors. Two other ways need less,
  with the same gradients but for rounding:

  - 'recompute' stores what goes into each bijector, and computes each once more
    when its gradient is due (Chen et al. [1]);
  - 'reversible' stores just the result, and gets each input back from the
    bijector's own inverse (Gomez et al. [2]): no activation is stored, however
    many bijectors there are. A coupling's network is evaluated once for the way
    back and the gradient.

  Both take first-order gradients, of batches `[B, H, W, C]`.

  #### References

  [1]: Tianqi Chen, Bing Xu, Chiyuan Zhang, Carlos Guestrin. Training Deep Nets
       with Sublinear Memory Cost. 2016. https://arxiv.org/abs/1604.06174
  [2]: Aidan Gomez, Mengye Ren, Raquel Urtasun, Roger Grosse. The Reversible
       Residual Network: Backpropagation Without Storing Activations. In
       _NeurIPS_, 2017. https://arxiv.org/abs/1707.04585
  """

  def __init__(
      self,
      bijectors: Sequence[tfb.Bijector],
      memory: str = 'standard',
      validate_args: bool = False,
      name: str = 'log_det_chain',
  ):
    """Builds the chain.

    Args:
      bijectors: Bijectors on images `[..., H, W, C]`, in the order of
        `tfb.Chain`: `forward` applies the last one first.
      memory: What is stored for gradients, one of `MEMORY`. Chains in this one
        follow it.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      NotImplementedError: If a bijector is not one of this library's, and no
        permutation, and `memory` is not 'standard'.
      ValueError: If there is none, or one of them is not a bijector on images,
        or `memory` is unknown.
    """
    parameters = dict(locals())
    if memory not in MEMORY:
      raise ValueError(f'`memory` must be one of {MEMORY}, got {memory!r}.')
    bijectors = list(bijectors)
    if not bijectors or not all(
        isinstance(b, tfb.Bijector) for b in bijectors):
      raise ValueError(
          '`bijectors` must be one or more tfb.Bijectors, got '
          f'{bijectors!r}.')
    for b in bijectors:
      for ndims in log_det_bijector.event_ndims(b):
        if not isinstance(ndims, int) or ndims > 3:
          raise ValueError(
              '`bijectors` must take images, of three event dimensions; got '
              f'{b!r}, which takes {ndims}.')
    if memory != 'standard':
      for b in bijectors:
        log_det_bijector.values_of(b)  # Raises.
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          validate_args=validate_args,
          dtype=next((b.dtype for b in bijectors if b.dtype is not None), None),
          parameters=parameters,
          name=name)
      self._memory = memory
      self._sizes = self._no_dependency([])
      # Named as in `tfb.Chain`: checkpoints go by the names of attributes.
      self._bijectors_trackable = bijectors

  @property
  def bijectors(self) -> list[tfb.Bijector]:
    """The bijectors, the last one to be applied by `forward` first."""
    return list(self._bijectors_trackable)

  def _forward_and_log_det(
      self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return self._evaluate(x, 'forward')

  def _inverse_and_log_det(
      self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return self._evaluate(y, 'inverse')

  def _evaluate(
      self, x: tf.Tensor, direction: str) -> tuple[tf.Tensor, tf.Tensor]:
    if x.shape.rank is not None and x.shape.rank < 3:
      raise ValueError(
          f'`{self.name}.{direction}` takes images of shape [..., height, '
          f'width, channels], got {x.shape}.')
    if (self._memory == 'standard' or x.shape.rank != 4
        or act_norm.initializing() or weights.are_fixed()):
      log_dets = []
      for b in self._in_order(direction):
        x, log_det = log_det_bijector.evaluate(b, x, direction)
        log_dets.append(log_det)
      return x, _sum(log_dets, x)
    values = self._values()
    if self._memory == 'recompute':
      return self._run(direction, x, values, recompute=True)

    @tf.custom_gradient
    def run(x: tf.Tensor, *values: tf.Tensor) -> Any:
      y, log_det = self._run(direction, x, values, recompute=False)

      def gradient(dy: tf.Tensor, dlog_det: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return way_back(y, dy, dlog_det, *values)

      return (y, log_det), gradient

    @tf.custom_gradient
    def way_back(y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor,
                 *values: tf.Tensor) -> Any:
      # Inlined, the gradients of weights could wait while the way back runs
      # ahead, and keep what they need of every layer.
      with shared_function.not_inlined():
        _, dx, dvalues = self._pull_back(direction, y, dy, dlog_det, values)

      def second_order(*_: tf.Tensor) -> None:
        raise NotImplementedError(
            f"`memory='reversible'` of `{self.name}` has no gradients of "
            "gradients: use `memory='standard'`.")

      return (dx, *dvalues), second_order

    return run(x, *values)

  def _in_order(self, direction: str) -> list[tfb.Bijector]:
    bijectors = self.bijectors
    return bijectors[::-1] if direction == 'forward' else bijectors

  def _values(self) -> list[tf.Tensor]:
    parts = [log_det_bijector.values_of(b) for b in self._bijectors_trackable]
    self._sizes = self._no_dependency([len(part) for part in parts])
    return [value for part in parts for value in part]

  def _split(self, values: Sequence[tf.Tensor]) -> list[Sequence[tf.Tensor]]:
    """The values of each bijector, in their order."""
    ends = list(itertools.accumulate(self._sizes))
    return [values[end - size:end]
            for end, size in zip(ends, self._sizes, strict=True)]

  def _run(self, direction: str, x: tf.Tensor, values: Sequence[tf.Tensor],
           recompute: bool) -> tuple[tf.Tensor, tf.Tensor]:
    parts = self._split(values)
    if direction == 'forward':
      parts = parts[::-1]
    log_dets = []
    for b, part in zip(self._in_order(direction), parts, strict=True):
      x, log_det = log_det_bijector.run(b, direction, x, part, recompute)
      log_dets.append(log_det)
    return x, _sum(log_dets, x)

  def _pull_back(
      self, direction: str, y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor,
      values: Sequence[tf.Tensor]
  ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    # From the result on: the opposite of the order of evaluation.
    bijectors, parts = self.bijectors, self._split(values)
    order = range(len(bijectors))
    gradients: list[list[tf.Tensor]] = [[] for _ in order]
    for i in order if direction == 'forward' else reversed(order):
      y, dy, gradients[i] = log_det_bijector.pull_back(
          bijectors[i], direction, y, dy, dlog_det, parts[i])
    return y, dy, [g for part in gradients for g in part]

  def _fold(self, method: str, value: Any, reverse: bool) -> Any:
    bijectors = self.bijectors
    for b in reversed(bijectors) if reverse else bijectors:
      value = getattr(b, method)(value)
    return value

  def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
    return self._fold('forward_event_shape', shape, reverse=True)

  def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
    return self._fold('inverse_event_shape', shape, reverse=False)

  def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
    return self._fold('forward_event_shape_tensor', shape, reverse=True)

  def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
    return self._fold('inverse_event_shape_tensor', shape, reverse=False)


def _sum(log_dets: list[tf.Tensor | None], x: tf.Tensor) -> tf.Tensor:
  """The sum of what is not None, zeros `[...]` for images `x` if nothing is."""
  found = [log_det for log_det in log_dets if log_det is not None]
  if not found:
    return tf.zeros(tf.shape(x)[:-3], x.dtype)
  # Other libraries' may be scalars: `tf.add_n` does not broadcast.
  return functools.reduce(operator.add, found)

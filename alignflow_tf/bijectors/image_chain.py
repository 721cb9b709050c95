"""A chain of bijectors that adds up log-determinants in the pass itself."""

from __future__ import annotations

from collections.abc import Sequence
import functools
import operator
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _graph
from alignflow_tf.bijectors import image_bijector

__all__ = ['ImageChain']

tfb = tfp.bijectors

_MEMORY = ('standard', 'reversible')


class ImageChain(image_bijector.ImageBijector):
  """`tfb.Chain` for images, with one evaluation a layer and a small graph.

  ```
  forward:  y = bijectors[0](bijectors[1](... bijectors[-1](x)))
  inverse:  x = bijectors[-1]^-1(... bijectors[0]^-1(y))
  forward log-det: the sum of the bijectors' log-determinants
  ```

  `tfb.Chain` asks each of its bijectors for the value, and later for the
  log-determinant, which it looks up in TFP's cache, broadcasts and reduces: in
  a flow of dozens of small layers that is most of the graph. This class adds
  them up on the way. It takes no keyword arguments for its bijectors.

  By default (`memory='standard'`) all activations are stored for the gradient,
  in memory that grows with the number of bijectors. With `memory='reversible'`
  only the result is stored, and each layer's input is computed again by the
  layer's own inverse (Gomez et al. [1]). A coupling evaluates its network once
  for the way back and the gradient. Gradients are the same but for rounding,
  and of first order only: gradients of gradients raise NotImplementedError. It
  applies to batches `[B, H, W, C]`; others are computed as by 'standard'.

  Examples:
    >>> flow = bijectors.ImageChain([
    ...     bijectors.ActNorm(4), bijectors.InvertibleConv1x1(4)])
    >>> flow.inverse_log_det_jacobian(tf.ones([2, 8, 8, 4])).shape
    TensorShape([2])

  #### References

  [1]: Aidan Gomez, Mengye Ren, Raquel Urtasun, Roger Grosse. The Reversible
       Residual Network: Backpropagation Without Storing Activations. In
       _NeurIPS_, 2017. https://arxiv.org/abs/1707.04585
  """

  def __init__(
      self,
      bijectors: Sequence[tfb.Bijector],
      memory: str = 'standard',
      validate_args: bool = False,
      name: str = 'image_chain',
  ):
    """Builds the chain.

    Args:
      bijectors: Bijectors on images `[..., H, W, C]`, in the order of
        `tfb.Chain`: `forward` applies the last one first.
      memory: 'standard' or 'reversible', for all that is within.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      NotImplementedError: If `memory` is 'reversible' and a bijector is neither
        an `ImageBijector` nor a permutation.
      ValueError: If there is no bijector, one of them is not a bijector on
        images, or `memory` is unknown.
    """
    parameters = dict(locals())
    if memory not in _MEMORY:
      raise ValueError(f'`memory` must be one of {_MEMORY}, got {memory!r}.')
    bijectors = list(bijectors)
    if not bijectors or not all(
        isinstance(b, tfb.Bijector) for b in bijectors):
      raise ValueError(
          '`bijectors` must be one or more tfb.Bijectors, got '
          f'{bijectors!r}.')
    for b in bijectors:
      for ndims in image_bijector.event_ndims(b):
        if not isinstance(ndims, int) or ndims > 3:
          raise ValueError(
              '`bijectors` must take images, of three event dimensions; got '
              f'{b!r}, which takes {ndims}.')
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          validate_args=validate_args,
          dtype=next((b.dtype for b in bijectors if b.dtype is not None), None),
          parameters=parameters,
          name=name)
      self._memory = memory
      # Named as in `tfb.Chain`: checkpoints go by the names of attributes.
      self._bijectors_trackable = bijectors
    if memory == 'reversible':
      self._check_reversible()

  @property
  def bijectors(self) -> list[tfb.Bijector]:
    """The bijectors; `forward` applies the last one first."""
    return list(self._bijectors_trackable)

  def _check_reversible(self) -> None:
    for b in self.bijectors:
      image_bijector.check_reversible(b)

  def _values(self) -> list[Any]:
    return [image_bijector.values_of(b) for b in self._bijectors_trackable]

  def _evaluate(
      self, x: tf.Tensor, inverse: bool, values: list[Any]
  ) -> tuple[tf.Tensor, tf.Tensor]:
    if x.shape.rank is not None and x.shape.rank < 3:
      raise ValueError(
          f'`{self.name}` takes images of shape [..., height, width, channels],'
          f' got {x.shape}.')
    if self._memory == 'standard' or x.shape.rank != 4:
      return self._evaluate_layers(x, inverse, values)

    def nested(flat: Sequence[tf.Tensor]) -> list[Any]:
      return tf.nest.pack_sequence_as(values, list(flat))

    @tf.custom_gradient
    def run(x: tf.Tensor, *flat: tf.Tensor) -> Any:
      y, log_det = self._evaluate_layers(x, inverse, nested(flat))

      def gradient(dy: tf.Tensor, dlog_det: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return way_back(y, dy, dlog_det, *flat)

      return (y, log_det), gradient

    @tf.custom_gradient
    def way_back(y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor,
                 *flat: tf.Tensor) -> Any:
      # Inlined, the gradients of weights could wait while the way back runs
      # ahead, and keep what they need of every layer.
      with _graph.not_inlined():
        _, dx, dvalues = self._pull_back(
            y, dy, dlog_det, inverse, nested(flat))

      def second_order(*_: tf.Tensor) -> None:
        raise NotImplementedError(
            f"`memory='reversible'` of `{self.name}` has no gradients of "
            "gradients: use `memory='standard'`.")

      return (dx, *tf.nest.flatten(dvalues)), second_order

    return run(x, *map(tf.convert_to_tensor, tf.nest.flatten(values)))

  def _evaluate_layers(
      self, x: tf.Tensor, inverse: bool, values: list[Any]
  ) -> tuple[tf.Tensor, tf.Tensor]:
    layers = list(zip(self.bijectors, values, strict=True))
    log_dets = []
    for b, part in layers if inverse else reversed(layers):
      x, log_det = image_bijector.evaluate(b, x, inverse, part)
      if log_det is not None:
        log_dets.append(log_det)
    if not log_dets:
      return x, tf.zeros(tf.shape(x)[:-3], x.dtype)
    # Not `tf.add_n`: other libraries' log-determinants may be scalars.
    return x, functools.reduce(operator.add, log_dets)

  def _pull_back(
      self, y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor, inverse: bool,
      values: list[Any],
  ) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
    layers = list(enumerate(self.bijectors))
    gradients: list[Any] = [[] for _ in layers]
    # From the result on: the opposite of the order of evaluation.
    for i, b in reversed(layers) if inverse else layers:
      y, dy, gradients[i] = image_bijector.pull_back(
          b, y, dy, dlog_det, inverse, values[i])
    return y, dy, gradients

  def _initialize_from(self, y: tf.Tensor) -> tf.Tensor:
    for b in self.bijectors:
      y = image_bijector.initialize(b, y)
    return y

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

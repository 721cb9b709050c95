"""The one way to hold a Keras 3 network within a `tf.Module`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import copy
from typing import Any

import keras
import tensorflow as tf

__all__ = ['PureNetwork', 'Tracked', 'for_any_batch']


class PureNetwork(keras.layers.Layer):
  """A Keras layer that offers itself as a pure function of inputs and weights.

  Networks that compute alike return one function, so that they share a trace.
  """

  @property
  def function(self) -> Callable[..., tf.Tensor]:
    """The layer, for `function(inputs, *normalized())`."""
    raise NotImplementedError

  def normalized(self) -> list[tf.Tensor]:
    """The weights as `function` takes them."""
    raise NotImplementedError


class Tracked(tf.Module):
  """A Keras 3 network whose variables a `tf.Module` finds, saves and exports.

  A `tf.Module`, hence a `tfb.Bijector`, does not see the variables of a Keras 3
  network that is its attribute: `trainable_variables` lacks them, and TF
  Serving cannot load them. Wrapped in `Tracked` they are trained, saved in
  checkpoints under their own names, and exported.

  ```python
  class Scaled(tfb.Bijector):

    def __init__(self):
      super().__init__(forward_min_event_ndims=1)
      self.network = networks.Tracked(keras.layers.Dense(3), [None, 3])

    def _forward(self, x):
      return x * tf.exp(self.network(tf.ones_like(x)))

    ...

  len(Scaled().trainable_variables)  # 2: the kernel and the bias.
  ```

  Attributes:
    layer: The Keras layer or model.
  """

  def __init__(
      self,
      layer: keras.layers.Layer,
      input_shape: Sequence[int | None] | None = None,
      name: str = 'network',
  ):
    """Wraps a network and builds it where it is not.

    Args:
      layer: A Keras layer or model.
      input_shape: Shape of its inputs with the batch, as `[None, 8, 8, 3]`;
        needed unless the network is built.
      name: Name of the module.

    Raises:
      ValueError: If `layer` is not a Keras layer, or is not built and there is
        no `input_shape`.
    """
    super().__init__(name=name)
    if not isinstance(layer, keras.layers.Layer):
      raise ValueError(
          f'`layer` must be a Keras layer or model, got {layer!r}.')
    if not layer.built:
      if input_shape is None:
        raise ValueError(
            f'`input_shape` must be given for {layer.name!r}, which is not '
            'built: its variables are not known yet.')
      layer.build(tuple(input_shape))
    # Hidden from tracking: Keras 3 maps its objects to new variables in a
    # SavedModel. The raw variables are tracked in their place.
    self.layer = self._no_dependency(layer)
    self._layer_variables = _by_name(layer)

  def __call__(self, inputs: tf.Tensor, **kwargs: Any) -> tf.Tensor:
    """The network's outputs; for an empty batch, empty ones."""
    return for_any_batch(lambda x: self.layer(x, **kwargs), inputs)

  @property
  def function(self) -> Callable[..., tf.Tensor]:
    """The network as a pure function, for `function(inputs, *values())`."""
    if isinstance(self.layer, PureNetwork):
      return self.layer.function
    return self._stateless

  def values(self) -> list[tf.Tensor]:
    """The current values of the variables, as `function` takes them."""
    if isinstance(self.layer, PureNetwork):
      return list(self.layer.normalized())
    return [v.value for v in (*self.layer.trainable_variables,
                              *self.layer.non_trainable_variables)]

  def _stateless(self, inputs: tf.Tensor, *values: tf.Tensor) -> tf.Tensor:
    count = len(self.layer.trainable_variables)
    outputs, _ = self.layer.stateless_call(
        values[:count], values[count:], inputs)
    return outputs

  def __deepcopy__(self, memo: dict[int, Any]) -> Tracked:
    made = Tracked(copy.deepcopy(self.layer, memo), name=self.name)
    memo[id(self)] = made
    return made


def for_any_batch(
    function: Callable[..., tf.Tensor], inputs: tf.Tensor, *args: Any
) -> tf.Tensor:
  """`function(inputs, *args)`, for empty batches too.

  oneDNN's convolutions (TensorFlow's on most servers' processors) give an empty
  batch the shape of their input. One row of zeros stands in for no row.

  Args:
    function: Takes `[B, ...]` to `[B, ...]`, row by row.
    inputs: `[B, ...]`, `B` being 0 or more.
    *args: Further arguments.

  Returns:
    A `Tensor` of `B` rows.
  """
  if inputs.shape[0]:
    return function(inputs, *args)
  shape = tf.shape(inputs)
  rows = shape[0]
  missing = tf.cast(rows == 0, tf.int32)
  # Not `tf.pad`, of which converters to LiteRT infer no shape.
  zeros = tf.zeros(tf.concat([[missing], shape[1:]], axis=0), inputs.dtype)
  padded = tf.concat([inputs, zeros], axis=0)
  return function(padded, *args)[:rows]


def _by_name(layer: keras.layers.Layer) -> dict[str, tf.Variable]:
  """A layer's raw variables by names that do not depend on the process."""
  names = [v.name for v in layer.variables]
  if len(set(names)) < len(names):
    # Keras calls each layer's 'kernel' and 'bias', and numbers the layers
    # themselves on through the process.
    names = [f'{i}_{name}' for i, name in enumerate(names)]
  return {name: v.value
          for name, v in zip(names, layer.variables, strict=True)}

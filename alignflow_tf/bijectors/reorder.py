"""From one order of squeezed images' channels to another."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _graph
from alignflow_tf.bijectors import squeeze

__all__ = ['Reorder']

tfb = tfp.bijectors


class Reorder(tfb.Bijector):
  """Permutes the channels of squeezed images.

  ```
  forward:  channels of the order `source` -> of the order `target`
  forward log-det: 0
  ```

  The orders are those of `Squeeze`.

  Examples:
    >>> reorder = bijectors.Reorder('raster', 'alternate')
    >>> reorder.forward(tf.constant([[[[0, 1, 2, 3]]]])).numpy().ravel()
    array([0, 3, 1, 2], dtype=int32)
  """

  def __init__(
      self,
      source: str,
      target: str,
      validate_args: bool = False,
      name: str = 'reorder',
  ):
    """Builds the bijector.

    Args:
      source: Order of the channels that `forward` takes, one of
        `squeeze.ORDERS`.
      target: Order of the channels that `forward` gives.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If an order is unknown.
    """
    parameters = dict(locals())
    squeeze.channel_permutation(1, source)
    squeeze.channel_permutation(1, target)
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          is_constant_jacobian=True,
          validate_args=validate_args,
          parameters=parameters,
          name=name)
      self._source = source
      self._target = target

  @classmethod
  def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict:
    del dtype, num_classes
    return {}

  @property
  def _is_permutation(self) -> bool:
    return True

  def _forward(self, x: tf.Tensor) -> tf.Tensor:
    return self._reorder(x, self._source, self._target)

  def _inverse(self, y: tf.Tensor) -> tf.Tensor:
    return self._reorder(y, self._target, self._source)

  def _reorder(self, x: tf.Tensor, source: str, target: str) -> tf.Tensor:
    if x.shape.rank is None or x.shape.rank < 3 or (
        x.shape[-1] is None or x.shape[-1] % 4):
      raise ValueError(
          f'`{self.name}` takes images of shape [..., height, width, channels] '
          f'with a number of channels that 4 divides, got {x.shape}.')
    return _graph.call(_reorder, (source, target), x)

  def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
    return tf.zeros([], y.dtype)

  def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
    return tf.zeros([], x.dtype)


def _reorder(source: str, target: str, x: tf.Tensor) -> tf.Tensor:
  return squeeze.reorder(x, source, target)

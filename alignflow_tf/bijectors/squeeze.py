"""Squeeze: trades rows and columns for channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _graph

__all__ = ['ORDERS', 'Squeeze', 'channel_permutation', 'reorder']

tfb = tfp.bijectors

# Where each 2x2 block's pixels (row, column) go. `tf.nn.space_to_depth` lists
# them in raster order, all channels of a pixel together.
_RASTER = ((0, 0), (0, 1), (1, 0), (1, 1))
_DIAGONAL = ((0, 0), (1, 1), (0, 1), (1, 0))

ORDERS = ('channel', 'raster', 'alternate')


def channel_permutation(channels: int, order: str) -> np.ndarray:
  """Returns which raster-order channel stands at each place of an order.

  Args:
    channels: Number of channels before squeezing.
    order: One of `ORDERS`; see `Squeeze`.

  Returns:
    An int32 array `p` of shape `[4 * channels]`: channel `i` of the squeezed
    images in that order is channel `p[i]` of `tf.nn.space_to_depth`.

  Raises:
    ValueError: If `order` is unknown.

  Examples:
    >>> bijectors.channel_permutation(2, 'channel')
    array([0, 2, 4, 6, 1, 3, 5, 7], dtype=int32)
  """
  raster = np.arange(4 * channels, dtype=np.int32).reshape(4, channels)
  if order == 'raster':
    return raster.reshape(-1)
  if order == 'channel':
    return raster.T.reshape(-1)
  if order == 'alternate':
    return raster[[_RASTER.index(offset) for offset in _DIAGONAL]].reshape(-1)
  raise ValueError(f'`order` must be one of {ORDERS}, got {order!r}.')


class Squeeze(tfb.Bijector):
  """Takes each 2x2 block of pixels to one pixel of four times the channels.

  ```
  forward:  [..., H, W, C] -> [..., H / 2, W / 2, 4 C]
  inverse:  [..., H, W, 4 C] -> [..., 2 H, 2 W, C]
  forward log-det: 0
  ```

  The order of the channels of the result, of a pixel at (row, column) of its
  block and channel c:

  - `'channel'` (Real NVP's): `4 * c + 2 * row + column`;
  - `'raster'` (`tf.nn.space_to_depth`): `(2 * row + column) * C + c`;
  - `'alternate'`: the blocks' diagonal pixels (0, 0), (1, 1) first, then (0, 1)
    and (1, 0), all channels of a pixel together, so that the first half of the
    channels is one colour of a checkerboard. It is the order in which Real NVP
    factors out half of the variables.

  Examples:
    >>> squeeze = bijectors.Squeeze()
    >>> squeeze.forward(tf.zeros([1, 4, 4, 3])).shape
    TensorShape([1, 2, 2, 12])

  #### References

  [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017, section 3.6.
       https://arxiv.org/abs/1605.08803
  """

  def __init__(
      self,
      order: str = 'channel',
      validate_args: bool = False,
      name: str = 'squeeze',
  ):
    """Builds the bijector.

    Args:
      order: Order of the resulting channels, one of `ORDERS`.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If `order` is unknown.
    """
    parameters = dict(locals())
    channel_permutation(1, order)
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          is_constant_jacobian=True,
          validate_args=validate_args,
          parameters=parameters,
          name=name)
      self._order = order

  @classmethod
  def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict:
    del dtype, num_classes
    return {}

  @property
  def order(self) -> str:
    """Order of the channels after squeezing."""
    return self._order

  @property
  def _is_permutation(self) -> bool:
    return True

  def _forward(self, x: tf.Tensor) -> tf.Tensor:
    _check_image(self, x, 'forward')
    if any(size is not None and size % 2 for size in x.shape[-3:-1]):
      raise ValueError(
          f'`{self.name}` halves rows and columns, which must be even; got '
          f'images of shape {x.shape}.')
    return _fold_batch(
        lambda v: _graph.call(_squeeze, (self._order,), v), x)

  def _inverse(self, y: tf.Tensor) -> tf.Tensor:
    _check_image(self, y, 'inverse')
    if y.shape[-1] % 4:
      raise ValueError(
          f'The inverse of `{self.name}` takes a number of channels that 4 '
          f'divides; got images of shape {y.shape}.')
    return _fold_batch(
        lambda v: _graph.call(_unsqueeze, (self._order,), v), y)

  def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
    return tf.zeros([], y.dtype)

  def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
    return tf.zeros([], x.dtype)

  def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
    if shape.rank is None or shape.rank < 3:
      return shape
    height, width, channels = shape[-3:]
    return shape[:-3].concatenate([
        None if height is None else height // 2,
        None if width is None else width // 2,
        None if channels is None else channels * 4])

  def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
    if shape.rank is None or shape.rank < 3:
      return shape
    height, width, channels = shape[-3:]
    return shape[:-3].concatenate([
        None if height is None else height * 2,
        None if width is None else width * 2,
        None if channels is None else channels // 4])

  def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
    factor = tf.constant([2, 2], shape.dtype)
    return tf.concat(
        [shape[:-3], shape[-3:-1] // factor, shape[-1:] * 4], axis=0)

  def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
    factor = tf.constant([2, 2], shape.dtype)
    return tf.concat(
        [shape[:-3], shape[-3:-1] * factor, shape[-1:] // 4], axis=0)


def reorder(x: tf.Tensor, source: str, target: str) -> tf.Tensor:
  """Takes channels from one order of squeezed images to another.

  Blocks are split and joined in place of a `tf.gather`, whose gradient is a
  slow scatter.

  Args:
    x: Squeezed images `[..., H, W, 4 C]`.
    source: Their order, one of `ORDERS`.
    target: The order wanted.

  Returns:
    A `Tensor` of the same shape.
  """
  if source == target:
    return x
  shape, channels = tf.shape(x), x.shape[-1] // 4
  # By offset in the 2x2 block, in raster order.
  if source == 'channel':
    x = tf.reshape(x, tf.concat([shape[:-1], [channels, 4]], axis=0))
    blocks = tf.unstack(x, axis=-1)
  else:
    blocks = tf.split(x, 4, axis=-1)
    if source == 'alternate':
      blocks = [blocks[_DIAGONAL.index(offset)] for offset in _RASTER]
  if target == 'channel':
    return tf.reshape(tf.stack(blocks, axis=-1), shape)
  if target == 'alternate':
    blocks = [blocks[_RASTER.index(offset)] for offset in _DIAGONAL]
  return tf.concat(blocks, axis=-1)


def _squeeze(order: str, x: tf.Tensor) -> tf.Tensor:
  return reorder(tf.nn.space_to_depth(x, 2), 'raster', order)


def _unsqueeze(order: str, y: tf.Tensor) -> tf.Tensor:
  return tf.nn.depth_to_space(reorder(y, order, 'raster'), 2)


def _check_image(bijector: tfb.Bijector, x: tf.Tensor, direction: str) -> None:
  if x.shape.rank is None or x.shape.rank < 3 or x.shape[-1] is None:
    raise ValueError(
        f'`{bijector.name}.{direction}` takes images of shape [..., height, '
        f'width, channels] with a known number of channels, got {x.shape}.')


def _fold_batch(fn: Any, x: tf.Tensor) -> tf.Tensor:
  """Applies `fn`, which takes rank 4, to images of any batch shape."""
  if x.shape.rank == 4:
    return fn(x)
  shape = tf.shape(x)
  folded = tf.reshape(x, tf.concat([[-1], shape[-3:]], axis=0))
  folded.set_shape([None, *x.shape[-3:]])
  y = fn(folded)
  result = tf.reshape(y, tf.concat([shape[:-3], tf.shape(y)[-3:]], axis=0))
  result.set_shape(x.shape[:-3].concatenate(y.shape[-3:]))
  return result

"""Factoring out half of the channels between two scales of a flow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf.bijectors import image_bijector

__all__ = ['FactorOut']

tfb = tfp.bijectors


class FactorOut(image_bijector.ImageBijector):
  """Applies a bijector to the first half of the channels, none to the second.

  ```
  x1, x2 = split(x);  y1, y2 = split(y)      # halves of the channels
  forward:  y = concat(inner.forward(x1), x2)
  inverse:  x = concat(inner.inverse(y1), y2)
  forward log-det: inner.forward_log_det_jacobian(x1)
  ```

  It makes a flow multi-scale: `inner` holds the coarser scales, and the second
  half is latent as it stands. Both halves come back in one tensor, so a latent
  has as many dimensions as its image.

  Examples:
    >>> flow = bijectors.FactorOut(tfp.bijectors.Scale(2.))
    >>> flow.forward(tf.ones([1, 1, 1, 4])).numpy().ravel()
    array([2., 2., 1., 1.], dtype=float32)

  #### References

  [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017, section 3.6.
       https://arxiv.org/abs/1605.08803
  """

  def __init__(
      self,
      inner: tfb.Bijector,
      validate_args: bool = False,
      name: str = 'factor_out',
  ):
    """Builds the bijector.

    Args:
      inner: A `tfb.Bijector` on images that keeps their shape.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If `inner` is not a bijector on images. One that changes
        their shape is refused with the first shape that it changes.
    """
    parameters = dict(locals())
    if not isinstance(inner, tfb.Bijector):
      raise ValueError(f'`inner` must be a tfb.Bijector, got {inner!r}.')
    ndims = image_bijector.event_ndims(inner)
    if ndims[0] != ndims[1] or not isinstance(ndims[0], int) or ndims[0] > 3:
      raise ValueError(
          '`inner` must take images, of three event dimensions, to images; got '
          f'{inner.name}, which takes events of {ndims[0]} dimensions to '
          f'{ndims[1]}.')
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          validate_args=validate_args,
          dtype=inner.dtype,
          parameters=parameters,
          name=name)
      self._inner = inner

  @property
  def inner(self) -> tfb.Bijector:
    """The bijector of the first half."""
    return self._inner

  def _halves(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    if x.shape.rank is None or x.shape.rank < 3 or (
        x.shape[-1] is None or x.shape[-1] % 2):
      raise ValueError(
          f'`{self.name}` takes images of shape [..., height, width, channels] '
          f'with an even number of channels, got {x.shape}.')
    first, second = tf.split(x, 2, axis=-1)
    return first, second

  def _values(self) -> list[Any]:
    return image_bijector.values_of(self._inner)

  def _check_reversible(self) -> None:
    image_bijector.check_reversible(self._inner)

  def _evaluate(
      self, x: tf.Tensor, inverse: bool, values: list[Any]
  ) -> tuple[tf.Tensor, tf.Tensor]:
    first, second = self._halves(x)
    result, log_det = image_bijector.evaluate(
        self._inner, first, inverse, values)
    self._check_kept(first.shape, result.shape)
    if log_det is None:
      log_det = tf.zeros(tf.shape(x)[:-3], x.dtype)
    return tf.concat([result, second], axis=-1), log_det

  def _pull_back(
      self, y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor, inverse: bool,
      values: list[Any],
  ) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
    (first, second), (dfirst, dsecond) = self._halves(y), self._halves(dy)
    first, dfirst, dvalues = image_bijector.pull_back(
        self._inner, first, dfirst, dlog_det, inverse, values)
    return (tf.concat([first, second], axis=-1),
            tf.concat([dfirst, dsecond], axis=-1), dvalues)

  def _initialize_from(self, y: tf.Tensor) -> tf.Tensor:
    first, second = self._halves(y)
    return tf.concat(
        [image_bijector.initialize(self._inner, first), second], axis=-1)

  def _check_kept(self, before: tf.TensorShape, after: tf.TensorShape) -> None:
    if not after.is_compatible_with(before):
      raise ValueError(
          '`inner` must keep the shape of images, the first half of the '
          f'channels; got {self._inner.name}, which takes {before} to {after}.')

  def _event_shape(
      self, shape: tf.TensorShape, direction: str) -> tf.TensorShape:
    if shape.rank is not None and shape.rank >= 3 and shape[-1] is not None:
      first = shape[:-1].concatenate([shape[-1] // 2])
      self._check_kept(
          first, getattr(self._inner, f'{direction}_event_shape')(first))
    return shape

  def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
    return self._event_shape(shape, 'forward')

  def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
    return self._event_shape(shape, 'inverse')

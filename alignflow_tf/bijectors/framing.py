"""Brings what images show into one frame: an invertible change of its size."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf import images as images_lib
from alignflow_tf.bijectors import image_bijector

__all__ = ['Framing']


class Framing(image_bijector.ImageBijector):
  """An invertible linear map of rows and of columns, set from data.

  ```
  forward:  y = background + R (x - background) C^T     for each channel
  inverse:  x = background + R^-1 (y - background) C^-T
  forward log-det: channels * (W * log |det R| + H * log |det C|)
  ```

  For images of things on a plain background that fill more of the picture in
  one domain than in the other (USPS's digits reach its edges, MNIST's do not).
  Couplings learn slowly to move strokes by pixels; this map does it before the
  first step. It is what `ActNorm` is to brightness: the inverse brings images
  to a frame that all domains share, in which what differs from the background
  lies about the middle with a standard deviation of `spread` of the height and
  of the width. Sizes change by a factor of 2 at most. `initialize_from_data`
  sets it from data, without labels or pairs; nothing of it is trained, and it
  starts as the identity.

  `R` and `C` resample by linear interpolation, averaged where they shrink. To
  shrink loses what is finer than a pixel, and to enlarge what leaves the
  picture. Therefore singular values below `floor` are raised to it: what would
  be lost stays, faintly, where the picture has room, and the way back is exact.

  The idea of linear maps along an image's axes within a flow is that of the
  spatial Woodbury transformation [1], whose maps are learned.

  Examples:
    >>> images = np.zeros([1, 8, 8, 1], np.float32)
    >>> images[:, :2, :2] = 1.   # Small, and in a corner.
    >>> framing = bijectors.Framing((8, 8, 1))
    >>> bijectors.initialize_from_data(framing, tf.constant(images))
    >>> framed = framing.inverse(images)
    >>> float(tf.reduce_max(tf.abs(framing.forward(framed) - images))) < 1e-5
    True

  #### References

  [1]: You Lu, Bert Huang. Woodbury Transformations for Deep Generative Flows.
       In _NeurIPS_, 2020. https://arxiv.org/abs/2002.12229
  """

  _STATE = ('_background', '_rows', '_columns', '_rows_inverse',
            '_columns_inverse', '_log_det')

  def __init__(
      self,
      event_shape: tuple[int, int, int],
      spread: float = 0.2,
      floor: float = 0.6,
      dtype: Any = tf.float32,
      validate_args: bool = False,
      name: str = 'framing',
  ):
    """Builds the bijector as the identity.

    Args:
      event_shape: `(height, width, channels)` of the images.
      spread: Standard deviation in the shared frame, of height and width, in
        (0, 0.5]. Which it is matters little: translation takes it back.
      floor: Least singular value of `R` and `C`, in (0, 1].
      dtype: Floating type.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If an argument is out of range.
    """
    parameters = dict(locals())
    shape = images_lib.check_event_shape(event_shape)
    spread = _checks.number('spread', spread, 0., 0.5, inclusive=True)
    floor = _checks.number('floor', floor, 0., 1., inclusive=True)
    dtype = _checks.floating_type('dtype', dtype)
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          is_constant_jacobian=True,
          validate_args=validate_args,
          dtype=dtype,
          parameters=parameters,
          name=name)
      self._shape = shape
      self._spread = spread
      self._floor = floor

      def variable(value: np.ndarray, name: str) -> tf.Variable:
        return tf.Variable(
            tf.constant(value, dtype), trainable=False, name=name)

      height, width, channels = shape
      self._background = variable(np.zeros(channels), 'background')
      self._rows = variable(np.eye(height), 'rows')
      self._columns = variable(np.eye(width), 'columns')
      # Inverted once, in float64, and not in each pass.
      self._rows_inverse = variable(np.eye(height), 'rows_inverse')
      self._columns_inverse = variable(np.eye(width), 'columns_inverse')
      self._log_det = variable(np.zeros([]), 'log_det')

  @property
  def rows(self) -> tf.Variable:
    """`R`, of shape `[height, height]`."""
    return self._rows

  @property
  def columns(self) -> tf.Variable:
    """`C`, of shape `[width, width]`."""
    return self._columns

  def _set(self, images: np.ndarray) -> None:
    """Sets the map from what reaches it on the way to the latent."""
    images = np.asarray(images, np.float64).reshape(-1, *self._shape)
    edge = np.concatenate([
        images[:, [0, -1]].reshape(-1, self._shape[-1]),
        images[:, :, [0, -1]].reshape(-1, self._shape[-1])])
    background = np.median(edge, axis=0)
    mass = np.abs(images - background).mean(axis=(0, 3))
    maps = [_resampling(mass.sum(axis=1 - axis), self._spread, self._floor)
            for axis in (0, 1)]
    self._background.assign(background)
    for matrix, variable, inverse in zip(
        maps, (self._rows, self._columns),
        (self._rows_inverse, self._columns_inverse), strict=True):
      variable.assign(matrix)
      inverse.assign(np.linalg.inv(matrix))
    height, width, channels = self._shape
    self._log_det.assign(channels * (
        width * np.linalg.slogdet(maps[0])[1] +
        height * np.linalg.slogdet(maps[1])[1]))

  def _function(self, inverse: bool) -> tuple[Any, ...]:
    return _resample, (inverse,)

  def _initialize_from(self, y: tf.Tensor) -> tf.Tensor:
    self._check(y)
    self._set(y.numpy())
    return super()._initialize_from(y)

  def _values(self) -> list[Any]:
    return [self._background, self._rows, self._columns, self._rows_inverse,
            self._columns_inverse, self._log_det]

  def _check(self, x: tf.Tensor) -> None:
    if x.shape.rank is None or x.shape.rank < 3 or (
        not x.shape[-3:].is_compatible_with(self._shape)):
      raise ValueError(
          f'`{self.name}` takes images of shape [..., '
          f'{", ".join(map(str, self._shape))}], got {x.shape}.')


def _resampling(mass: np.ndarray, spread: float, floor: float) -> np.ndarray:
  """The matrix that takes the shared frame to where `mass` lies.

  Args:
    mass: `[n]`, how much each row differs from the background.
    spread: Standard deviation in the shared frame, of `n`.
    floor: Least singular value.

  Returns:
    `[n, n]`.
  """
  size = len(mass)
  places = np.arange(size)
  if mass.sum() <= 0.:
    return np.eye(size)
  weights = mass / mass.sum()
  middle = weights @ places
  stddev = np.sqrt(weights @ (places - middle)**2)
  # Beyond a factor of 2 it is no matter of framing.
  step = np.clip(spread * size / max(stddev, 1e-6), 0.5, 2.)
  where = (size - 1) / 2. + (places[:, np.newaxis] - middle) * step
  reach = max(1., step)
  matrix = np.maximum(0., 1. - np.abs(where - places) / reach) / reach
  left, values, right = np.linalg.svd(matrix)
  return left @ np.diag(np.maximum(values, floor)) @ right


def _resample(
    inverse: bool, x: tf.Tensor, background: tf.Tensor, rows: tf.Tensor,
    columns: tf.Tensor, rows_inverse: tf.Tensor, columns_inverse: tf.Tensor,
    log_det: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """`Framing` as a pure function: its value and log-determinant."""
  if inverse:
    rows, columns, log_det = rows_inverse, columns_inverse, -log_det
  shape = tf.shape(x)
  y = tf.matmul(columns, x - background)
  # Products of matrices alone, which every converter of graphs knows.
  y = tf.matmul(rows, tf.reshape(y, tf.concat(
      [shape[:-2], [shape[-2] * shape[-1]]], axis=0)))
  y = background + tf.reshape(y, shape)
  return y, tf.broadcast_to(log_det, shape[:-3])

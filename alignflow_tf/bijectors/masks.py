"""Masks of couplings: which part conditions, which part changes.

Convention, in words: the *kept* part passes through a coupling unchanged and is
what the network sees; the *changed* part is transformed. With `reverse=False`,

- a checkerboard mask keeps the pixels where `row + column` is odd, for all
  channels, so the top-left pixel is changed;
- a channel mask keeps the second half of the channels and changes the first.

`reverse=True` swaps the two parts.

#### References

[1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using
     Real NVP. In _ICLR_, 2017, section 3.4 and figure 3.
     https://arxiv.org/abs/1605.08803
"""

from __future__ import annotations

import abc

import numpy as np
import tensorflow as tf

__all__ = ['ChannelMask', 'CheckerboardMask', 'Mask', 'checkerboard']


def checkerboard(
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    reverse: bool = False,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
  """Returns the checkerboard mask of an image, 1 where a pixel is kept.

  Args:
    height: Number of rows, a Python integer or a scalar integer `Tensor`.
    width: Number of columns, likewise.
    reverse: Whether to keep the pixels where `row + column` is even instead of
      odd.
    dtype: The result's type.

  Returns:
    A `Tensor` of shape `[height, width, 1]` with entries 0 and 1.
  """
  if isinstance(height, int) and isinstance(width, int):
    # A constant of the graph, rather than ops in every call.
    rows, columns = np.indices((height, width))
    mask = (rows + columns + int(reverse)) % 2
    return tf.constant(mask[..., np.newaxis], dtype)
  rows = tf.range(height)[:, tf.newaxis, tf.newaxis]
  columns = tf.range(width)[tf.newaxis, :, tf.newaxis]
  return tf.cast((rows + columns + int(reverse)) % 2, dtype)


class Mask(abc.ABC):
  """Splits a batch of images in a kept and a changed part, and joins them.

  Attributes:
    reverse: Whether the two parts are swapped; see the module's docstring.
  """

  def __init__(self, reverse: bool = False):
    if not isinstance(reverse, bool):
      raise ValueError(f'`reverse` must be True or False, got {reverse!r}.')
    self.reverse = reverse

  @abc.abstractmethod
  def validate(self, channels: int) -> None:
    """Raises ValueError if images of so many channels cannot be split."""

  @abc.abstractmethod
  def changed_channels(self, channels: int) -> int:
    """Number of channels of the changed part of images of `channels`."""

  @abc.abstractmethod
  def network_channels(self, channels: int) -> int:
    """Number of channels of `network_input` for images of `channels`."""

  @abc.abstractmethod
  def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits `x` of shape `[..., H, W, C]` in `(kept, changed)`."""

  @abc.abstractmethod
  def join(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
    """The inverse of `split`."""

  @abc.abstractmethod
  def tensor(self, kept: tf.Tensor) -> tf.Tensor:
    """This mask as the tensor that `network_input` and `restrict` take.

    It is a tensor, so that masks that differ in it share a traced function.
    """

  @staticmethod
  @abc.abstractmethod
  def network_input(kept: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    """The input of the conditioning network, for `tensor` of `self.tensor`."""

  @staticmethod
  @abc.abstractmethod
  def restrict(value: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    """Zeroes what lies outside the changed part, in its layout."""

  def __repr__(self) -> str:
    return f'{type(self).__name__}(reverse={self.reverse})'


class CheckerboardMask(Mask):
  """Keeps the pixels of one colour of a checkerboard, for all channels.

  Both parts have the images' shape, with zeros in the other part's place. The
  network reads the kept part and, as one more channel, the mask.

  Examples:
    >>> mask = bijectors.CheckerboardMask()
    >>> kept, changed = mask.split(tf.ones([1, 2, 2, 1]))
    >>> kept.numpy().reshape(2, 2)
    array([[0., 1.],
           [1., 0.]], dtype=float32)
  """

  def tensor(self, kept: tf.Tensor) -> tf.Tensor:
    """The mask itself, `[H, W, 1]`, 1 where a pixel is kept."""
    height, width = kept.shape[-3], kept.shape[-2]
    if height is None or width is None:
      shape = tf.shape(kept)
      height, width = shape[-3], shape[-2]
    return checkerboard(height, width, self.reverse, kept.dtype)

  def validate(self, channels: int) -> None:
    pass

  def changed_channels(self, channels: int) -> int:
    return channels

  def network_channels(self, channels: int) -> int:
    return channels + 1

  def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    kept = x * self.tensor(x)
    return kept, x - kept

  def join(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
    return kept + changed

  @staticmethod
  def network_input(kept: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    mask = tf.broadcast_to(
        tensor, tf.concat([tf.shape(kept)[:-1], [1]], axis=0))
    return tf.concat([kept, mask], axis=-1)

  @staticmethod
  def restrict(value: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    return value * (1. - tensor)


class ChannelMask(Mask):
  """Keeps one half of the channels; each part has half of the channels.

  Examples:
    >>> mask = bijectors.ChannelMask()
    >>> kept, changed = mask.split(tf.constant([[[[1., 2., 3., 4.]]]]))
    >>> kept.numpy().ravel()
    array([3., 4.], dtype=float32)
  """

  def validate(self, channels: int) -> None:
    if channels % 2:
      raise ValueError(
          'A channel mask needs an even number of `channels`, got '
          f'{channels}: squeeze first.')

  def changed_channels(self, channels: int) -> int:
    return channels // 2

  def network_channels(self, channels: int) -> int:
    return channels // 2

  def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    first, second = tf.split(x, 2, axis=-1)
    return (first, second) if self.reverse else (second, first)

  def join(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
    parts = [kept, changed] if self.reverse else [changed, kept]
    return tf.concat(parts, axis=-1)

  def tensor(self, kept: tf.Tensor) -> tf.Tensor:
    """Nothing: `split` and `join` do it all."""
    return tf.zeros([], kept.dtype)

  @staticmethod
  def network_input(kept: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    del tensor
    return kept

  @staticmethod
  def restrict(value: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    del tensor
    return value

"""Checks of requests, as graph operations.

A server runs a graph, so the graph itself has to refuse bad requests. Every
check ends in an `Assert`, which fails the request with INVALID_ARGUMENT and a
text that names the input, the rows at fault and the values that are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# Translated images lie a little outside [0, 1] and are not clipped for the way
# back; levels of 0 to 255 lie far outside.
LOW, HIGH = -0.5, 1.5
# In standard deviations of the prior. Images within [LOW, HIGH] stay well below
# it, and the flow's linear tails well within float32.
MAX_LATENT = 1000.
_ROWS_NAMED = 5


def batch(x: tf.Tensor, name: str, shape: Sequence[int | None],
          max_batch: int) -> tf.Tensor:
  """Checks rank, sizes and the largest number of rows; none is fine.

  Args:
    x: The input.
    name: Its name in the signature.
    shape: Expected sizes but the first; None for any.
    max_batch: Largest number of rows.

  Returns:
    The input, of static shape `[None, *shape]`, behind the checks.
  """
  # A session does not compare its feeds with the signature, while shape
  # inference trusts the signature and would fold a check of `tf.shape(x)` away.
  # The shape of this tensor is unknown until run time.
  opaque = tf.raw_ops.PlaceholderWithDefault(input=x, shape=None)
  found = tf.shape(opaque)
  words = ', '.join(
      ['B', *['any' if size is None else str(size) for size in shape]])
  # Of the right length for any rank, so that only the assertion fails for a
  # wrong one.
  sizes = tf.ensure_shape(
      tf.pad(found, [[0, len(shape) + 1]])[:len(shape) + 1], [len(shape) + 1])
  wanted = tf.constant([-1, *[-1 if size is None else size for size in shape]])
  right_shape = _assert(
      tf.equal(tf.size(found), len(shape) + 1) &
      tf.reduce_all((sizes == wanted) | (wanted < 0)), [
          f'`{name}` must have shape [{words}], got [',
          tf.strings.reduce_join(tf.strings.as_string(found), separator=', '),
          ']'])
  with tf.control_dependencies([right_shape]):
    rows = tf.identity(sizes[0])
  not_many = _assert(
      rows <= max_batch,
      [f'`{name}` must hold at most {max_batch} rows a request, got ',
       tf.strings.as_string(rows)])
  with tf.control_dependencies([right_shape, not_many]):
    return tf.ensure_shape(tf.identity(opaque), [None, *shape])


def values(x: tf.Tensor, name: str, low: float, high: float,
           advice: str = '') -> tf.Tensor:
  """Checks that all values are finite and in `[low, high]`.

  Args:
    x: A checked batch.
    name: Its name in the signature.
    low: Smallest value taken.
    high: Largest value taken.
    advice: Words on the allowed values, for the message.

  Returns:
    The input, behind the checks.
  """
  is_finite = _assert_rows(
      tf.math.is_finite(x), [f'`{name}` must be finite, got NaN or infinity'])
  in_range = _assert_rows(
      (x >= low) & (x <= high) | ~tf.math.is_finite(x), [
          f'`{name}` must have values from {low:g} to {high:g}{advice}, got ',
          tf.strings.as_string(tf.reduce_min(x), precision=4), ' to ',
          tf.strings.as_string(tf.reduce_max(x), precision=4)])
  with tf.control_dependencies([is_finite, in_range]):
    return tf.identity(x)


def images(x: tf.Tensor, name: str, event_shape: Sequence[int],
           max_batch: int) -> tf.Tensor:
  """Checks a batch of images: shape, number, finiteness, range."""
  return values(
      batch(x, name, event_shape, max_batch), name, LOW, HIGH,
      ' (pixels in [0, 1], or as another translator gave them)')


def latents(z: tf.Tensor, name: str, event_shape: Sequence[int],
            max_batch: int) -> tf.Tensor:
  """Checks a batch of latents: shape, number, finiteness, range."""
  return values(
      batch(z, name, event_shape, max_batch), name, -MAX_LATENT, MAX_LATENT)


def same_rows(x: tf.Tensor, y: tf.Tensor, names: tuple[str, str]
             ) -> tf.Tensor:
  """Returns `x` behind a check that both have equally many rows."""
  rows = [tf.shape(x)[0], tf.shape(y)[0]]
  check = _assert(tf.equal(*rows), [
      f'`{names[0]}` and `{names[1]}` must have equally many rows, got ',
      tf.strings.as_string(rows[0]), ' and ', tf.strings.as_string(rows[1])])
  with tf.control_dependencies([check]):
    return tf.identity(x)


def finite(x: tf.Tensor, name: str) -> tf.Tensor:
  """Checks an answer, so that none is NaN or infinity."""
  check = _assert_rows(tf.math.is_finite(x), [
      f'`{name}` came out as NaN or infinity: the input is too far from what '
      'the model knows'])
  with tf.control_dependencies([check]):
    return tf.identity(x)


def _assert_rows(good: tf.Tensor, message: list[Any]) -> tf.Operation:
  good = tf.reduce_all(good, axis=list(range(1, good.shape.rank)))
  bad = tf.where(~good)[:_ROWS_NAMED, 0]
  rows = tf.strings.reduce_join(tf.strings.as_string(bad), separator=', ')
  return _assert(tf.reduce_all(good), [*message, ' (row ', rows, ')'])


def _assert(condition: tf.Tensor, message: list[Any]) -> tf.Operation:
  return tf.debugging.Assert(condition, [tf.strings.join(message)])

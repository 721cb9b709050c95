"""Checks of arguments: numbers, types, shapes and bijectors."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

tfb = tfp.bijectors


def integer(argument: str, value: Any, least: int = 1) -> int:
  """Returns an integer argument as Python's.

  Args:
    argument: The argument's name, for the message.
    value: Its value; NumPy's integers are taken, booleans are not.
    least: The least value allowed.

  Raises:
    ValueError: If it is not an integer, or below `least`.
  """
  if not isinstance(value, numbers.Integral) or isinstance(value, bool) or (
      value < least):
    kind = {0: 'a non-negative integer', 1: 'a positive integer'}.get(
        least, f'an integer of {least} or more')
    raise ValueError(f'`{argument}` must be {kind}, got {value!r}.')
  return int(value)


def number(argument: str, value: Any, above: float, below: float,
           inclusive: bool = False) -> float:
  """Returns a real argument as Python's float.

  Args:
    argument: The argument's name, for the message.
    value: Its value; NumPy's numbers are taken, booleans are not.
    above: It must be larger than this.
    below: It must be smaller than this.
    inclusive: Whether it may be equal to `below`.

  Raises:
    ValueError: If it is not a number, or out of range.
  """
  if isinstance(value, numbers.Real) and not isinstance(value, bool):
    found = float(value)
    if above < found < below or (inclusive and found == below):
      return found
  between = (f'above {above:g} and at most {below:g}' if inclusive else
             f'between {above:g} and {below:g}')
  raise ValueError(f'`{argument}` must be a number {between}, got {value!r}.')


def floating_type(argument: str, value: Any) -> tf.DType:
  """Returns a floating type, given as TensorFlow's, NumPy's or by name.

  Args:
    argument: The argument's name, for the message.
    value: For example `tf.float64`, `np.float64` or `'float64'`.

  Raises:
    ValueError: If it is not a floating type.
  """
  try:
    found = tf.as_dtype(value)
  except TypeError:
    found = None
  if found is None or not found.is_floating:
    raise ValueError(
        f'`{argument}` must be a floating type, as tf.float32, got {value!r}.')
  return found


def bijector(argument: str, value: Any, event_shape: tuple[int, int, int],
             dtype: tf.DType) -> tfb.Bijector:
  """Returns a bijector that keeps a shape of images and has a type.

  Args:
    argument: What the message calls it, for example '`trunk`'.
    value: The bijector.
    event_shape: `(height, width, channels)`, which it must keep.
    dtype: The floating type of what it takes and gives.

  Raises:
    ValueError: If it is no `tfb.Bijector`, or shape or type are others.
  """
  if not isinstance(value, tfb.Bijector):
    raise ValueError(
        f'{argument} must give a tfb.Bijector, got {value!r}: pass one, or a '
        'function from an event shape to one.')
  try:
    found = value.forward_dtype(dtype)
  except TypeError:
    found = value.dtype
  if found != dtype:
    raise ValueError(
        f'`dtype` is {dtype.name}, {argument} has '
        f'{getattr(found, "name", found)}: give both one type, for example '
        f'functools.partial(flows.real_nvp, dtype=tf.{dtype.name}).')
  image = value.forward_event_shape(tf.TensorShape(event_shape))
  if not image.is_compatible_with(event_shape):
    raise ValueError(
        f'{argument} takes shape {event_shape} to {image}; it must keep the '
        'shape.')
  return value


def sample_shape(argument: str, value: Any) -> None:
  """Checks a number of samples, or a shape of them, where a graph knows it.

  Args:
    argument: The argument's name, for the message.
    value: For example `8`, `(2, 4)` or an integer tensor.

  Raises:
    ValueError: If it is neither.
  """
  try:
    sizes = tf.convert_to_tensor(value, dtype_hint=tf.int32)
  except (TypeError, ValueError):
    sizes = None
  if sizes is not None and not isinstance(value, bool) and (
      sizes.dtype.is_integer and sizes.shape.rank in (None, 0, 1)):
    known = tf.get_static_value(sizes)
    if known is None or np.all(known >= 0):
      return
  raise ValueError(
      f'`{argument}` must be a number of samples or a shape, of integers of at '
      f'least 0, got {value!r}.')

"""Checks of arguments: numbers and types, Python's and NumPy's alike."""

from __future__ import annotations

import numbers
from typing import Any

import tensorflow as tf

__all__ = ['floating_type', 'integer', 'number']


def integer(argument: str, value: Any, least: int = 1) -> int:
  """Returns an integer argument as Python's.

  Args:
    argument: The argument's name, for the message.
    value: Its value; NumPy's integers are taken, booleans are not.
    least: The least value allowed, 0 or 1.

  Raises:
    ValueError: If it is not an integer, or below `least`.
  """
  if not isinstance(value, numbers.Integral) or isinstance(value, bool) or (
      value < least):
    kind = 'positive' if least else 'non-negative'
    raise ValueError(f'`{argument}` must be a {kind} integer, got {value!r}.')
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

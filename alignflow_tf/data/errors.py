"""`DataError`, the exception of this package, and checks that raise it."""

from __future__ import annotations

from typing import Any

import numpy as np

from alignflow_tf import _errors


class DataError(_errors.UserError, ValueError):
  """A problem with the data or with how it was asked for.

  The message names the argument in backticks, the value that was received and
  what would do. A program prints it as it is and exits.
  """


def positive(name: str, value: Any) -> int:
  """Returns `value`, an integer above 0.

  Raises:
    DataError: If it is something else; the message names the argument.
  """
  return _integer(name, value, 1, 'an integer above 0')


def not_negative(name: str, value: Any) -> int:
  """Returns `value`, an integer of 0 or more; see `positive`."""
  return _integer(name, value, 0, 'an integer of 0 or more')


def _integer(name: str, value: Any, least: int, wanted: str) -> int:
  if isinstance(value, bool) or not isinstance(
      value, (int, np.integer)) or value < least:
    raise DataError(f'`{name}` is {value!r}; it must be {wanted}.')
  return int(value)

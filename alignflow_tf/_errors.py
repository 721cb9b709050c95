"""Errors that a user can mend, and how programs end with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
import sys

from absl import app


class UserError(Exception):
  """An error that a user can mend; its text says what is wrong and what to do.

  Programs end with the text, without a traceback.
  """


@contextlib.contextmanager
def program(name: str, argv: Sequence[str]) -> Iterator[None]:
  """A program's work; it ends with the text of a `UserError`.

  Args:
    name: Name of the program, for the text.
    argv: The command line without flags.

  Raises:
    app.UsageError: If there are arguments that are no flags.
  """
  if len(argv) > 1:
    raise app.UsageError(f'Unknown argument {argv[1]!r}: flags begin with --.')
  try:
    yield
  except UserError as e:
    sys.exit(f'{name}: {e}')

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
def program(name: str, argv: Sequence[str],
            output: str | None = None) -> Iterator[None]:
  """A program's work; its ends that a user can mend are a line each.

  Args:
    name: Name of the program, for the text.
    argv: The command line without flags.
    output: Folder that the program writes to, if errors of files are its.

  Raises:
    app.UsageError: If there are arguments that are no flags.
  """
  if len(argv) > 1:
    raise app.UsageError(f'Unknown argument {argv[1]!r}: flags begin with --.')
  try:
    yield
  except UserError as e:
    sys.exit(f'{name}: {e}')
  except OSError as e:
    if output is None:
      raise
    sys.exit(
        f'{name}: `output` {output!r} cannot be written to '
        f'({type(e).__name__}: {e}). Make room, or make it writable; the same '
        'command then goes on.')
  except KeyboardInterrupt:
    print(f'{name}: stopped; the same command goes on or begins again.',
          file=sys.stderr)
    sys.exit(130)

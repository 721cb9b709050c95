"""What building and tracing are spared."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import gc

__all__ = ['uncollected']


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
  """Keeps Python's collector of cyclic garbage from running within.

  Building a model and tracing a step make a million objects that stay. The
  collector looks through them again and again as they come, which is a fifth
  of the time and finds next to nothing.
  """
  enabled = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if enabled:
      gc.enable()

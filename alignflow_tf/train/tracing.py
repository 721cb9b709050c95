"""What building and tracing are spared."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import gc
import threading

__all__ = ['uncollected']


class _Inside:
  """How many are within `uncollected`, and whether the collector was on."""
  lock = threading.Lock()
  count = 0
  enabled = False


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
  """Keeps Python's collector of cyclic garbage from running within.

  Building a model and tracing a step make a million objects that stay. The
  collector looks through them again and again as they come, which is a fifth
  of the time and finds next to nothing. It is for the whole process: what goes
  in first switches it off, in whatever thread, and what comes out last on.
  """
  with _Inside.lock:
    if not _Inside.count:
      _Inside.enabled = gc.isenabled()
      gc.disable()
    _Inside.count += 1
  try:
    yield
  finally:
    with _Inside.lock:
      _Inside.count -= 1
      if not _Inside.count and _Inside.enabled:
        gc.enable()

"""Signals that ask training to end, and its end by one."""

from __future__ import annotations

import contextlib
import signal
from types import FrameType
from typing import Any


class Stopped(Exception):
  """A run was stopped by a signal, after its checkpoint was written."""

  def __init__(self, message: str, signum: int):
    super().__init__(message)
    self.signum = signum


class Signals:
  """Turns a first SIGTERM, Ctrl-C or hang-up into a flag; a second one ends."""

  def __init__(self) -> None:
    self.received: int | None = None
    self._before: dict[int, Any] = {}

  def _handle(self, signum: int, frame: FrameType | None) -> None:
    del frame
    self.received = signum
    for each in self._before:
      signal.signal(each, signal.SIG_DFL)

  def _restore(self) -> None:
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

  def __enter__(self) -> Signals:
    with contextlib.suppress(ValueError):  # Not in the main thread.
      for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # `nohup` ignores the third, and so do we then.
        if signal.getsignal(signum) != signal.SIG_IGN:
          self._before[signum] = signal.signal(signum, self._handle)
    return self

  def __exit__(self, *unused: object) -> None:
    self._restore()

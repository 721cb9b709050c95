"""Subprocesses with signal forwarding."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import os
import signal
import subprocess
import time
from types import FrameType
from typing import Any

# `timeout` sends its signal twice at once; the two count as one.
_ONCE_SECONDS = 1.


class Stopped(Exception):
  """A signal stopped this process; its subprocess has ended.

  Attributes:
    signum: The signal.
  """

  def __init__(self, signum: int):
    super().__init__(
        f'Stopped by {signal.Signals(signum).name}; the same command goes on '
        'from here.')
    self.signum = signum


def call(command: Sequence[str]) -> int:
  """Runs a program and waits until it has ended.

  The first SIGTERM, Ctrl-C or hang-up is passed on as SIGTERM, so that training
  finishes its step and saves. A later one is passed on too and ends training at
  once. Ctrl-Z pauses both programs.

  The program runs in a session of its own. In a shared one, Ctrl-C in a
  terminal would reach it a second time, and training stops at once on a second
  signal.

  Returns:
    Its exit code, negative for the signal that ended it.

  Raises:
    Stopped: If a signal came; after the program has ended.
  """
  with _Relay() as relay:
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True)
    relay.watch(child)
    code = child.wait()
  if relay.received is not None:
    raise Stopped(relay.received)
  return code


class _Relay:
  """Passes signals on to a child."""

  def __init__(self) -> None:
    self.received: int | None = None
    self._when = 0.
    self._owed = False
    self._child: subprocess.Popen[bytes] | None = None
    self._before: dict[int, Any] = {}

  def watch(self, child: subprocess.Popen[bytes]) -> None:
    """Passes signals on from now, and the one that came before."""
    self._child = child
    if self._owed:
      child.terminate()

  def _handle(self, signum: int, frame: FrameType | None) -> None:
    del frame
    now = time.monotonic()
    if self.received is None:
      self.received, self._when = signum, now
    elif now < self._when + _ONCE_SECONDS:
      return
    if self._child is None:
      self._owed = True
    else:
      # Not SIGINT: Python shows a traceback for it while it imports.
      self._child.terminate()

  def _pause(self, signum: int, frame: FrameType | None) -> None:
    del signum, frame
    with contextlib.suppress(ProcessLookupError):
      if self._child is not None:
        os.killpg(self._child.pid, signal.SIGSTOP)
      os.kill(os.getpid(), signal.SIGSTOP)
      if self._child is not None:
        os.killpg(self._child.pid, signal.SIGCONT)

  def __enter__(self) -> _Relay:
    handlers = dict.fromkeys(
        (signal.SIGTERM, signal.SIGINT, signal.SIGHUP), self._handle)
    with contextlib.suppress(ValueError):  # Not in the main thread.
      for signum, handler in (handlers | {signal.SIGTSTP: self._pause}).items():
        # `nohup` ignores a hang-up, and so do we then.
        if signal.getsignal(signum) != signal.SIG_IGN:
          self._before[signum] = signal.signal(signum, handler)
    return self

  def __exit__(self, *unused: object) -> None:
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

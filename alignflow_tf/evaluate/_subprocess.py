"""Subprocesses with signal forwarding."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import signal
import subprocess
from typing import Any

_SECONDS = 0.1  # Between two looks for a signal.


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
  finishes its step and saves. Later ones change nothing. The program runs in a
  session of its own, where Ctrl-C does not reach it a second time.

  Returns:
    Its exit code, negative for the signal that ended it.

  Raises:
    Stopped: If a signal came; after the program has ended.
  """
  received: list[int] = []
  before: dict[int, Any] = {}
  for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    # `nohup` ignores a hang-up, and so do we then.
    if signal.getsignal(signum) != signal.SIG_IGN:
      before[signum] = signal.signal(
          signum, lambda number, frame: received.append(number))
  try:
    told = False
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True)
    while child.poll() is None:
      if received and not told:
        # Not SIGINT: Python shows a traceback for it while it imports.
        child.terminate()
        told = True
      with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_SECONDS)
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  if received:
    raise Stopped(received[0])
  return child.returncode

"""Progress on a terminal as a bar, elsewhere as plain lines."""

from __future__ import annotations

import sys
import time

_WIDTH = 20
# Seconds between two updates of a terminal, and between two plain lines.
_LIVE, _PLAIN = 0.1, 10.


def bar(done: int, total: int) -> str:
  """A bar such as `[#####...............]`."""
  filled = _WIDTH * done // max(1, total)
  return f'[{"#" * filled}{"." * (_WIDTH - filled)}]'


def duration(seconds: float) -> str:
  """A time such as `2m05s` or `3h07m`."""
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}h{minutes:02d}m'
  return f'{minutes}m{seconds:02d}s'


class Progress:
  """Number, speed and time left of work that is done piece by piece.

  For example:

    progress = Progress(total=200, unit='pictures')
    for i in range(200):
      ...
      progress.update(i + 1)
    progress.close()
  """

  def __init__(self, total: int, unit: str):
    """Nothing is shown yet; speeds are those after the first update."""
    self._total = total
    self._unit = unit
    # None: this process was started with its output closed.
    self._live = sys.stdout is not None and sys.stdout.isatty()
    self._shown = time.monotonic()
    # Number and time of the first pieces, which wait for what is prepared once.
    self._first: tuple[int, float] | None = None
    self._open = False

  def update(self, done: int) -> None:
    """Shows the number of pieces that are done."""
    now = time.monotonic()
    last = done == self._total
    self._first = self._first or (done, now)
    if now - self._shown < (_LIVE if self._live else _PLAIN) and not last:
      return
    self._shown = now
    text = f'{done}/{self._total} {self._unit}'
    speed = (done - self._first[0]) / max(1e-9, now - self._first[1])
    if speed:
      text += f'  {speed:.3g} {self._unit}/s'
    if not last and speed:
      text += f'  {duration((self._total - done) / speed)} left'
    if self._live:
      self._open = True
      print(f'\r{bar(done, self._total)} {text}\x1b[K', end='', flush=True)
    else:
      print(text, flush=True)

  def say(self, text: str) -> None:
    """Prints a line of its own."""
    print(f'\r{text}\x1b[K' if self._open else text, flush=True)
    self._open = False

  def close(self) -> None:
    """Ends the line of the bar."""
    if self._open:
      print(flush=True)
      self._open = False

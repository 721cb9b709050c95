"""Progress line, `metrics.jsonl` and TensorBoard summaries of a run."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import sys
import time

import numpy as np
import tensorflow as tf

from alignflow_tf import _progress

__all__ = ['Monitor', 'Silent']


class Monitor:
  """Writes `metrics.jsonl`, TensorBoard summaries and a progress line."""

  def __init__(self, directory: str, total: int, images_per_step: int,
               step: int = 0):
    """Opens the files for appending, and removes lines past `step`.

    Args:
      directory: The run directory.
      total: Number of steps of the run.
      images_per_step: Number of images of a step, all domains together.
      step: The step that the run goes on from.
    """
    self._total = total
    self._images = images_per_step
    self._directory = directory
    self._open(step)
    # None: this process was started with its output closed.
    self._live = sys.stdout is not None and sys.stdout.isatty()
    self._since = time.monotonic()
    self._since_step: int | None = None
    self._speed = 0.
    self._announced = False

  def _open(self, step: int) -> None:
    path = os.path.join(self._directory, 'metrics.jsonl')
    _cut(path, step)
    summaries = os.path.join(self._directory, 'summaries')
    _cut_events(summaries, step)
    self._file = open(path, 'a', encoding='utf-8')
    self._writer = tf.summary.create_file_writer(summaries)

  def __enter__(self) -> Monitor:
    return self

  def __exit__(self, *unused: object) -> None:
    # A failed write has been reported, or its line is cut off next time.
    with contextlib.suppress(OSError, tf.errors.OpError):
      self._file.close()
    with contextlib.suppress(OSError, tf.errors.OpError):
      self._writer.close()

  def reopen(self, step: int) -> None:
    """Opens the files again, after the run directory was removed."""
    self.__exit__()
    self._open(step)
    self._since_step = None

  def flush(self) -> None:
    """Writes all buffers, as a checkpoint's step must be on disk before it."""
    self._file.flush()
    self._writer.flush()

  def say(self, text: str) -> None:
    """Prints a line of its own."""
    end = '\x1b[K\n' if self._live else '\n'
    _print(('\r' if self._live else '') + text, end)

  def start(self, step: int) -> None:
    """Restarts the clock, so that time before it does not count."""
    self._since, self._since_step = time.monotonic(), step

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Writes scalars of a step; those that are not finite become null."""
    line: dict[str, float | int | None] = {'step': step}
    line.update({k: float(v) if math.isfinite(v) else None
                 for k, v in values.items()})
    self._file.write(json.dumps(line) + '\n')
    self._file.flush()
    with self._writer.as_default(step=step):
      for name, value in values.items():
        tf.summary.scalar(name, value)

  def picture(self, step: int, name: str, picture: np.ndarray) -> None:
    """Writes a picture to the summaries."""
    with self._writer.as_default(step=step):
      tf.summary.image(name, picture[np.newaxis])

  def progress(self, step: int, values: dict[str, float]) -> dict[str, float]:
    """Shows a progress line.

    Args:
      step: The step just done.
      values: Scalars of the steps since the last line.

    Returns:
      Speed figures, to go with the scalars.
    """
    now = time.monotonic()
    steps = step - (self._since_step or 0)
    if self._since_step is not None and steps > 0 and now > self._since:
      speed = steps / (now - self._since)
      self._speed = speed if not self._speed else (
          0.7 * self._speed + 0.3 * speed)
    self._since, self._since_step = now, step
    left = (self._total - step) / self._speed if self._speed else math.nan
    bits = [v for k, v in values.items() if k.startswith('bits_per_dim/')]
    critics = [v for k, v in values.items() if k.startswith('critic_loss/')]
    text = f'step {step}/{self._total}  loss {values.get("loss", math.nan):.3f}'
    if critics:
      text += '  critics ' + ' '.join(f'{v:.3f}' for v in critics)
    if bits:
      text += '  bits/dim ' + ' '.join(f'{v:.2f}' for v in bits)
    text += f'  {self._speed * self._images:.0f} images/s'
    if values.get('skipped_steps'):
      text += f'  {values["skipped_steps"]:.0f} steps skipped'
    if not math.isnan(left):
      text += f'  {_progress.duration(left)} left'
    if self._live:
      _print(f'\r{_progress.bar(step, self._total)} {text}\x1b[K', '')
    else:
      _print(text)
    return {'steps_per_second': self._speed}

  def announce_pictures(self, step: int, first: int) -> None:
    """Says once, of a step, when a person will have pictures to look at."""
    if not self._announced and self._speed and step < first <= self._total:
      self._announced = True
      self.say(f'Pictures of translations after step {first}, in about '
               f'{_progress.duration((first - step) / self._speed)}: '
               f'{os.path.join(self._directory, "sheets")}')

  def done(self) -> None:
    """Ends the progress line."""
    if self._live:
      _print('')


class Silent(Monitor):
  """A `Monitor` without output, for processes other than the first."""

  def __init__(self) -> None:
    pass

  def __exit__(self, *unused: object) -> None:
    pass

  def say(self, text: str) -> None:
    pass

  def start(self, step: int) -> None:
    pass

  def done(self) -> None:
    pass


def _print(text: str, end: str = '\n') -> None:
  """Prints; where nobody reads any more, training goes on unseen."""
  try:
    print(text, end=end, flush=True)
  except OSError:
    with open(os.devnull, 'wb') as nowhere:
      os.dup2(nowhere.fileno(), 1)


def _cut(path: str, step: int) -> None:
  """Leaves the lines up to a step; a killed run may have written more."""
  if not os.path.exists(path):
    return
  kept = []
  with open(path, encoding='utf-8') as f:
    for line in f:
      try:
        if json.loads(line)['step'] <= step:
          kept.append(line)
      except (json.JSONDecodeError, KeyError, TypeError):
        continue  # A line that was being written.
  partial = f'{path}.partial'
  with open(partial, 'w', encoding='utf-8') as f:
    f.writelines(kept)
  os.replace(partial, path)


def _cut_events(directory: str, step: int) -> None:
  """The same for TensorBoard's files; a file of later steps alone goes."""
  for path in glob.glob(os.path.join(glob.escape(directory), 'events.*')):
    kept, events = [], 0
    with contextlib.suppress(tf.errors.DataLossError):
      for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        if event.step <= step:
          kept.append(record)
          events += bool(event.step)
    if not events:
      os.remove(path)
      continue
    partial = os.path.join(directory, f'.{os.path.basename(path)}.partial')
    with tf.io.TFRecordWriter(partial) as writer:
      for record in kept:
        writer.write(record)
    os.replace(partial, path)

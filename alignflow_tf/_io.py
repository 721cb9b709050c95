"""Files and folders that are never seen half-written, and errors as one line.

Content is written under another name and then renamed, so a killed process
leaves the old file or the new one. A process holds a lock on its temporary
folder, which the system releases however the process ends; the next call
removes folders whose lock is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import fcntl
import glob
import json
import math
import os
import re
import shutil
import tempfile
import time
from typing import Any

_LOCK = 'lock'
_FILES = 'files'
# Attempts to remove a folder, and the seconds between two of them.
_ATTEMPTS, _PAUSE = 40, 0.05


def write_aside(path: str, content: str | bytes) -> None:
  """Writes a file under another name, then renames it to `path`."""
  partial = f'{path}.partial'
  with open(partial, 'wb') as f:
    f.write(content.encode() if isinstance(content, str) else content)
  os.replace(partial, path)


def dump(path: str, values: Mapping[str, Any]) -> None:
  """Writes JSON with `write_aside`; numbers that are not finite become null."""
  write_aside(path, json.dumps(_finite(values), indent=2) + '\n')


def _finite(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {k: _finite(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_finite(v) for v in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def first_line(error: BaseException, limit: int = 300) -> str:
  """The first line of an error's text, without names of graph nodes.

  Args:
    error: The error. The text of TensorFlow's has dozens of lines.
    limit: Largest number of characters.

  Returns:
    The line, or the name of the error's type where there is no text.
  """
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  text = re.sub('{{.*?}} ?', '', lines[0] if lines else '')
  text = re.sub('^.*assertion failed: ', '', text)
  text = text or type(error).__name__
  return text if len(text) <= limit else text[:limit - 3] + '...'


@contextlib.contextmanager
def whole_folder(path: str) -> Iterator[str]:
  """An empty folder that is renamed to `path` once the block has ended well.

  Leftovers of a killed call under the temporary name are removed first; hold a
  lock where two processes may write one path.

  Yields:
    The temporary folder.
  """
  partial = f'{path}.partial'
  shutil.rmtree(partial, ignore_errors=True)
  os.makedirs(partial)
  yield partial
  os.rename(partial, path)


@contextlib.contextmanager
def temporary_folder(
    parent: str, prefix: str, siblings: str | None = None
) -> Iterator[str]:
  """A new folder, removed at the end with everything that is still in it.

  Folders that killed processes have left are removed first. On a file system
  without locks they stay.

  Args:
    parent: The folder to make it in.
    prefix: The start of its name.
    siblings: Pattern of the names of the folders that this function makes in
      `parent` for the same purpose; `prefix*` by default.

  Yields:
    The folder's path.

  Raises:
    OSError: If nothing can be written in `parent`.
  """
  _remove_left(parent, siblings or f'{glob.escape(prefix)}*')
  path, lock = _make(parent, prefix)
  try:
    files = os.path.join(path, _FILES)
    os.mkdir(files, 0o700)
    yield files
  finally:
    _remove(path, lock)


def _make(parent: str, prefix: str) -> tuple[str, int | None]:
  """A folder and its locked file; None for the file without locks."""
  while True:
    path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    name = os.path.join(path, _LOCK)
    try:
      lock = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
      shutil.rmtree(path, ignore_errors=True)
      raise
    try:
      fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
      # Without this file no other machine takes the folder for a leftover.
      os.close(lock)
      os.unlink(name)
      return path, None
    if os.path.exists(name):
      return path, lock
    os.close(lock)  # Another process has just removed it as a leftover.


def _remove_left(parent: str, pattern: str) -> None:
  for path in glob.glob(os.path.join(glob.escape(parent), pattern)):
    try:
      lock = os.open(os.path.join(path, _LOCK), os.O_RDWR)
    except OSError:  # Not made here, or another user's.
      continue
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # Its process is at work.
      os.close(lock)
      continue
    _remove(path, lock)


def _remove(path: str, lock: int | None) -> None:
  """Removes a folder; the lock's file, by which leftovers are found, last."""
  files = os.path.join(path, _FILES)
  for attempt in range(_ATTEMPTS):
    if attempt:
      time.sleep(_PAUSE)
    shutil.rmtree(files, ignore_errors=True)
    # After one of TFDS's downloads has failed, others may still be writing.
    if not os.path.exists(files):
      break
  if lock is not None:
    if not os.path.exists(files):
      with contextlib.suppress(OSError):
        os.unlink(os.path.join(path, _LOCK))
    os.close(lock)
  with contextlib.suppress(OSError):
    os.rmdir(path)

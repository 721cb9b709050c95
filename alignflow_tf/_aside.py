"""Folders for what is written aside and renamed when it is whole.

A process that is killed leaves its folder. The next call removes it: a process
at work holds a lock, which the system frees when it ends in whatever way.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
import time

_LOCK = 'lock'
_FILES = 'files'
# Goes at removing a folder, and seconds between them.
_GOES, _PAUSE = 40, 0.05


@contextlib.contextmanager
def folder(
    parent: str, prefix: str, siblings: str | None = None
) -> Iterator[str]:
  """A new folder, which is removed with all that is still in it at the end.

  Before that, what killed processes have left is removed. Where the file system
  knows no locks, nothing of others is.

  Args:
    parent: The folder to make it in.
    prefix: What its name begins with.
    siblings: Pattern of the names of folders that this function has made there,
      for the same purpose; `prefix*` by default.

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
  """A folder, and the open file whose lock is held; None without locks."""
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
      # Without the file, no other machine takes the folder for left over.
      os.close(lock)
      os.unlink(name)
      return path, None
    if os.path.exists(name):
      return path, lock
    os.close(lock)  # Another process took it for left over just now.


def _remove_left(parent: str, pattern: str) -> None:
  for path in glob.glob(os.path.join(glob.escape(parent), pattern)):
    try:
      lock = os.open(os.path.join(path, _LOCK), os.O_RDWR)
    except OSError:  # None of ours, or another user's.
      continue
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # At work.
      os.close(lock)
      continue
    _remove(path, lock)


def _remove(path: str, lock: int | None) -> None:
  """Removes a folder, the lock's file last: the rest is found by it."""
  files = os.path.join(path, _FILES)
  for go in range(_GOES):
    if go:
      time.sleep(_PAUSE)
    shutil.rmtree(files, ignore_errors=True)
    # Where one of TFDS's downloads fails, threads of others may still write.
    if not os.path.exists(files):
      break
  if lock is not None:
    if not os.path.exists(files):
      with contextlib.suppress(OSError):
        os.unlink(os.path.join(path, _LOCK))
    os.close(lock)
  with contextlib.suppress(OSError):
    os.rmdir(path)

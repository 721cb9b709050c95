"""Folders for what is written aside, and those that a kill has left."""

import errno
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from alignflow_tf import _aside

_KILLED = """
import os, signal, sys
from alignflow_tf import _aside
with _aside.folder(sys.argv[1], 'a.') as path:
  with open(os.path.join(path, 'big'), 'w') as f:
    f.write('x')
  assert 'tensorflow' not in sys.modules
  os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_and_what_is_at_work_stays(tmp_path):
  ended = subprocess.run([sys.executable, '-c', _KILLED, tmp_path], check=False)
  assert ended.returncode == -signal.SIGKILL
  left, = tmp_path.iterdir()
  assert (left / 'files' / 'big').read_text() == 'x'
  others = ('a.mine', 'b.x')  # No lock in the first, another name's the second.
  for name in others:
    (tmp_path / name / 'files').mkdir(parents=True)
  (tmp_path / 'b.x' / 'lock').touch()
  with _aside.folder(str(tmp_path), 'a.') as one:
    assert not left.exists()
    pathlib.Path(one, 'file').touch()
    with _aside.folder(str(tmp_path), 'a.') as two:
      assert os.listdir(one) == ['file']
      assert os.listdir(two) == []
      os.rename(two, tmp_path / 'whole')
    with pytest.raises(KeyError), _aside.folder(str(tmp_path), 'a.'):
      raise KeyError
    assert os.listdir(one) == ['file']
  assert {p.name for p in tmp_path.iterdir()} == {*others, 'whole'}


def test_what_a_thread_still_writes_while_a_folder_goes(tmp_path, monkeypatch):
  real = shutil.rmtree
  late = ['second', 'first']

  def rmtree(path, **kwargs):
    real(path, **kwargs)
    if late:
      os.mkdir(path)
      pathlib.Path(path, late.pop()).touch()

  monkeypatch.setattr(shutil, 'rmtree', rmtree)
  with _aside.folder(str(tmp_path), 'a.') as path:
    pathlib.Path(path, 'file').touch()
  assert not late
  assert not list(tmp_path.iterdir())


def test_without_locks_nothing_of_others_is_removed(tmp_path, monkeypatch):
  (tmp_path / 'a.1' / 'files').mkdir(parents=True)
  (tmp_path / 'a.1' / 'lock').touch()

  def flock(*args):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

  with monkeypatch.context() as patch:
    patch.setattr(fcntl, 'flock', flock)
    with _aside.folder(str(tmp_path), 'a.') as path:
      # Nor does another machine, which may know locks, remove this one.
      with monkeypatch.context() as other:
        other.undo()
        other.setattr(fcntl, 'flock', lambda *args: None)
        _aside._remove_left(str(tmp_path), os.path.basename(
            os.path.dirname(path)))
      assert os.path.isdir(path)
  assert [p.name for p in tmp_path.iterdir()] == ['a.1']


def test_a_folder_that_is_taken_for_left_over_before_its_lock(
    tmp_path, monkeypatch):
  real = fcntl.flock
  taken = []

  def flock(lock, how):
    if how == fcntl.LOCK_EX and not taken:
      taken.extend(tmp_path.iterdir())
      _aside._remove_left(str(tmp_path), 'a.*')
      assert not taken[0].exists()
    real(lock, how)

  monkeypatch.setattr(fcntl, 'flock', flock)
  with _aside.folder(str(tmp_path), 'a.') as path:
    assert os.path.dirname(path) != str(taken[0])
    assert os.path.isdir(path)


def test_a_parent_that_is_not_there(tmp_path):
  with pytest.raises(OSError, match='No such file'), _aside.folder(
      str(tmp_path / 'no'), 'a.'):
    pass

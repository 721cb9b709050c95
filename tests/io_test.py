"""Files and folders that are written aside, and those that a kill has left."""

import errno
import fcntl
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from alignflow_tf import _io

_KILLED = """
import os, signal, sys
from alignflow_tf import _io
with _io.temporary_folder(sys.argv[1], 'a.') as path:
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
  with _io.temporary_folder(str(tmp_path), 'a.') as one:
    assert not left.exists()
    pathlib.Path(one, 'file').touch()
    with _io.temporary_folder(str(tmp_path), 'a.') as two:
      assert os.listdir(one) == ['file']
      assert os.listdir(two) == []
      os.rename(two, tmp_path / 'whole')
    with pytest.raises(KeyError), _io.temporary_folder(str(tmp_path), 'a.'):
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
  with _io.temporary_folder(str(tmp_path), 'a.') as path:
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
    with _io.temporary_folder(str(tmp_path), 'a.') as path:
      # Nor does another machine, which may know locks, remove this one.
      with monkeypatch.context() as other:
        other.undo()
        other.setattr(fcntl, 'flock', lambda *args: None)
        _io._remove_left(str(tmp_path), os.path.basename(
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
      _io._remove_left(str(tmp_path), 'a.*')
      assert not taken[0].exists()
    real(lock, how)

  monkeypatch.setattr(fcntl, 'flock', flock)
  with _io.temporary_folder(str(tmp_path), 'a.') as path:
    assert os.path.dirname(path) != str(taken[0])
    assert os.path.isdir(path)


def test_a_parent_that_is_not_there(tmp_path):
  with pytest.raises(OSError, match='No such file'), _io.temporary_folder(
      str(tmp_path / 'no'), 'a.'):
    pass


def test_a_file_is_the_old_one_until_it_is_whole(tmp_path, monkeypatch):
  path = tmp_path / 'x'
  _io.write_aside(str(path), 'old')

  def fail(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with monkeypatch.context() as patch:
    patch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='No space'):
      _io.write_aside(str(path), b'new')
  assert path.read_text() == 'old'
  _io.write_aside(str(path), b'new')
  assert [p.name for p in tmp_path.iterdir()] == ['x']
  assert path.read_text() == 'new'


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'x'
  def fail():
    with _io.whole_folder(str(path)) as partial:
      pathlib.Path(partial, 'half').touch()
      raise KeyError

  with pytest.raises(KeyError):
    fail()
  assert not path.exists()
  with _io.whole_folder(str(path)) as partial:
    assert os.listdir(partial) == []
    pathlib.Path(partial, 'file').touch()
  assert [p.name for p in tmp_path.iterdir()] == ['x']
  assert os.listdir(path) == ['file']


def test_json_has_null_for_numbers_that_are_not_finite(tmp_path):
  path = tmp_path / 'x'
  _io.dump(str(path), {'a': [1., math.nan], 'b': {'c': -math.inf}, 'd': 'e'})
  assert json.loads(path.read_text()) == {
      'a': [1., None], 'b': {'c': None}, 'd': 'e'}


@pytest.mark.parametrize(('text', 'line'), [
    ('', 'ValueError'),
    ('\n  one \ntwo', 'one'),
    ('{{function_node x}} assertion failed: [`a` is wrong]', '[`a` is wrong]'),
    ('{{node y}} Matrix size', 'Matrix size'),
    ('x' * 400, 'x' * 297 + '...'),
])
def test_the_first_line_of_an_error(text, line):
  assert _io.first_line(ValueError(text)) == line

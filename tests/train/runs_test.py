"""Run directories: locks, and what is refused before a first step."""

import os
import subprocess
import sys

import pytest

import alignflow_tf as af
from alignflow_tf import data
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from tests.train import tiny


def test_a_directory_with_other_files_is_refused(tmp_path):
  (tmp_path / 'thesis.tex').write_text('x')
  with pytest.raises(runs.RunError, match='`run_dir` must be new, empty'):
    loop.train(tiny.config(), str(tmp_path))
  assert os.listdir(tmp_path) == ['thesis.tex']


def test_two_processes_on_one_run_are_refused(tmp_path):
  with runs.lock(str(tmp_path)):
    code = ('import fcntl, sys\n'
            'f = open(sys.argv[1], "a+")\n'
            'try:\n'
            '  fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n'
            'except OSError:\n'
            '  f.seek(0); print(f.read().strip())\n')
    other = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path / 'lock')], text=True,
        capture_output=True, check=True)
    assert other.stdout.strip() == str(os.getpid())
    with pytest.raises(runs.RunError, match=f'process {os.getpid()} is'):
      with runs.lock(str(tmp_path)):
        pass
  with runs.lock(str(tmp_path)):
    pass


@pytest.mark.parametrize(('overrides', 'error', 'message'), [
    (dict(dataset='svnh_mnist'), data.DataError, 'svnh_mnist'),
    (dict(image_size=30, num_scales=3), config_lib.ConfigError, 'num_scales=3'),
    (dict(batch_size=5000), data.DataError, '`batch_size`.*5000'),
    (dict(critic_layers=5), config_lib.ConfigError, 'critic_layers'),
])
def test_errors_leave_nothing_behind(tmp_path, overrides, error, message):
  with pytest.raises(error, match=message):
    loop.train(tiny.config(**overrides), str(tmp_path / 'run'))
  assert not os.listdir(tmp_path)


def test_a_run_without_checkpoint_cannot_be_loaded(tmp_path):
  runs.Run.create(str(tmp_path), tiny.config(), ('a', 'b'), (8, 8, 1), {})
  with pytest.raises(runs.RunError, match='has no checkpoint yet'):
    af.load(str(tmp_path))


def test_a_file_system_without_locks(tmp_path, monkeypatch, caplog):
  def unsupported(*args):
    raise OSError(38, 'Function not implemented')

  monkeypatch.setattr(runs.fcntl, 'flock', unsupported)
  with runs.lock(str(tmp_path)):
    pass
  assert 'cannot be locked' in caplog.text

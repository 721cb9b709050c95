"""The command line of training, in this process."""

import json
import os
import subprocess
import sys
import types

import pytest

from alignflow_tf.train import __main__ as program


@pytest.fixture(name='calls')
def _calls(monkeypatch):
  """Commands in place of processes that export; they end with `code`."""
  calls = types.SimpleNamespace(commands=[], code=0)

  def run(command, check):
    assert not check
    calls.commands.append(command)
    os.makedirs(command[-1].split('=')[1], exist_ok=True)
    return subprocess.CompletedProcess(command, calls.code)

  monkeypatch.setattr(program.subprocess, 'run', run)
  monkeypatch.setattr(program.train_lib, 'Run', lambda directory: (
      types.SimpleNamespace(latest=lambda: f'{directory}/checkpoints/ckpt-7')))
  return calls


def test_a_run_is_exported_by_the_program_once_for_a_checkpoint(
    tmp_path, calls):
  run_dir = str(tmp_path / 'run')
  for _ in range(2):
    program._export(run_dir)
  assert calls.commands == [[
      sys.executable, '-m', 'alignflow_tf.export', f'--run={run_dir}',
      f'--output={run_dir}/export']]
  with open(f'{run_dir}/export/exported.json') as f:
    assert json.load(f) == {'checkpoint': 'ckpt-7'}


@pytest.mark.parametrize(('code', 'want'), [(1, 1), (-15, 143)])
def test_an_export_that_fails_ends_the_command_and_is_tried_again(
    tmp_path, calls, code, want):
  calls.code = code
  for _ in range(2):
    with pytest.raises(SystemExit) as e:
      program._export(str(tmp_path))
    assert e.value.code == want
  assert len(calls.commands) == 2

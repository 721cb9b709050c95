"""Runs: from a configuration to a run directory, and on from there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf import data
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import runs

TINY = dict(num_scales=2, width=4, num_blocks=1, critic_width=4, batch_size=4,
            pool_size=4, steps=4, log_every=1, eval_every=4,
            checkpoint_every=2, deterministic=True)


def _config(**overrides):
  return config_lib.resolve('cpu', **(TINY | overrides))


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('runs') / 'a run')
  loop.train(_config(), path)
  return path


def _checkpoint(run_dir):
  reader = tf.train.load_checkpoint(runs.Run(run_dir).latest())
  return {k: reader.get_tensor(k) for k in reader.get_variable_to_shape_map()
          if 'OBJECT_GRAPH' not in k and 'save_counter' not in k}


def test_run_directory(run_dir):
  assert {'config.json', 'flags.txt', 'data.json', 'metrics.jsonl', 'sheets',
          'summaries', 'checkpoints'} <= set(os.listdir(run_dir))
  assert not [n for _, _, names in os.walk(run_dir) for n in names
              if 'partial' in n]
  with open(os.path.join(run_dir, 'metrics.jsonl')) as f:
    lines = [json.loads(line) for line in f]
  training = [line for line in lines if 'loss' in line]
  assert [line['step'] for line in training] == [1, 2, 3, 4]
  assert 'critic_loss/optical' in training[0]
  validation = [line for line in lines if 'validation/bits_per_dim/mnist'
                in line]
  assert [line['step'] for line in validation] == [4]
  assert validation[0]['validation/round_trip_max/optical_to_mnist'] < 1e-4
  sheets = sorted(os.listdir(os.path.join(run_dir, 'sheets')))
  assert sheets == ['0000004_mnist_to_optical.png',
                    '0000004_optical_to_mnist.png']


def test_load(run_dir):
  model = af.load(run_dir)
  assert model.domains == ('optical', 'mnist')
  saved = _checkpoint(run_dir)
  average = sorted(
      (v for k, v in saved.items() if k.startswith('average/')
       and '_flows/' in k), key=lambda v: (v.size, v.sum()))
  loaded = sorted((v.numpy() for v in model.variables),
                  key=lambda v: (v.size, v.sum()))
  assert len(loaded) == len(average)
  for a, b in zip(loaded, average, strict=True):
    np.testing.assert_array_equal(a, b)
  raw = af.load(run_dir, average=False)
  assert any(np.any(a.numpy() != b.numpy())
             for a, b in zip(raw.variables, model.variables, strict=True))


def test_a_run_that_is_done_stays_as_it_is(run_dir, capsys):
  before = os.path.getmtime(runs.Run(run_dir).latest() + '.index')
  loop.train(_config(), run_dir)
  assert 'is done: 4 steps' in capsys.readouterr().out
  assert os.path.getmtime(runs.Run(run_dir).latest() + '.index') == before


def test_stop_and_go_on_equals_going_on(run_dir, tmp_path, monkeypatch):
  """A run stopped by a signal goes on to the same weights, bit for bit."""
  path = str(tmp_path / 'stopped')
  original = loop.monitor_lib.Monitor.progress

  def stop_at_two(self, step, values):
    if step == 2:
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(0.01)
    return original(self, step, values)

  monkeypatch.setattr(loop.monitor_lib.Monitor, 'progress', stop_at_two)
  with pytest.raises(loop.Stopped, match=f'--run_dir={path}') as e:
    loop.train(_config(), path)
  assert e.value.signum == signal.SIGTERM
  monkeypatch.undo()
  loop.train(_config(), path)
  want, got = _checkpoint(run_dir), _checkpoint(path)
  assert want.keys() == got.keys()
  for name in want:
    np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def test_another_configuration_is_refused(run_dir):
  with pytest.raises(runs.RunError, match='width: 4 in the run, 5 given'):
    loop.train(_config(width=5), run_dir)


def test_a_directory_with_other_files_is_refused(tmp_path):
  (tmp_path / 'thesis.tex').write_text('x')
  with pytest.raises(runs.RunError, match='`run_dir` must be new, empty'):
    loop.train(_config(), str(tmp_path))
  assert os.listdir(tmp_path) == ['thesis.tex']


def test_a_start_that_was_killed_is_no_obstacle(run_dir, tmp_path):
  for name in ('lock', 'flags.txt', 'config.json.partial'):
    (tmp_path / name).write_text('')
  config = _config(steps=1, objective='mle', eval_every=1)
  loop.train(config, str(tmp_path))
  assert runs.Run(str(tmp_path)).config == config
  with open(tmp_path / 'data.json') as f:
    assert json.load(f)


def test_metrics_past_the_checkpoint_are_cut_off(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
  with loop.monitor_lib.Monitor(str(tmp_path), 9, 8, step=2) as monitor:
    monitor.scalars(3, {'loss': 1.5})
  assert [json.loads(line) for line in path.read_text().splitlines()] == [
      {'step': 1}, {'step': 2}, {'step': 3, 'loss': 1.5}]


def test_a_damaged_checkpoint_is_named(run_dir, tmp_path):
  path = str(tmp_path / 'run')
  shutil.copytree(run_dir, path)
  newest = runs.Run(path).latest() + '.data-00000-of-00001'
  with open(newest, 'r+b') as f:
    f.truncate(100)
  with pytest.raises(runs.RunError, match='ckpt-4 is damaged'):
    loop.train(_config(), path)
  with pytest.raises(runs.RunError, match='ckpt-4 is damaged'):
    af.load(path)


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
    (dict(batch_size=5000), config_lib.ConfigError, '`batch_size`.*5000'),
    (dict(critic_layers=5), config_lib.ConfigError, 'critic_layers'),
])
def test_errors_leave_nothing_behind(tmp_path, overrides, error, message):
  with pytest.raises(error, match=message):
    loop.train(_config(**overrides), str(tmp_path / 'run'))
  assert not os.listdir(tmp_path)


def test_a_run_without_checkpoint_cannot_be_loaded(tmp_path):
  runs.Run.create(str(tmp_path), _config(), ('a', 'b'), (8, 8, 1), {})
  with pytest.raises(runs.RunError, match='has no checkpoint yet'):
    af.load(str(tmp_path))


def test_weights_that_are_not_finite_are_not_loaded(run_dir, tmp_path):
  run = runs.Run(run_dir)
  model = af.load(run_dir)
  model.variables[0].assign(model.variables[0] * np.nan)
  bad = runs.Run.create(str(tmp_path), run.config, run.domains, run.event_shape,
                        run.copied_channels)
  tf.train.CheckpointManager(
      tf.train.Checkpoint(average=model), bad.checkpoints, 1).save()
  with pytest.raises(runs.RunError, match='not finite'):
    af.load(str(tmp_path))

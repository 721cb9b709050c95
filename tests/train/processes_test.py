"""Two real processes that train together, or say why not; one is killed."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from tests import cpp_loader

_FLAGS = ('--strategy=multi_worker', '--num_scales=1', '--width=2',
          '--num_blocks=1', '--critic_width=2', '--critic_layers=1',
          '--batch_size=4', '--pool_size=6', '--image_size=8', '--steps=12',
          '--log_every=1', '--eval_every=6', '--checkpoint_every=4',
          '--noexport')
_SECONDS = 480
# So that there is a step to be killed in.
_SLOW = """
import time
from alignflow_tf.train import trainer
from alignflow_tf.train import __main__ as program
from absl import app
init = trainer.Trainer.__init__
def slow(self, *args, **kwargs):
  init(self, *args, **kwargs)
  step = self.train_step
  def wait(batch):
    time.sleep(0.5)
    return step(batch)
  self.train_steps = [wait]
trainer.Trainer.__init__ = slow
app.run(program.main)
"""
# The first process exports once the others have long left: for longer than
# TensorFlow's heartbeat, of 10 seconds.
_LATE = """
import os, time
from alignflow_tf.train import __main__ as program
from absl import app
export = program._export
def late(run_dir):
  while not os.path.exists(os.environ['LEFT']):
    time.sleep(0.05)
  time.sleep(15.)
  export(run_dir)
program._export = late
app.run(program.main)
"""
# What two processes say that differ in their flags, in their data, or have
# other data than their run began with; then the first is lost while they build.
_REFUSED = """
import dataclasses, json, os, signal, sys
from absl import flags
from alignflow_tf.train import __main__ as program
from alignflow_tf.train import flags as flags_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from alignflow_tf.train import strategies
from alignflow_tf.train import trainer

def answer(what, function, *args):
  try:
    function(*args)
  except (Exception, SystemExit) as e:
    print(f'== {what}\\n{type(e).__name__}: {e}\\n==', flush=True)

number = int(json.loads(os.environ['TF_CONFIG'])['task']['index'])
make, load = strategies.make, inputs.load
init = strategies.Team.__init__
teams = []
def keep(self, *args):
  init(self, *args)
  teams.append(self)
strategies.Team.__init__ = keep
def too_early(*args, **kwargs):
  raise AssertionError('Flags are compared before data are loaded.')
inputs.load = too_early
flags.FLAGS([*sys.argv, f'--seed={number}', f'--data_dir={number}'])
config, run_dir = flags_lib.resolve(flags.FLAGS)
answer('flags', program.main, ['train'])
team, = teams
inputs.load = load

def train(what, directory):
  answer(what, loop.train, config, directory, None, None, team)

config = dataclasses.replace(config, seed=0)
if not number:
  domains = load(config, batch_size=config.batch_size)
  facts = domains.describe()
  facts['domains']['a']['sizes']['train'] += 1
  runs.Run.create(run_dir + '.before', config, domains.domains,
                  domains.event_shape, domains.grey_copied, facts)
train('data', run_dir)
os.chdir('../0')
train('record', run_dir + '.before')
if not number:
  build = trainer.build_model
  def killed(*args):
    build(*args)
    os.kill(os.getpid(), signal.SIGKILL)
  trainer.build_model = killed
train('lost', run_dir)
print('== end', os.path.exists(run_dir))
"""


def _ports():
  """Two free ports."""
  sockets = [socket.socket() for _ in range(2)]
  for s in sockets:
    s.bind(('localhost', 0))
  ports = [s.getsockname()[1] for s in sockets]
  for s in sockets:
    s.close()
  return ports


class _Processes:
  """Both processes of a run."""

  def __init__(self, run_dir, log_dir, flags=_FLAGS, program=None, number=int,
               folders=(None, None), **variables):
    ports = _ports()
    self.logs, self.processes = [], []
    for i in range(2):
      env = dict(
          os.environ, TF_CPP_MIN_LOG_LEVEL='2', **variables,
          TF_CONFIG=json.dumps({
              'cluster': {'worker': [f'localhost:{p}' for p in ports]},
              'task': {'type': 'worker', 'index': number(i)}}))
      self.logs.append(pathlib.Path(log_dir) / f'{time.time()}-{i}.log')
      command = ['-c', program] if program else ['-m', 'alignflow_tf.train']
      with open(self.logs[-1], 'w') as log:
        self.processes.append(subprocess.Popen(
            [sys.executable, *command, f'--run_dir={run_dir}', *flags],
            stdout=log, stderr=subprocess.STDOUT, env=env, cwd=folders[i]))

  def wait_for(self, path):
    end = time.monotonic() + _SECONDS
    while not path.exists():
      assert time.monotonic() < end, self.text()
      assert all(p.poll() is None for p in self.processes), self.text()
      time.sleep(0.05)

  def codes(self):
    """Exit codes; kills what hangs."""
    try:
      return [p.wait(_SECONDS) for p in self.processes]
    except subprocess.TimeoutExpired:
      pytest.fail('A process hangs.\n' + self.text())
    finally:
      for p in self.processes:
        p.kill()

  def text(self):
    return '\n'.join(log.read_text() for log in self.logs)


def _metrics(run_dir):
  with open(run_dir / 'metrics.jsonl') as f:
    return [json.loads(line) for line in f]


@pytest.fixture(scope='module')
def run_of_one(tmp_path_factory):
  """The same run in one process."""
  run_dir = tmp_path_factory.mktemp('one') / 'run'
  subprocess.run(
      [sys.executable, '-m', 'alignflow_tf.train', f'--run_dir={run_dir}',
       *_FLAGS[1:]], check=True, timeout=_SECONDS,
      env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL='2'))
  return run_dir


def _compare(run_dir, run_of_one):
  ours, theirs = _metrics(run_dir), _metrics(run_of_one)
  assert [line['step'] for line in ours] == [line['step'] for line in theirs]
  for a, b in zip(ours, theirs, strict=True):
    assert a.keys() == b.keys()
    for name in a:
      # Each process draws noise of its own.
      if 'bits_per_dim/' in name:
        assert a[name] == pytest.approx(b[name], rel=0.02), a


def _check_export(run_dir):
  """The export gives what the run's model gives, where no other process is."""
  path = run_dir / 'export' / 'optical_to_mnist' / '1'
  images = np.random.RandomState(0).rand(3, 8, 8, 1).astype(np.float32)
  model = af.load(str(run_dir))
  want = model.translator('optical', 'mnist').forward(tf.constant(images))
  with cpp_loader.load(str(path)) as exported:
    found = exported.run({'image': images})
  np.testing.assert_allclose(found['image'], want, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_both_go_on(tmp_path, run_of_one):
  run_dir = tmp_path / 'run'
  first = _Processes(run_dir, tmp_path, program=_SLOW)
  first.wait_for(run_dir / 'checkpoints' / 'ckpt-4.index')
  killed = time.monotonic()
  first.processes[1].send_signal(signal.SIGKILL)
  codes = first.codes()
  assert time.monotonic() - killed < 60., first.text()
  assert codes == [1, -signal.SIGKILL]
  text = first.logs[0].read_text()
  assert 'alignflow_tf.train: another process of this run' in text
  assert 'goes on from its checkpoint of step' in text
  assert 'Traceback' not in text
  # The first process alone writes.
  assert not [n for n in os.listdir(run_dir) if n.endswith('.partial')]

  left = tmp_path / 'left'
  second = _Processes(run_dir, tmp_path, [*_FLAGS, '--export'], _LATE,
                      LEFT=str(left))
  assert second.processes[1].wait(_SECONDS) == 0, second.text()
  assert not (run_dir / 'export').exists()
  left.touch()
  assert second.codes() == [0, 0], second.text()
  assert 'Going on from step' in second.logs[0].read_text()
  _compare(run_dir, run_of_one)
  _check_export(run_dir)


@pytest.mark.slow
def test_a_stopped_process_stops_both_and_both_go_on(tmp_path, run_of_one):
  run_dir = tmp_path / 'run'
  first = _Processes(run_dir, tmp_path, program=_SLOW)
  first.wait_for(run_dir / 'checkpoints' / 'ckpt-4.index')
  first.processes[1].send_signal(signal.SIGTERM)
  assert first.codes() == [128 + signal.SIGTERM] * 2, first.text()
  stops = [[line for line in log.read_text().splitlines()
            if line.startswith('Stopped at step')] for log in first.logs]
  assert stops[0] == stops[1]
  assert len(stops[0]) == 1
  second = _Processes(run_dir, tmp_path)
  assert second.codes() == [0, 0], second.text()
  _compare(run_dir, run_of_one)


@pytest.mark.slow
def test_processes_that_do_not_fit_together_are_told_why(tmp_path):
  random = np.random.RandomState(0)
  folders = [tmp_path / str(i) for i in range(2)]
  for domain in 'ab':
    pictures = [tf.io.encode_png(random.randint(0, 256, (8, 8, 3), np.uint8))
                for _ in range(41)]
    for i, folder in enumerate(folders):
      (folder / domain).mkdir(parents=True)
      for j, picture in enumerate(pictures[:40 + i * (domain == 'b')]):
        name = f'{i}-{j}' if j == 0 else str(j)
        (folder / domain / f'{name}.png').write_bytes(picture.numpy())
  run_dir = tmp_path / 'run'
  processes = _Processes(
      run_dir, tmp_path, [*_FLAGS, '--deterministic', '--domain=a:a',
                          '--domain=b:b'], _REFUSED, str, folders)
  assert processes.codes() == [-signal.SIGKILL, 0], processes.text()
  logs = [log.read_text() for log in processes.logs]
  assert logs[1].endswith('== end False\n')
  answers = [dict(re.findall(r'^== (.*)\n((?s:.*?))\n==', log, re.MULTILINE))
             for log in logs]
  for found in answers:
    assert re.match(
        'SystemExit: alignflow_tf.train: the processes of a run must have the '
        r'same flags, got others for `seed` \(here [01]\)\. Start all',
        found['flags'])
    # A name differs in the one, and a picture is more in the other.
    assert found['data'] == (
        'DataError: the processes of a run must have the same data, got others '
        'for the numbers of images, the names and sizes of files. Start all '
        'of them again, with the same ones.')
    assert found['record'].startswith('RunError: `run_dir`')
    assert "the data have changed under the run: images of 'a'" in (
        found['record'])
  assert re.match(
      r'RunError: another process of this run \(/job:worker/replica:0/task:0\) '
      r'ended or cannot be reached .* goes on from the beginning\.',
      answers[1]['lost'])
  assert 'Traceback' not in logs[1]

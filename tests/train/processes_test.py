"""Two real processes that train together; one is killed; both go on."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

_FLAGS = ('--strategy=multi_worker', '--num_scales=1', '--width=2',
          '--num_blocks=1', '--critic_width=2', '--critic_layers=1',
          '--batch_size=4', '--pool_size=6', '--image_size=8', '--steps=12',
          '--log_every=1', '--eval_every=6', '--checkpoint_every=4',
          '--noexport')
_SECONDS = 240
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
  self.train_step = wait
trainer.Trainer.__init__ = slow
app.run(program.main)
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

  def __init__(self, run_dir, log_dir, flags=_FLAGS, slow=False):
    ports = _ports()
    self.logs, self.processes = [], []
    for i in range(2):
      env = dict(
          os.environ, TF_CPP_MIN_LOG_LEVEL='2', TF_CONFIG=json.dumps({
              'cluster': {'worker': [f'localhost:{p}' for p in ports]},
              'task': {'type': 'worker', 'index': i}}))
      self.logs.append(pathlib.Path(log_dir) / f'{time.time()}-{i}.log')
      program = ['-c', _SLOW] if slow else ['-m', 'alignflow_tf.train']
      with open(self.logs[-1], 'w') as log:
        self.processes.append(subprocess.Popen(
            [sys.executable, *program, f'--run_dir={run_dir}', *flags],
            stdout=log, stderr=subprocess.STDOUT, env=env))

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
    if 'loss' in a:
      assert a['loss'] == pytest.approx(b['loss'], rel=1e-5, abs=1e-5), a


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_both_go_on(tmp_path, run_of_one):
  run_dir = tmp_path / 'run'
  first = _Processes(run_dir, tmp_path, slow=True)
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

  second = _Processes(run_dir, tmp_path)
  assert second.codes() == [0, 0], second.text()
  assert 'Going on from step' in second.logs[0].read_text()
  _compare(run_dir, run_of_one)


@pytest.mark.slow
def test_a_stopped_process_stops_both_and_both_go_on(tmp_path, run_of_one):
  run_dir = tmp_path / 'run'
  first = _Processes(run_dir, tmp_path, slow=True)
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

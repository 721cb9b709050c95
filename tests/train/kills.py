"""Kills a training process again and again, and compares with one left alone.

  python -m tests.train.kills --kills=20

starts real processes of `python -m alignflow_tf.train --deterministic`, ends
them with SIGKILL at random moments (while they start, between steps, while a
checkpoint is written) or stops them with SIGTERM, and goes on with the run each
time. In the end its checkpoints, metrics, summaries and sheets must be those of
a run that was left alone, bit for bit.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from alignflow_tf.train import checkpoints as checkpoints_lib

# Lines of metrics that do not fall on checkpoints: their means span kills.
_FLAGS = ('--deterministic', '--num_scales=1', '--width=2', '--num_blocks=1',
          '--critic_width=2', '--batch_size=4', '--pool_size=4',
          '--log_every=3', '--checkpoint_every=5', '--noexport')
_KINDS = ('start', 'step', 'checkpoint', 'step', 'checkpoint', 'stop',
          'checkpoint', 'step')


def _start(run_dir, steps, log):
  env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL='2')
  return subprocess.Popen(
      [sys.executable, '-m', 'alignflow_tf.train', f'--run_dir={run_dir}',
       f'--steps={steps}', f'--eval_every={steps // 2}', *_FLAGS],
      stdout=log, stderr=subprocess.STDOUT, env=env)


def _step(run_dir):
  """The last step of `metrics.jsonl`."""
  try:
    with open(os.path.join(run_dir, 'metrics.jsonl'), 'rb') as f:
      return json.loads(f.read().splitlines()[-1])['step']
  except (OSError, IndexError, ValueError, KeyError):
    return 0


def _writing(run_dir):
  """Whether a checkpoint is being written: its index comes last."""
  try:
    names = set(os.listdir(os.path.join(run_dir, 'checkpoints')))
  except OSError:
    return False
  return any(n.endswith('_temp') or n.endswith('.json') and (
      n.startswith('ckpt-') and n[:-5] + '.index' not in names) for n in names)


def _wait(process, condition, deadline):
  """Waits for a condition; False if the process ended before it came."""
  while not condition():
    if process.poll() is not None:
      return False
    _check(process, deadline)
    time.sleep(0.001)
  return process.poll() is None


def _finish(process, deadline):
  """Waits for a process's end; returns its exit code."""
  while process.poll() is None:
    _check(process, deadline)
    time.sleep(0.01)
  return process.returncode


def _check(process, deadline):
  if time.monotonic() > deadline:
    process.kill()
    process.wait()
    raise TimeoutError('the limit of time is over')


def _end(process, run_dir, kind, random_, deadline):
  """Ends a process at a moment of a kind; None if it was done before."""
  goal = _step(run_dir) + random_.randrange(1, 9)
  if kind == 'start':
    # On a fast machine it has started, and trains, long before 12 s are over.
    moment = time.monotonic() + random_.uniform(0., 12.)
    if not _wait(process, lambda: (
        time.monotonic() >= moment or _step(run_dir) >= goal), deadline):
      return None
  elif not _wait(process, lambda: _step(run_dir) >= goal, deadline):
    return None
  if kind == 'checkpoint':
    # A killed one's remains.
    _wait(process, lambda: not _writing(run_dir), deadline)
    if not _wait(process, lambda: _writing(run_dir), deadline):
      return None
    time.sleep(random_.uniform(0., 0.1))
    kind = 'checkpoint' if _writing(run_dir) else 'just after a checkpoint'
  else:
    time.sleep(random_.uniform(0., 0.3))
  process.send_signal(signal.SIGTERM if kind == 'stop' else signal.SIGKILL)
  code = _finish(process, deadline)
  if kind == 'stop' and code != 128 + signal.SIGTERM:
    raise RuntimeError(f'SIGTERM ended it with {code}')
  return kind


def _content(run_dir):
  """All that a run leaves and that must be the same, by name."""
  found = {}
  directory = os.path.join(run_dir, 'checkpoints')
  for step in checkpoints_lib.steps(directory):
    path = checkpoints_lib.prefix(directory, step)
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
      if 'OBJECT_GRAPH' not in name:
        found[f'{step}/{name}'] = reader.get_tensor(name)
    with open(f'{path}.json') as f:
      found[f'{step}/state'] = json.load(f)['state']
  with open(os.path.join(run_dir, 'metrics.jsonl')) as f:
    for number, line in enumerate(f):
      values = json.loads(line)
      values.pop('steps_per_second', None)
      found[f'metrics/{number}'] = values
  events = []
  directory = os.path.join(run_dir, 'summaries')
  for name in os.listdir(directory):
    for record in tf.data.TFRecordDataset(os.path.join(directory, name)):
      event = tf.compat.v1.Event.FromString(record.numpy())
      events += [(event.step, v.tag, v.tensor.SerializeToString())
                 for v in event.summary.value if v.tag != 'steps_per_second']
  found['events'] = sorted(events)
  directory = os.path.join(run_dir, 'sheets')
  for name in sorted(os.listdir(directory)):
    with open(os.path.join(directory, name), 'rb') as f:
      found[f'sheets/{name}'] = f.read()
  return found


def run(directory, kills, seed=0, limit=float('inf')):
  """Kills a run so many times.

  Args:
    directory: An empty directory.
    kills: Number of times.
    seed: Seed of the moments.
    limit: Seconds that all of it may take.

  Returns:
    Kills by moment, number of things compared with a run left alone, and names
    of those that differ.

  Raises:
    TimeoutError: If it takes longer.
    RuntimeError: If a process ends otherwise than it should.
  """
  random_ = random.Random(seed)
  # At most 8 to each goal, and some more until the signal is sent.
  steps = 20 * kills + 12
  alone, killed = (os.path.join(directory, n) for n in ('alone', 'killed'))
  counts = collections.Counter()
  deadline = time.monotonic() + limit
  with open(os.path.join(directory, 'log'), 'w') as log:
    if _finish(_start(alone, steps, log), deadline):
      raise RuntimeError(f'the run left alone failed: see {log.name}')
    number = 0
    while True:
      process = _start(killed, steps, log)
      if number < kills:
        kind = _end(process, killed, _KINDS[number % len(_KINDS)], random_,
                    deadline)
        if kind is None and _finish(process, deadline):
          raise RuntimeError(f'a run failed: see {log.name}')
        counts[kind or 'done before'] += 1
        number += 1
        print(f'{number}: {kind}, at step {_step(killed)}', flush=True)
      elif _finish(process, deadline):
        raise RuntimeError(f'the last run failed: see {log.name}')
      else:
        break
  want, got = _content(alone), _content(killed)
  differences = sorted(want.keys() ^ got.keys())
  for name in want.keys() & got.keys():
    a, b = want[name], got[name]
    same = np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
    if not same:
      differences.append(name)
  return dict(counts), len(want), differences


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--kills', type=int, default=20)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--directory', required=True)
  arguments = parser.parse_args()
  os.makedirs(arguments.directory)
  counts, number, differences = run(
      arguments.directory, arguments.kills, arguments.seed)
  print(f'kills: {counts}; {number} things compared; '
        f'{len(differences)} differ: {differences[:10]}')
  sys.exit(bool(differences))


if __name__ == '__main__':
  main()

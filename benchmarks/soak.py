"""Trains, evaluates, exports and serves in a loop, with random kills.

  python benchmarks/soak.py --minutes=120

Each round goes on with one run on the embedded digits for some steps, in a
process that is now and then killed at a random moment, and evaluates and
exports in other processes, which may be killed too. A process that stays all
the time, as a server does, loads the newest export and answers requests. It
fails unless a checkpoint that was there is there after a kill, training goes on
from the newest one, a process that is not killed ends with the code that it
should, and neither the process that stays nor training, from round to round,
takes more memory or file descriptors.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf

from alignflow_tf.export import kit
from alignflow_tf.train import checkpoints

_EVERY = 20
_FLAGS = ('--num_scales=2', '--width=4', '--num_blocks=1', '--critic_width=4',
          '--batch_size=8', '--pool_size=8', '--steps=1000000', '--log_every=5',
          '--eval_every=100', f'--checkpoint_every={_EVERY}', '--noexport')


def _start(log: str, module: str, *arguments: str) -> subprocess.Popen:
  with open(log, 'w', encoding='utf-8') as f:
    return subprocess.Popen(
        [sys.executable, '-m', f'alignflow_tf.{module}', *arguments],
        stdout=f, stderr=subprocess.STDOUT)


def _usage(pid: int) -> tuple[float, int]:
  """Resident memory of a process in MB, and its open file descriptors."""
  with open(f'/proc/{pid}/statm', encoding='ascii') as f:
    resident = int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
  return resident, len(os.listdir(f'/proc/{pid}/fd'))


# A quarter of fewer would be one or two processes' whims.
_ROUNDS = 12


def _growth(values: list[float]) -> float:
  """From the second quarter (the first grows caches) to the last, by median."""
  quarter = max(1, len(values) // 4)
  return statistics.median(values[-quarter:]) - statistics.median(
      values[quarter:2 * quarter] or values)


def _serve(output: str, random_: random.Random) -> int:
  """Answers requests from the newest version of a translator."""
  versions = kit.versions(os.path.join(output, 'mnist_to_optical'))
  if not versions:
    return 0
  path = os.path.join(output, 'mnist_to_optical', str(versions[-1]))
  function = tf.saved_model.load(path).signatures['serving_default']
  (name, spec), = function.structured_input_signature[1].items()
  requests = 0
  for _ in range(100):
    rows = random_.choice((1, 3, 8))
    image = np.random.RandomState(requests).uniform(
        size=(rows, *spec.shape[1:])).astype(np.float32)
    answer = function(**{name: tf.constant(image)})
    assert all(np.isfinite(v.numpy()).all() for v in answer.values()
               if v.dtype.is_floating)
    requests += 1
  return requests


def _train(directory: str, log: str, newest: int, end: float,
           random_: random.Random, counts: dict[str, int]
           ) -> tuple[int, tuple[float, int] | None]:
  """One round of training; returns the newest step, and what training took."""
  kept = os.path.join(directory, 'checkpoints')
  process = _start(log, 'train', f'--run_dir={directory}', *_FLAGS)
  begin = newest
  goal = begin + _EVERY * random_.randrange(2, 6)
  usage, code = None, 0
  while process.poll() is None and newest < goal and time.monotonic() < end:
    time.sleep(0.05)
    newest = max([newest, *checkpoints.steps(kept)])
  if process.poll() is None:
    # Of a round that time has cut short, nothing can be compared.
    usage = _usage(process.pid) if newest >= goal else None
    if usage is None or random_.random() < 0.7:
      time.sleep(random_.uniform(0., 1.))
      process.kill()
      counts['kills'] += 1
      code = -signal.SIGKILL
    else:
      process.send_signal(signal.SIGTERM)
      code = 128 + signal.SIGTERM
  if process.wait() != code or not code:
    _fail(counts, 'failures', f'training ended with {process.returncode}', log)
  with open(log, encoding='utf-8') as f:
    said = f.read()
  found = checkpoints.steps(kept)
  # The newest that was seen is there, or later ones are; all that are there
  # read well; and the next process goes on from the newest.
  if not found or found[-1] < newest:
    _fail(counts, 'lost_checkpoints', f'{newest} is not among {found}', log)
  for step in found:
    wrong = checkpoints.problem(checkpoints.prefix(kept, step))
    if wrong:
      _fail(counts, 'lost_checkpoints', f'{step}: {wrong}', log)
  if usage and begin and f'Going on from step {begin} ' not in said:
    _fail(counts, 'lost_checkpoints', f'it did not go on from {begin}', log)
  return max([newest, *found]), usage


def _fail(counts: dict[str, int], what: str, why: str, log: str) -> None:
  """Counts a failure, and shows the end of a process's log."""
  counts[what] += 1
  with open(log, encoding='utf-8') as f:
    print(f'{what}: {why}', *f.readlines()[-40:], sep='\n  ', flush=True)


def soak(minutes: float, seed: int, directory: str) -> dict[str, float]:
  """Runs it in an empty directory; returns counts, and growth of each kind."""
  random_ = random.Random(seed)
  run = os.path.join(directory, 'run')
  output = os.path.join(directory, 'serving')
  log = os.path.join(directory, 'log')
  counts = dict.fromkeys(
      ('rounds', 'kills', 'lost_checkpoints', 'failures', 'evaluations',
       'exports', 'requests'), 0)
  serving: list[tuple[float, int]] = []
  training: list[tuple[float, int]] = []
  end = time.monotonic() + 60. * minutes
  newest = 0
  while time.monotonic() < end:
    counts['rounds'] += 1
    newest, usage = _train(run, log, newest, end, random_, counts)
    if usage:
      training.append(usage)
    for module, name, arguments in (
        ('evaluate', 'evaluations',
         (f'--run={run}', '--limit=20', '--noclassify')),
        ('export', 'exports', (f'--run={run}', f'--output={output}'))):
      process = _start(log, module, *arguments)
      if random_.random() < 0.2:
        time.sleep(random_.uniform(0., 30.))
        if process.poll() is None:
          process.kill()
          counts['kills'] += 1
          process.wait()
          continue
      if process.wait():
        _fail(counts, 'failures', f'{module}: {process.returncode}', log)
      else:
        counts[name] += 1
    if os.path.isdir(output):
      counts['requests'] += _serve(output, random_)
      for servable in kit.servables(output):
        for version in kit.versions(os.path.join(output, servable))[:-2]:
          shutil.rmtree(os.path.join(output, servable, str(version)))
    gc.collect()
    serving.append(_usage(os.getpid()))
    print(json.dumps(counts | {
        'step': newest, 'serving_mb': round(serving[-1][0]),
        'serving_descriptors': serving[-1][1],
        'training_mb': round(training[-1][0]) if training else None,
        'training_descriptors': training[-1][1] if training else None,
    }), flush=True)
  result = counts | {'step': newest}
  for name, usages in (('serving', serving), ('training', training)):
    memory, descriptors = zip(*usages or [(0., 0)], strict=True)
    result |= {
        f'{name}_mb': round(memory[-1]),
        f'{name}_growth_mb': round(_growth(list(memory)), 1),
        f'{name}_descriptors': descriptors[-1],
        f'{name}_growth_descriptors': _growth(list(descriptors))}
  return result


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--minutes', type=float, default=5.)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--growth_mb', type=float, default=64.,
                      help='Fails if memory grows by more.')
  arguments = parser.parse_args()
  with tempfile.TemporaryDirectory() as directory:
    result = soak(arguments.minutes, arguments.seed, directory)
  print(json.dumps(result))
  limits = {'lost_checkpoints': 0, 'failures': 0}
  if result['rounds'] < _ROUNDS:
    print(f'Growth is not judged in fewer than {_ROUNDS} rounds.')
  else:
    for name in ('serving', 'training'):
      limits |= {f'{name}_growth_mb': arguments.growth_mb,
                 f'{name}_growth_descriptors': 0}
  wrong = [f'{name}: {result[name]}' for name, most in limits.items()
           if result[name] > most]
  if wrong:
    sys.exit('It did not hold: ' + ', '.join(wrong))


if __name__ == '__main__':
  main()

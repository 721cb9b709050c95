"""Trains, evaluates, exports and serves in a loop, with random kills.

  python benchmarks/soak.py --minutes=120

Each round goes on with one run on the embedded digits for some steps, in a
process that is now and then killed at a random moment, and evaluates and
exports in other processes, which may be killed too. A process that stays all
the time, as a server does, loads the newest export and answers requests. What
must hold: a checkpoint that was there is there after a kill, the step never
falls by more than `--checkpoint_every`, and memory and file descriptors of the
process that stays do not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
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
  with open(log, 'a', encoding='utf-8') as f:
    return subprocess.Popen(
        [sys.executable, '-m', f'alignflow_tf.{module}', *arguments],
        stdout=f, stderr=subprocess.STDOUT)


def _resident() -> float:
  """Memory of this process in MB."""
  with open('/proc/self/statm', encoding='ascii') as f:
    return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20


def _descriptors() -> int:
  return len(os.listdir('/proc/self/fd'))


def _serve(output: str, random_: random.Random) -> int:
  """Answers requests from the newest version of a translator."""
  versions = kit.versions(os.path.join(output, 'mnist_to_optical'))
  if not versions:
    return 0
  path = os.path.join(output, 'mnist_to_optical', str(versions[-1]))
  function = tf.saved_model.load(path).signatures['serving_default']
  (name, spec), = function.structured_input_signature[1].items()
  requests = 0
  for _ in range(20):
    rows = random_.choice((1, 3, 8))
    image = np.random.RandomState(requests).uniform(
        size=(rows, *spec.shape[1:])).astype(np.float32)
    answer = function(**{name: tf.constant(image)})
    assert all(np.isfinite(v.numpy()).all() for v in answer.values()
               if v.dtype.is_floating)
    requests += 1
  return requests


def soak(minutes: float, seed: int, directory: str) -> dict[str, float]:
  random_ = random.Random(seed)
  run = os.path.join(directory, 'run')
  output = os.path.join(directory, 'serving')
  log = os.path.join(directory, 'log')
  kept = os.path.join(run, 'checkpoints')
  counts = dict.fromkeys(
      ('rounds', 'kills', 'lost_checkpoints', 'failures', 'evaluations',
       'exports', 'requests'), 0)
  memory, descriptors = [], []
  end = time.monotonic() + 60. * minutes
  newest = 0
  while time.monotonic() < end:
    counts['rounds'] += 1
    train = _start(log, 'train', f'--run_dir={run}', *_FLAGS)
    goal = newest + _EVERY * random_.randrange(2, 6)
    while train.poll() is None and (
        checkpoints.steps(kept) or [0])[-1] < goal and time.monotonic() < end:
      time.sleep(0.05)
      newest = max(newest, (checkpoints.steps(kept) or [0])[-1])
    if train.poll() is not None:
      counts['failures'] += 1
    elif random_.random() < 0.7:
      time.sleep(random_.uniform(0., 1.))
      train.kill()
      counts['kills'] += 1
    else:
      train.send_signal(signal.SIGTERM)
    train.wait()
    found = checkpoints.steps(kept)
    # The newest that was seen is there and reads well, or later ones do.
    if not found or found[-1] < newest or any(
        checkpoints.problem(checkpoints.prefix(kept, s)) for s in found):
      counts['lost_checkpoints'] += 1
    newest = max([newest, *found])
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
        counts['failures'] += 1
      else:
        counts[name] += 1
    if os.path.isdir(output):
      counts['requests'] += _serve(output, random_)
      for servable in kit.servables(output):
        for version in kit.versions(os.path.join(output, servable))[:-2]:
          shutil.rmtree(os.path.join(output, servable, str(version)))
    tf.keras.backend.clear_session()
    memory.append(_resident())
    descriptors.append(_descriptors())
    print(json.dumps(counts | {
        'step': newest, 'memory_mb': round(memory[-1]),
        'descriptors': descriptors[-1]}), flush=True)
  # The first rounds load libraries and grow caches.
  warm = min(2, len(memory) - 1)
  return counts | {
      'step': newest, 'memory_mb': round(memory[warm]),
      'memory_growth_mb': round(memory[-1] - memory[warm]),
      'descriptors': descriptors[warm],
      'descriptors_growth': descriptors[-1] - descriptors[warm]}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--minutes', type=float, default=5.)
  parser.add_argument('--seed', type=int, default=0)
  arguments = parser.parse_args()
  with tempfile.TemporaryDirectory() as directory:
    result = soak(arguments.minutes, arguments.seed, directory)
    print(json.dumps(result))
    if result['lost_checkpoints'] or result['failures']:
      with open(os.path.join(directory, 'log'), encoding='utf-8') as f:
        sys.exit(''.join(f.readlines()[-40:]))


if __name__ == '__main__':
  main()

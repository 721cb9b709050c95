"""Time to the first step and of a step: python benchmarks/train_step.py.

Each setting runs in a process of its own, in turns, so that what else the
machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time


def _measure(preset: str, size: int, channels: int, batch: int, steps: int,
             precision: str) -> dict[str, float]:
  begin = time.perf_counter()
  import numpy as np
  import tensorflow as tf

  from alignflow_tf.train import config as config_lib
  from alignflow_tf.train import devices
  from alignflow_tf.train import loop
  from alignflow_tf.train import trainer as trainer_lib
  if os.environ.get('ALIGNFLOW_THREADS') != 'default':
    devices.configure_threads()
  imported = time.perf_counter()
  config = config_lib.resolve(preset, batch_size=batch, precision=precision)
  shape = (size, size, channels)
  random = np.random.RandomState(0)
  batch_images = {
      d: tf.constant(random.randint(0, 256, (batch, *shape)), tf.uint8)
      for d in 'ab'}
  with loop._without_graph_optimizer():
    trainer = trainer_lib.Trainer(config, ('a', 'b'), shape)
    trainer.initialize(batch_images)
    built = time.perf_counter()
    float(trainer.train_step(batch_images)['loss'])
    first = time.perf_counter()
    times = []
    for _ in range(steps):
      start = time.perf_counter()
      float(trainer.train_step(batch_images)['loss'])
      times.append(time.perf_counter() - start)
  return {'import': imported - begin, 'build': built - imported,
          'first step': first - built, 'step': statistics.median(times),
          'fastest step': min(times), 'images/s': 2 * batch / statistics.median(
              times)}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--preset', default='cpu')
  parser.add_argument('--size', type=int, default=16)
  parser.add_argument('--channels', type=int, default=1)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--steps', type=int, default=30)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--child', default='')
  args = parser.parse_args()
  if args.child:
    print(json.dumps(_measure(args.preset, args.size, args.channels, args.batch,
                              args.steps, args.child)))
    return
  settings = {
      'float32': ('float32', {}),
      "float32, TensorFlow's threads": (
          'float32', {'ALIGNFLOW_THREADS': 'default'}),
      'mixed_bfloat16': ('mixed_bfloat16', {}),
  }
  results: dict[str, list[dict[str, float]]] = {name: [] for name in settings}
  for _ in range(args.repeats):
    for name, (precision, environment) in settings.items():
      command = [sys.executable, *sys.argv, f'--child={precision}']
      output = subprocess.run(
          command, env=os.environ | environment, check=True, text=True,
          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
      results[name].append(json.loads(output.splitlines()[-1]))
  columns = list(results['float32'][0])
  print(f'preset {args.preset}, {args.size}x{args.size}x{args.channels}, batch '
        f'{args.batch}; medians of {args.repeats} processes, seconds')
  print(f'{"":<32}' + ''.join(f'{c:>14}' for c in columns))
  for name, runs in results.items():
    values = [statistics.median(r[c] for r in runs) for c in columns]
    print(f'{name:<32}' + ''.join(f'{v:14.3f}' for v in values))


if __name__ == '__main__':
  main()

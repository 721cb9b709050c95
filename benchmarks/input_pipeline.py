"""Images per second that the input pipeline alone delivers, per set.

    python benchmarks/input_pipeline.py --data_dir=../shared/data/tfds

A row is one set: seconds to open it, seconds to the first batch (reading,
decoding and resizing it all, where it is kept in memory), then images a second
over all domains and the time of a batch. With `--step`, the default preset
trains on the set in the same process right after: images a second that its step
eats, over all domains, and how many times that the pipeline delivers.
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from alignflow_tf import _threads
from alignflow_tf import data
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import trainer as trainer_lib

_SETS = (
    'digits', 'svhn_mnist', 'mnist_usps', 'svhn_usps', 'maps', 'facades')


def measure(name: str, arguments: argparse.Namespace, cache: str) -> str:
  """One row of the table, or why there is none."""
  start = time.perf_counter()
  try:
    found = data.load(
        name, data_dir=arguments.data_dir, download=False, cache=cache,
        cache_dir=arguments.cache_dir)
    opened = time.perf_counter() - start
    iterator = iter(found.train_batches(arguments.batch_size))
    next(iterator)
    first = time.perf_counter() - start - opened
  except data.DataError as error:
    return f'{name:12} {cache:7} {str(error)[:90]}'
  steps = 0
  start = time.perf_counter()
  while time.perf_counter() - start < arguments.seconds:
    next(iterator)
    steps += 1
  spent = time.perf_counter() - start
  images = steps * arguments.batch_size * len(found.domains) / spent
  shape = 'x'.join(map(str, found.event_shape))
  times = ''
  if arguments.step:
    eaten = appetite(name, found)
    times = f'{eaten:12,.0f} {images / eaten:8.0f}'
  return (f'{name:12} {cache:7} {shape:>11} {opened:7.2f} {first:7.2f} '
          f'{images:10,.0f} {1e3 * spent / steps:8.3f} {times}')


def appetite(name: str, found: data.DomainSet, steps: int = 7) -> float:
  """Images a second, over all domains, that a step of the preset takes."""
  config = config_lib.resolve(dataset=name)
  trainer = trainer_lib.Trainer(
      config, found.domains, found.event_shape, found.grey_copied)
  batch = next(iter(found.train_batches(config.images_per_step())))
  images = {d: batch[d]['image'] for d in found.domains}
  trainer.initialize(images)
  times = []
  for _ in range(steps + 2):  # The first ones trace and warm up.
    start = time.perf_counter()
    float(trainer.train_step(images)['loss'])
    times.append(time.perf_counter() - start)
  return (config.images_per_step() * len(found.domains)
          / statistics.median(times[2:]))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir')
  parser.add_argument('--datasets', default=','.join(_SETS))
  parser.add_argument('--batch_size', type=int, default=32)
  parser.add_argument('--seconds', type=float, default=3.0)
  parser.add_argument('--caches', default='memory')
  parser.add_argument('--step', action='store_true')
  arguments = parser.parse_args()
  print(f'{"set":12} {"cache":7} {"shape":>11} {"open s":>7} {"first s":>7} '
        f'{"images/s":>10} {"ms/batch":>8}'
        + (f' {"step eats":>12} {"times":>8}' if arguments.step else ''))
  _threads.configure()
  with tempfile.TemporaryDirectory() as folder:
    arguments.cache_dir = folder
    for name in arguments.datasets.split(','):
      for cache in arguments.caches.split(','):
        print(measure(name, arguments, cache), flush=True)


if __name__ == '__main__':
  main()

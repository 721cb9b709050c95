"""Images per second that the input pipeline alone delivers, per set.

    python benchmarks/input_pipeline.py --data_dir=../shared/data/tfds

A row is one set: seconds to open it, seconds to the first batch (reading,
decoding and resizing it all, where it is kept in memory), then images a second
over all domains and the time of a batch. `--appetite` is what a training step
eats, in images a second over all domains; the last column is how many times
that the pipeline delivers.
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from alignflow_tf import data

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
  times = (
      f'{images / arguments.appetite:8.0f}' if arguments.appetite else '')
  return (f'{name:12} {cache:7} {shape:>11} {opened:7.2f} {first:7.2f} '
          f'{images:10,.0f} {1e3 * spent / steps:8.3f} {times}')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir')
  parser.add_argument('--datasets', default=','.join(_SETS))
  parser.add_argument('--batch_size', type=int, default=32)
  parser.add_argument('--seconds', type=float, default=3.0)
  parser.add_argument('--caches', default='memory')
  parser.add_argument('--appetite', type=float)
  arguments = parser.parse_args()
  print(f'{"set":12} {"cache":7} {"shape":>11} {"open s":>7} {"first s":>7} '
        f'{"images/s":>10} {"ms/batch":>8}'
        + ('    times' if arguments.appetite else ''))
  with tempfile.TemporaryDirectory() as folder:
    arguments.cache_dir = folder
    for name in arguments.datasets.split(','):
      for cache in arguments.caches.split(','):
        print(measure(name, arguments, cache), flush=True)


if __name__ == '__main__':
  main()

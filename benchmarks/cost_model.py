"""How time and memory of a step grow with size, width, depth, batch, domains.

  python benchmarks/cost_model.py [--seconds=2] [--repeats=1]

A grid around one setting: each factor alone, then some of them together, each
in a process of its own. Time is the median of a step; memory the peak of what
tensors take in it over what they take between steps, by the allocator of the
GPU, or of the CPU where that counts (with oneDNN), else of the process. Fitted
to the logarithms of all points by least squares:

  time   = a size^p width^q depth^r batch^s (pairs of domains)^t

and the same for memory. Depth is residual blocks a network; size is height and
width; the factor of domains is the number of ordered pairs, as many as there
are translations.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import time
from typing import Any

import _common

_FACTORS = ('size', 'width', 'depth', 'batch', 'domains')
_BASE = (16, 16, 2, 16, 2)
_GRID = {
    'size': (32,), 'width': (8, 32), 'depth': (1, 4), 'batch': (8, 32),
    'domains': (3,)}
_TOGETHER = ((32, 8, 4, 8, 2), (32, 32, 1, 8, 2), (16, 32, 4, 8, 3))


def _points() -> list[tuple[int, ...]]:
  points = [_BASE]
  for i, name in enumerate(_FACTORS):
    for value in _GRID[name]:
      points.append((*_BASE[:i], value, *_BASE[i + 1:]))
  return [*points, *_TOGETHER]


def _resident(name: str) -> float:
  with open('/proc/self/status', encoding='utf-8') as f:
    return next(int(line.split()[1]) / 1024 for line in f
                if line.startswith(name))


def _measure(args: argparse.Namespace) -> dict[str, Any]:
  import tensorflow as tf

  from alignflow_tf.train import config as config_lib
  from alignflow_tf.train import trainer as trainer_lib

  size, width, depth, batch, number = json.loads(args.child)
  domains = 'abcdefgh'[:number]
  shape = (size, size, 3)
  config = config_lib.resolve(
      'cpu', batch_size=batch, width=width, num_blocks=depth, num_scales=2)
  device = 'GPU:0' if tf.config.list_logical_devices('GPU') else 'CPU:0'
  with _common.training():
    trainer = trainer_lib.Trainer(config, tuple(domains), shape)
    trainer.initialize(_common.step_batch(shape, 64, domains))
    images = _common.step_batch(shape, batch, domains)
    first = time.perf_counter()
    float(trainer.train_step(images)['loss'])
    first = time.perf_counter() - first
    counted = True
    try:
      tf.config.experimental.reset_memory_stats(device)
      before = tf.config.experimental.get_memory_info(device)['current']
    except (ValueError, tf.errors.OpError):
      counted = False
      # What is free goes back, so that what a step needs is seen.
      ctypes.CDLL('libc.so.6').malloc_trim(0)
      before = _resident('VmRSS')
      with open('/proc/self/clear_refs', 'w', encoding='utf-8') as f:
        f.write('5')
    times: list[float] = []
    end = time.perf_counter() + args.seconds
    while time.perf_counter() < end or len(times) < 3:
      begin = time.perf_counter()
      float(trainer.train_step(images)['loss'])
      times.append(time.perf_counter() - begin)
  if counted:
    peak = tf.config.experimental.get_memory_info(device)['peak'] - before
    memory = peak / 2**20
  else:
    memory = _resident('VmHWM') - before
  return {'seconds': statistics.median(times), 'MB': memory, 'first': first}


def _fit(rows: list[tuple[tuple[int, ...], dict[str, Any]]]) -> None:
  import numpy as np

  logs = np.log([[*p[:4], p[4] * (p[4] - 1)] for p, _ in rows])
  design = np.concatenate([logs, np.ones([len(rows), 1])], axis=1)
  table = []
  for name in ('seconds', 'MB'):
    values = np.log([r[name] for _, r in rows])
    found, *_ = np.linalg.lstsq(design, values, rcond=None)
    error = np.exp(np.abs(design @ found - values))
    table.append([name, f'{np.exp(found[-1]):.3g}',
                  *(f'{e:.2f}' for e in found[:-1]),
                  f'{np.median(error):.2f}', f'{error.max():.2f}'])
  print('\nExponents, and by which factor the fit is off (median, most):')
  _common.print_table(
      ['', 'a', 'size', 'width', 'depth', 'batch', 'pairs', 'off by',
       'at most'], table)


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--seconds', type=float, default=2.)
  parser.add_argument('--repeats', type=int, default=1,
                      help='processes a point, of which the fastest counts')
  parser.add_argument('--child', default=None, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child is not None:
    print(json.dumps(_measure(args)))
    return
  _common.print_machine()
  rows, table = [], []
  columns = [*_FACTORS, 'ms a step', 'MB in it', 'first step s']
  for point in _points():
    results = [_common.in_process([
        f'--child={json.dumps(point)}', f'--seconds={args.seconds}'])
               for _ in range(args.repeats)]
    good = [r for r in results if 'error' not in r]
    if not good:
      print(point, results[0]['error'], flush=True)
      continue
    best = {name: min(r[name] for r in good) for name in good[0]}
    rows.append((point, best))
    table.append([*map(str, point), f'{1e3 * best["seconds"]:.1f}',
                  f'{best["MB"]:.0f}', f'{best["first"]:.1f}'])
    print(' '.join(table[-1]), flush=True)
  _common.print_table(columns, table)
  if len(rows) > 6:
    _fit(rows)


if __name__ == '__main__':
  main()

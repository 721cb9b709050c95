"""How time and memory of a step grow with size, width, depth, batch, domains.

  python benchmarks/cost_model.py [--seconds=2] [--repeats=1]

A grid around one setting: each factor alone, then some of them together, each
in a process of its own. Time is the median of a step; memory the peak of what
tensors take in it over what they take between steps, by the allocator of the
GPU. On a CPU it is the peak of a second process over what that holds between
steps, without oneDNN, whose pool gives nothing back. Fitted to the logarithms
of all points by least squares:

  time   = a size^p width^q depth^r batch^s (pairs of domains)^t

and the same for memory. Depth is residual blocks a network; size is height and
width; the factor of domains is the number of ordered pairs, as many as there
are translations.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import _common

_FACTORS = ('size', 'width', 'depth', 'batch', 'domains')
_BASE = (16, 16, 2, 16, 2)
_GRID = {
    'size': (32, 64), 'width': (8, 32), 'depth': (1, 4), 'batch': (8, 32),
    'domains': (3,)}
_TOGETHER = ((32, 8, 4, 8, 2), (32, 32, 1, 8, 2), (16, 32, 4, 8, 3))


def _points() -> list[tuple[int, ...]]:
  points = [_BASE]
  for i, name in enumerate(_FACTORS):
    for value in _GRID[name]:
      points.append((*_BASE[:i], value, *_BASE[i + 1:]))
  return [*points, *_TOGETHER]


def _measure(args: argparse.Namespace) -> dict[str, Any]:
  import tensorflow as tf

  from alignflow_tf.train import config as config_lib
  from alignflow_tf.train import trainer as trainer_lib

  size, width, depth, batch, number = json.loads(args.child)
  domains = 'abcdefgh'[:number]
  shape = (size, size, 3)
  config = config_lib.resolve(
      'cpu', batch_size=batch, width=width, num_blocks=depth, num_scales=2,
      directions='all')
  on_gpu = bool(tf.config.list_logical_devices('GPU'))
  result: dict[str, Any] = {}
  with _common.training():
    trainer = trainer_lib.Trainer(config, tuple(domains), shape)
    trainer.initialize(_common.step_batch(shape, 64, domains))
    images = _common.step_batch(shape, batch, domains)

    def step() -> float:
      begin = time.perf_counter()
      float(trainer.train_step(images)['loss'])
      return time.perf_counter() - begin

    result['first'] = step()
    if args.memory:
      step()
      _common.give_back()
      before = _common.memory_mb('VmRSS')
      _common.reset_peak()
      step()
      result['MB'] = _common.memory_mb('VmHWM') - before
      return result
    if on_gpu:
      tf.config.experimental.reset_memory_stats('GPU:0')
      before = tf.config.experimental.get_memory_info('GPU:0')['current']
    times: list[float] = []
    end = time.perf_counter() + args.seconds
    while time.perf_counter() < end or len(times) < 3:
      times.append(step())
    result['seconds'] = statistics.median(times)
    if on_gpu:
      peak = tf.config.experimental.get_memory_info('GPU:0')['peak']
      result['MB'] = (peak - before) / 2**20
  return result


def _point(point: tuple[int, ...], args: argparse.Namespace) -> dict[str, Any]:
  """What one process measures, and on a CPU another one."""
  options = [f'--child={json.dumps(point)}', f'--seconds={args.seconds}']
  result = _common.in_process(options)
  if 'error' not in result and 'MB' not in result:
    memory = _common.in_process(
        [*options, '--memory'], {'TF_ENABLE_ONEDNN_OPTS': '0'})
    result = memory | result
  return result


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
  parser.add_argument('--memory', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child is not None:
    print(json.dumps(_measure(args)))
    return
  _common.print_machine()
  rows, table = [], []
  columns = [*_FACTORS, 'ms a step', 'MB in it', 'first step s']
  for point in _points():
    results = [_point(point, args) for _ in range(args.repeats)]
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

"""Compares settings on validation images: python benchmarks/choose_settings.py.

Trains a run for each setting and seed and evaluates it on validation images:
test images are for the figures of what was chosen. Runs that were stopped go
on; runs that are done are not repeated.

  python benchmarks/choose_settings.py --seeds=0,1 \
    '' lambda_a=1e-4,lambda_b=1e-4 critic_noise=0

compares the defaults ('') with two changes, each given as flags of
`python -m alignflow_tf.train`, without dashes, joined by commas.
"""

from __future__ import annotations

import argparse
from concurrent import futures
import json
import os
import re
import statistics
import subprocess
import sys
from typing import Any


def _run(setting: str, seed: int, output: str, core: int | None,
         shared: list[str]) -> dict[str, Any]:
  """Trains and evaluates one run, as processes of their own."""
  name = re.sub(r'[^\w.=-]+', '_', setting) or 'defaults'
  run = os.path.join(output, f'{name}_seed{seed}')
  path = os.path.join(run, 'evaluation_validation', 'evaluation.json')
  pin = [] if core is None else ['taskset', '-c', str(core)]
  flags = [f'--{flag}' for flag in setting.split(',') if flag]
  os.makedirs(output, exist_ok=True)
  with open(f'{run}.log', 'a', encoding='utf-8') as log:
    for arguments in (
        ['alignflow_tf.train', f'--run_dir={run}', f'--seed={seed}',
         '--noexport', *shared, *flags],
        ['alignflow_tf.evaluate', f'--run={run}', f'--seed={seed}',
         '--split=validation']):
      finished = os.path.exists(path) and 'seconds' in _read(path)
      if not finished:
        subprocess.run([*pin, sys.executable, '-m', *arguments], check=True,
                       stdout=log, stderr=log)
  return _read(path)


def _read(path: str) -> dict[str, Any]:
  with open(path, encoding='utf-8') as f:
    return json.load(f)


def _cell(values: list[float], form: str) -> str:
  mean = format(statistics.fmean(values), form)
  if len(values) < 2:
    return mean
  return f'{mean} +- {format(statistics.stdev(values), form)}'


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('settings', nargs='+', help='flags joined by commas')
  parser.add_argument('--seeds', default='0,1')
  parser.add_argument('--output', default='runs/choose_settings')
  parser.add_argument('--jobs', type=int, default=1,
                      help='runs at a time; each has a core of its own above 1')
  parser.add_argument('--train_args', default='',
                      help='flags of all runs, joined by commas')
  args = parser.parse_args()
  seeds = [int(s) for s in args.seeds.split(',')]
  shared = [f'--{a}' for a in args.train_args.split(',') if a]
  cores = list(range(args.jobs)) if args.jobs > 1 else [None]

  def run(job: tuple[str, int]) -> dict[str, Any]:
    core = cores.pop()
    try:
      return _run(*job, args.output, core, shared)
    finally:
      cores.append(core)

  jobs = [(setting, seed) for seed in seeds for setting in args.settings]
  with futures.ThreadPoolExecutor(args.jobs) as pool:
    results = dict(zip(jobs, pool.map(run, jobs), strict=True))

  first = next(iter(results.values()))
  directions = list(first['accuracy'])
  print('Validation images; accuracy of a classifier trained on source images '
        '-> on translated ones.\n')
  print('| setting | ' + ' | '.join(directions) + ' | bits/dim | '
        'largest round-trip error |')
  print('|---|' + '---|' * (len(directions) + 2))
  for setting in args.settings:
    rows = [results[setting, seed] for seed in seeds]
    cells = []
    for d in directions:
      accuracy = [r['accuracy'][d] for r in rows]
      cells.append(' -> '.join(
          _cell([100. * a[k] for a in accuracy], '.1f')
          for k in ('source_only', 'translated')))
    cells.append(', '.join(
        _cell([r['bits_per_dim'][d] for r in rows], '.2f')
        for d in first['bits_per_dim']))
    cells.append(format(max(
        v['max'] for r in rows for v in r['round_trip'].values()), '.1e'))
    print(f'| {setting or "defaults"} | ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
  main()

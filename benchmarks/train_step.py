"""The training step beside its own convolutions, and the first step.

  python benchmarks/train_step.py [--presets=cpu,paper] [--seconds=20] [--cold]

The floor runs exactly the convolutions of the step, forward and backward, those
of the critics included, and nothing else: they are read from the step's graph.
With `--cold`, the same convolutions stand beside it with tensors of their own
each, more than caches hold, as the step's are.
A setting is measured in a process of its own; step and floor take turns in it.
`first step` is from the call to its end: tracing, TensorFlow's preparations and
the step; before it come the import and building the model with its optimizer,
initialisation included. `of which busy` is the processors' time of this process
in it, which other programs lengthen less.

With `--domains=2,3,5`, the steps of that many domains take turns in one process
instead, with `directions=in_turns`, of which one turn is timed as all are
alike, and with `directions=all`.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from typing import Any

import _common

# Size, channels, batch.
_SHAPES = {'cpu': (16, 1, 32), 'cpu_trunk': (16, 1, 16),
           'cpu_pictures': (32, 3, 16),
           'cpu_glow': (32, 3, 16), 'paper': (32, 3, 8)}


def _measure(args: argparse.Namespace) -> dict[str, Any]:
  begin = time.perf_counter()
  from alignflow_tf.train import config as config_lib
  from alignflow_tf.train import trainer as trainer_lib

  size, channels, batch = args.shape
  overrides = dict(item.split('=') for item in args.child.split(',') if item)
  xla = overrides.pop('xla', None) is not None
  config = config_lib.resolve(
      args.preset, batch_size=batch, xla=xla or None, **overrides)
  shape = (size, size, channels)
  with _common.training():
    imported = time.perf_counter()
    images = _common.step_batch(shape, batch)
    trainer = trainer_lib.Trainer(config, ('a', 'b'), shape)
    trainer.initialize(_common.step_batch(shape, 256))
    built, busy = time.perf_counter(), time.process_time()
    float(trainer.train_step(images)['loss'])
    first = time.perf_counter()
    result = {'import': imported - begin, 'build': built - imported,
              'first step': first - built,
              'of which busy': time.process_time() - busy}
    if not args.first_only:
      functions = {'step': lambda: float(trainer.train_step(images)['loss'])}
      if not xla:
        counts = _common.convolutions(
            trainer.train_step.get_concrete_function(images))
        result['convolutions'] = sum(counts.values())
        result['GFLOP'] = _common.flops(counts) / 1e9
        functions['floor'] = _common.floor(counts)
        if args.cold:
          functions['floor, cold'] = _common.floor(counts, cold=True)
      result['times'] = _common.measure_in_turns(functions, args.seconds)
  return result


def _print_domains(preset: str, numbers: list[int], shape: tuple[int, int, int],
                   batch: int, seconds: float) -> None:
  from alignflow_tf.train import config as config_lib
  from alignflow_tf.train import trainer as trainer_lib

  functions = {}
  with _common.training():
    for number in numbers:
      domains = 'abcdefghij'[:number]
      images = _common.step_batch(shape, batch, domains)
      for directions in ('in_turns', 'all')[:number - 1]:
        trainer = trainer_lib.Trainer(
            config_lib.resolve(preset, batch_size=batch, directions=directions),
            tuple(domains), shape)
        trainer.initialize(_common.step_batch(shape, 256, domains))
        name = f'{number} domains, {directions}'
        functions[name] = functools.partial(_step, trainer, images)
        counts = _common.convolutions(
            trainer.train_step.get_concrete_function(images))
        print(f'{name}: {sum(counts.values())} convolutions, '
              f'{_common.flops(counts) / 1e9:.1f} GFLOP a step', flush=True)
    times = _common.measure_in_turns(functions, seconds)
  _common.print_turns(times, next(iter(times)), batch, 'images of a domain')


def _step(trainer: Any, images: dict[str, Any]) -> float:
  return float(trainer.train_step(images)['loss'])


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--presets', default='cpu,paper')
  parser.add_argument('--settings', default='', help=(
      'name=value,... of Config (and xla=1), settings split by ;'))
  parser.add_argument('--seconds', type=float, default=20.)
  parser.add_argument('--repeats', type=int, default=3,
                      help='processes a setting, for the first step')
  parser.add_argument('--shape', type=int, nargs=3, default=None)
  parser.add_argument('--cold', action='store_true',
                      help='also a floor whose tensors are in no cache')
  parser.add_argument('--domains', default='', help='such as 2,3,5')
  parser.add_argument('--preset', default='cpu', help=argparse.SUPPRESS)
  parser.add_argument('--child', default=None, help=argparse.SUPPRESS)
  parser.add_argument('--first_only', action='store_true',
                      help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child is not None:
    print(json.dumps(_measure(args)))
    return
  _common.print_machine()
  for preset in args.presets.split(','):
    size, channels, batch = args.shape or _SHAPES[preset]
    if args.domains:
      print(f'\npreset {preset} {size}x{size}x{channels}, batch {batch}')
      _print_domains(preset, [int(n) for n in args.domains.split(',')],
                     (size, size, channels), batch, args.seconds)
      continue
    settings = args.settings.split(';')
    runs: dict[str, list[dict[str, Any]]] = {s: [] for s in settings}
    for repeat in range(args.repeats):
      for setting in settings:
        options = [f'--preset={preset}', f'--child={setting}',
                   f'--seconds={args.seconds}',
                   '--shape', str(size), str(channels), str(batch)]
        if args.cold:
          options.append('--cold')
        if repeat:
          options.append('--first_only')
        runs[setting].append(_common.in_process(options))
    for setting, results in runs.items():
      print(f'\npreset {preset} {setting} {size}x{size}x{channels}, batch '
            f'{batch}')
      good = [r for r in results if 'error' not in r]
      if not good:
        print(results[0]['error'])
        continue
      for name in ('import', 'build', 'first step', 'of which busy'):
        values = sorted(r[name] for r in good)
        print(f'{name}: median {statistics.median(values):.1f} s, '
              f'fastest {values[0]:.1f} s, {len(values)} processes')
      if 'times' in good[0]:
        if 'GFLOP' in good[0]:
          print(f'{good[0]["convolutions"]} convolutions, '
                f'{good[0]["GFLOP"]:.1f} GFLOP a step')
        times = good[0]['times']
        _common.print_turns(
            times, 'floor' if 'floor' in times else 'step', batch, 'pairs')


if __name__ == '__main__':
  main()

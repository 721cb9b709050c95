"""The cost of a step: time, memory and kernels, in each precision."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import contextlib
import fcntl
import json
import os
import subprocess
import sys
from typing import Any

import jax

from . import figures
from . import programs
from . import training as training_lib


def bench(kit: programs.Kit, output: str, chunk: int, turns: str) -> None:
  """Measures a kit's training step and round trip in one precision.

  The figures are written to `bench.PRECISION.json`.

  Processes with the same `turns`, a directory, compile at the same time, and
  measure one after another.
  """
  with turn(turns, fcntl.LOCK_SH):
    training = training_lib.Training(kit, chunk)
    model = figures.Model(
        kit, [f'translate_{s}_to_{t}' for s, t in kit.directions()])
    images = {d: figures.from_levels(x[:2 * kit.batch_size])
              for d, x in kit.data('test').items()}
    model.wait()
  device = jax.devices()[0]
  row = {'precision': kit.precision, 'device': device.device_kind,
         'jax': jax.__version__, 'xla_flags': os.environ.get('XLA_FLAGS', ''),
         'lower_seconds': training.lower_seconds,
         'compile_seconds': training.compile_seconds,
         'memory': training.memory()}
  with turn(turns, fcntl.LOCK_EX):
    row['step_ms'] = 1000. * training.time()
    row['kernels'] = kernels(
        training, os.path.join(output, f'trace.{kit.precision}'))
  row['images_per_second'] = (
      1000. * training.size * len(kit.domains) / row['step_ms'])
  row['peak_bytes'] = (device.memory_stats() or {}).get('peak_bytes_in_use')
  row['steps_before_round_trips'] = training.step
  row['round_trips'] = {
      f'{s}_to_{t}': figures.errors(images[s], *figures.round_trip(
          model, training.state, images[s], s, t))
      for s, t in kit.directions()}
  figures.dump(os.path.join(output, f'bench.{kit.precision}.json'), row)


@contextlib.contextmanager
def turn(output: str, kind: int) -> Iterator[None]:
  """Holds the lock of an output directory."""
  with open(os.path.join(output, 'lock'), 'w', encoding='utf-8') as f:
    fcntl.flock(f, kind)
    yield


def report(kit: programs.Kit, output: str,
           arguments: argparse.Namespace) -> None:
  """Measures all precisions of a kit, a process each; prints a table."""
  running = {}
  for name in kit.manifest['precisions']:
    with open(os.path.join(output, f'bench.{name}.log'), 'wb') as log:
      running[name] = subprocess.Popen(
          [sys.executable, os.path.abspath(sys.argv[0]),
           f'--kit={kit.directory}',
           f'--output={output}', f'--precision={name}', '--bench',
           f'--chunk={arguments.chunk}', f'--cache={arguments.cache or ""}'],
          stdout=log, stderr=subprocess.STDOUT)
  columns = ('step ms', 'images/s', 'kernels ms', 'conv ms', 'launches',
             'temp GB', 'peak GB', 'lower s', 'compile s', 'trip max',
             'trip mean')
  print(' | '.join(('program', *columns)), flush=True)
  for name, process in running.items():
    process.wait()
    try:
      with open(os.path.join(output, f'bench.{name}.json'),
                encoding='utf-8') as f:
        row = json.load(f)
    except OSError:
      with open(os.path.join(output, f'bench.{name}.log'), 'rb') as f:
        text = f.read()[-1500:].decode(errors='replace')
      print(f'{name} failed: {text}', flush=True)
      continue
    ms = dict(row['kernels'].get('ms', {}))
    launches = ms.pop('launches', 0.)
    trips = list(row['round_trips'].values())
    print(' | '.join([name, *(f'{value:.4g}' for value in (
        row['step_ms'], row['images_per_second'], sum(ms.values()),
        ms.get('convolutions', 0.), launches,
        row['memory']['temporaries'] / 1e9, (row['peak_bytes'] or 0) / 1e9,
        row['lower_seconds'], row['compile_seconds'],
        max(t['round_trip_max'] for t in trips),
        max(t['round_trip_mean'] for t in trips)))]), flush=True)


def kernels(training: training_lib.Training, folder: str) -> dict[str, Any]:
  """Milliseconds a step of device time, by kind of kernel, by the profiler."""
  try:
    with jax.profiler.trace(folder):
      training.run()
    path = next(os.path.join(root, name) for root, _, names in os.walk(folder)
                for name in names if name.endswith('.xplane.pb'))
    found: dict[str, float] = {}
    longest: dict[str, float] = {}
    for plane in jax.profiler.ProfileData.from_file(path).planes:
      if not plane.name.startswith('/device:GPU'):
        continue
      for line in plane.lines:
        if not line.name.startswith('Stream'):
          continue
        for event in line.events:
          ms = event.duration_ns / 1e6 / training.chunk
          kind = kind_of(event.name)
          found[kind] = found.get(kind, 0.) + ms
          found['launches'] = found.get('launches', 0.) + 1. / training.chunk
          longest[event.name] = longest.get(event.name, 0.) + ms
    top = sorted(longest.items(), key=lambda item: -item[1])[:25]
    return {'ms': found, 'longest': dict(top)}
  except Exception as e:  # The other figures are useful without it.
    return {'failed': repr(e)}


def kind_of(kernel: str) -> str:
  """The kind of a GPU kernel by its name."""
  name = kernel.lower()
  if 'memcpy' in name or 'memset' in name:
    return 'copies'
  if any(part in name for part in (
      'conv', 'fprop', 'dgrad', 'wgrad', 'cudnn', 'implicit', 'xmma',
      'winograd', 'nchwto', 'nhwcto', 'cutlass', 'gemm', 'cublas', 'sm80',
      'sm90')):
    return 'convolutions'
  return 'others'

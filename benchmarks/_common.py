"""What the benchmarks share: floors, turns, processes, tables."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping
import contextlib
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# Of the floor: see there.
_ROWS = 8
_CONVOLUTIONS = ('Conv2D', 'Conv2DBackpropInput', 'Conv2DBackpropFilter')


def measure_in_turns(
    functions: Mapping[str, Callable[[], Any]], seconds: float,
    least: int = 3) -> dict[str, list[float]]:
  """Calls functions in turns, so that what else the machine does hits all.

  Args:
    functions: By name; each must wait for its own result.
    seconds: For how long.
    least: Turns at least.

  Returns:
    Seconds of each call, by name. Call `i` of all stood side by side.
  """
  for function in functions.values():
    function()
  times: dict[str, list[float]] = {name: [] for name in functions}
  end = time.perf_counter() + seconds
  while time.perf_counter() < end or len(next(iter(times.values()))) < least:
    for name, function in functions.items():
      begin = time.perf_counter()
      function()
      times[name].append(time.perf_counter() - begin)
  return times


def print_turns(times: Mapping[str, list[float]], floor: str, images: int,
                unit: str = 'images') -> None:
  """Prints medians, and medians of the ratios to `floor` turn by turn."""
  rows = []
  for name, values in times.items():
    ratio = statistics.median(
        a / b for a, b in zip(values, times[floor], strict=True))
    median = statistics.median(values)
    rows.append([name, f'{1e3 * median:.1f}', f'{1e3 * min(values):.1f}',
                 f'{ratio:.2f}', f'{images / median:.1f}'])
  print_table(['', 'median ms', 'fastest ms', f'x {floor}', f'{unit}/s'], rows)
  print(f'{len(times[floor])} turns; ratios are medians over turns.')


def print_table(columns: list[str], rows: list[list[str]]) -> None:
  """Prints a Markdown table."""
  widths = [max(len(row[i]) for row in [columns, *rows])
            for i in range(len(columns))]
  for i, row in enumerate([columns, *rows]):
    print('| ' + ' | '.join(
        cell.ljust(w) if j == 0 else cell.rjust(w)
        for j, (cell, w) in enumerate(zip(row, widths, strict=True))) + ' |')
    if not i:
      print('|' + '|'.join('-' * (w + 1) + ('-' if j == 0 else ':')
                           for j, w in enumerate(widths)) + '|')
  sys.stdout.flush()


def memory_mb(name: str) -> float:
  """A line of /proc/self/status, in MB: `VmRSS` now, `VmHWM` at its peak."""
  with open('/proc/self/status', encoding='utf-8') as f:
    return next(int(line.split()[1]) / 1024 for line in f
                if line.startswith(name))


def give_back() -> None:
  """Gives what is free back to the system, so that `VmRSS` is what is held."""
  gc.collect()
  with contextlib.suppress(OSError, AttributeError):  # Of glibc alone.
    ctypes.CDLL('libc.so.6').malloc_trim(0)


def reset_peak() -> None:
  """Has `VmHWM` begin anew."""
  with open('/proc/self/clear_refs', 'w', encoding='utf-8') as f:
    f.write('5')


def print_machine() -> None:
  """Prints what the figures depend on."""
  with contextlib.suppress(OSError), open('/proc/cpuinfo') as f:
    names = {line.split(':')[1].strip() for line in f
             if line.startswith('model name')}
    print(f'{", ".join(sorted(names))}; ', end='')
  load = os.getloadavg()[0]
  print(f'{len(os.sched_getaffinity(0))} cores, load average {load:.1f} at the '
        'start.', flush=True)


def in_process(arguments: list[str],
               environment: Mapping[str, str] | None = None) -> dict[str, Any]:
  """Runs this program again with `--child`, and reads what it prints last."""
  output = subprocess.run(
      [sys.executable, sys.argv[0], *arguments],
      env=os.environ | dict(environment or {}), text=True, capture_output=True,
      check=False)
  if output.returncode:
    lines = output.stderr.strip().splitlines() or ['no message']
    return {'error': f'exit {output.returncode}: {lines[-1][:200]}'}
  return json.loads(output.stdout.splitlines()[-1])


def convolutions(concrete: Any) -> collections.Counter:
  """The convolutions of a `ConcreteFunction`, those of its calls included.

  Returns:
    How often each runs: a `Counter` of (op type, shape of images, of kernel, of
    outputs, strides, padding, type).
  """
  seen: dict[str, collections.Counter] = {}

  def of_graph(graph: Any) -> collections.Counter:
    found: collections.Counter = collections.Counter()
    for op in graph.get_operations():
      if op.type in _CONVOLUTIONS:
        found[_describe(op)] += 1
      elif op.type in ('PartitionedCall', 'StatefulPartitionedCall', 'If'):
        name = op.get_attr('then_branch' if op.type == 'If' else 'f').name
        if name not in seen:
          # The graph as it was traced knows more shapes than its definition.
          seen[name] = of_graph(graph._get_function(name).graph)
        found += seen[name]
    return found

  return of_graph(concrete.graph)


def _describe(op: Any) -> tuple[Any, ...]:
  if op.type == 'Conv2D':
    images, kernel, outputs = op.inputs[0], op.inputs[1], op.outputs[0]
  elif op.type == 'Conv2DBackpropInput':
    images, kernel, outputs = op.outputs[0], op.inputs[1], op.inputs[2]
  else:
    images, kernel, outputs = op.inputs[0], op.outputs[0], op.inputs[2]
  shapes = [tensor.shape.as_list() for tensor in (images, kernel, outputs)]
  # Shape inference loses the batch in places; it is the same on both sides.
  shapes[0][0] = shapes[2][0] = shapes[0][0] or shapes[2][0]
  for shape in shapes:
    if None in shape:
      raise ValueError(f'{op.name}: shape {shape} is not known.')
  padding = op.get_attr('padding').decode()
  return (op.type, *map(tuple, shapes), tuple(op.get_attr('strides')), padding,
          images.dtype.name)


def flops(counts: collections.Counter) -> float:
  """Floating-point operations of convolutions, a product and a sum each."""
  total = 0.
  for (_, _, kernel, outputs, *_), number in counts.items():
    size = kernel[0] * kernel[1] * kernel[2]
    for n in outputs:
      size *= n
    total += 2. * size * number
  return total


def floor(counts: collections.Counter, cold: bool = False
         ) -> Callable[[], None]:
  """A function that runs just these convolutions, and waits for them.

  They stand in a few rows beside each other and wait for nothing else: this is
  as fast as they can go. Inputs of one shape are taken in turns from a few
  tensors, which the caches may hold.

  Args:
    counts: See `convolutions`.
    cold: Whether each convolution has tensors of its own in place of these,
      which come from memory where they are more than the caches hold, as a
      network's weights do.
  """
  import tensorflow as tf

  tensors: dict[Any, list[tf.Tensor]] = {}

  def make(shape: tuple[int, ...], dtype: str, index: int) -> tf.Tensor:
    made = tensors.setdefault((shape, dtype), [])
    if cold or len(made) <= index % 6:
      made.append(tf.cast(tf.random.normal(shape), dtype))
    return made[-1 if cold else index % 6]

  def run() -> tf.Tensor:
    done = []
    for (kind, images, kernel, outputs, strides, padding, dtype
        ), number in counts.items():
      for i in range(number):
        with tf.init_scope():
          x, k, y = (make(shape, dtype, i)
                     for shape in (images, kernel, outputs))
        options = dict(strides=strides, padding=padding)
        if kind == 'Conv2D':
          z = tf.raw_ops.Conv2D(input=x, filter=k, **options)
        elif kind == 'Conv2DBackpropInput':
          z = tf.raw_ops.Conv2DBackpropInput(
              input_sizes=images, filter=k, out_backprop=y, **options)
        else:
          z = tf.raw_ops.Conv2DBackpropFilter(
              input=x, filter_sizes=kernel, out_backprop=y, **options)
        done.append(z.op)
        if len(done) > _ROWS:
          # Equal ones without it are taken for one.
          z.op._add_control_input(done[-1 - _ROWS])
    with tf.control_dependencies(done):
      return tf.constant(0)

  function = tf.function(run, autograph=False).get_concrete_function()
  return lambda: function().numpy()


def step_batch(shape: tuple[int, int, int], batch: int,
               domains: str = 'ab') -> dict[str, Any]:
  """A batch of random pixels."""
  import numpy as np
  import tensorflow as tf

  random = np.random.RandomState(0)
  return {d: tf.constant(random.randint(0, 256, (batch, *shape)), tf.uint8)
          for d in domains}


def num_trained(trainer: Any) -> int:
  """Number of weights that a `Trainer` trains, of the model and its critics."""
  critics = trainer.critics.networks.trainable if trainer.critics else []
  return sum(v.shape.num_elements() for v in (
      *trainer.model.trainable_variables, *critics))


@contextlib.contextmanager
def training() -> Iterator[None]:
  """Threads and graph optimizer as `alignflow_tf.train` sets them."""
  from alignflow_tf import _threads
  from alignflow_tf.train import loop

  if os.environ.get('ALIGNFLOW_THREADS') != 'default':
    _threads.configure()
  with loop._without_graph_optimizer():
    yield

"""Activation memory and time of a gradient, by --memory and depth.

  python benchmarks/memory.py [--couplings=8,16,32,64] [--size=32] [--batch=16]
  python benchmarks/memory.py --preset=paper --size=128 --batches=1,2,4,16

Each figure comes from a fresh process. `with graph` is its peak of resident
memory while it takes gradients of the negative log-likelihood of a batch, less
what is resident before, with weights and traces, and as much again for the
gradients. `process` is that less the same of a batch of one image in another
process: what the other images' activations take, without what TensorFlow keeps
of a graph that has run. `tensors` is the peak of what tensors take, by
TensorFlow's own count (with oneDNN, small ones not included). All couplings
stand at one scale, with two residual blocks.

With --preset, whole training steps of that architecture, by --memory and batch:
the peak of the process less weights, averages, Adam's state and gradients, of
flows and critics.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import _common

_COLUMNS = ['memory', 'couplings', 'tensors MB', 'process MB',
            'with graph MB', 's', 'x standard']


def _measure(args: argparse.Namespace) -> dict[str, Any]:
  import tensorflow as tf
  import tensorflow_probability as tfp

  from alignflow_tf import _graph
  from alignflow_tf import bijectors
  from alignflow_tf import networks

  mode, couplings = args.child.split(':')
  with _common.training():
    layers = []
    for i in range(int(couplings)):
      layers += [
          bijectors.ActNorm(3),
          bijectors.Coupling(
              3, bijectors.CheckerboardMask(bool(i % 2)),
              lambda n: networks.ConditionerResNet(
                  n, filters=args.width, num_blocks=2))]
    flow = bijectors.ImageChain(layers, memory=mode)
    shape = (args.size, args.size, 3)
    flow_distribution = tfp.distributions.TransformedDistribution(
        tfp.distributions.Sample(
            tfp.distributions.Normal(0., 1.), list(shape)), flow)
    variables = list(flow.trainable_variables)
    totals = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]

    @tf.function(autograph=False)
    @_graph.not_inlined()  # As in training.
    def step(x: tf.Tensor) -> tf.Tensor:
      with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(flow_distribution.log_prob(x))
      gradients = tape.gradient(loss, variables)
      for total, gradient in zip(totals, gradients, strict=True):
        total.assign(gradient)
      return loss

    # As in training, the batch is known when the graph is traced: gradients
    # keep more where it is not.
    x = tf.random.normal([args.batch, *shape])
    step.get_concrete_function(x)
    before = _common.memory_mb('VmRSS')
    _common.reset_peak()
    times = []
    for _ in range(args.steps):
      begin = time.perf_counter()
      float(step(x))
      times.append(time.perf_counter() - begin)
    gradients_size = sum(v.shape.num_elements() for v in variables) * 4 / 2**20
    try:
      peak = tf.config.experimental.get_memory_info('CPU:0')['peak'] / 2**20
    except (ValueError, tf.errors.OpError):  # No pool, no count.
      peak = math.nan
  return {'MB': _common.memory_mb('VmHWM') - before - gradients_size,
          'tensors': peak, 'seconds': min(times)}


def _measure_steps(args: argparse.Namespace) -> dict[str, Any]:
  """Of training steps: the first, which prepares all that later ones need."""
  from alignflow_tf.train import config as config_lib
  from alignflow_tf.train import trainer as trainer_lib

  mode, batch = args.child.split(':')
  config = config_lib.resolve(args.preset, batch_size=int(batch), memory=mode)
  shape = (args.size, args.size, 3)
  with _common.training():
    trainer = trainer_lib.Trainer(config, ('a', 'b'), shape)
    trainer.initialize(_common.step_batch(shape, 4))
    # Weights, averages, slots; and as much again as is trained for gradients.
    numbers = sum(v.shape.num_elements() for v in trainer.variables)
    numbers += _common.num_trained(trainer)
    images = _common.step_batch(shape, int(batch))
    begin = time.perf_counter()
    float(trainer.train_step(images)['loss'])
    seconds = time.perf_counter() - begin
    for _ in range(args.steps - 1):
      begin = time.perf_counter()
      float(trainer.train_step(images)['loss'])
      seconds = time.perf_counter() - begin
  peak = _common.memory_mb('VmHWM')
  return {'MB': peak - 4 * numbers / 2**20, 'seconds': seconds, 'peak': peak}


def _steps(args: argparse.Namespace) -> None:
  columns = ['memory', 'batch', 'peak MB', 'less state MB', 's (last step)']
  rows = []
  for mode in args.modes.split(','):
    for batch in args.batches.split(','):
      result = _common.in_process([
          f'--child={mode}:{batch}', f'--preset={args.preset}',
          f'--size={args.size}', f'--steps={args.steps}'])
      rows.append([mode, batch, *(
          [result['error'], '', ''] if 'error' in result else [
              f'{result["peak"]:.0f}', f'{result["MB"]:.0f}',
              f'{result["seconds"]:.1f}'])])
      _common.print_table(columns, rows[-1:])
  print(f'\npreset {args.preset}, {args.size}x{args.size}x3, '
        f'{args.steps} steps')
  _common.print_table(columns, rows)


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--modes', default='standard,reversible')
  parser.add_argument('--couplings', default='8,16,32,64')
  parser.add_argument('--size', type=int, default=32)
  parser.add_argument('--batch', type=int, default=16)
  parser.add_argument('--width', type=int, default=32)
  parser.add_argument('--steps', type=int, default=3)
  parser.add_argument('--preset', default=None)
  parser.add_argument('--batches', default='1,2,4,16')
  parser.add_argument('--child', default=None, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child is not None:
    print(json.dumps(
        _measure_steps(args) if args.preset else _measure(args)))
    return
  _common.print_machine()
  if args.preset:
    _steps(args)
    return
  depths = args.couplings.split(',')
  rows = []
  standard: dict[str, float] = {}
  for mode in args.modes.split(','):
    for depth in depths:
      one, result = (_common.in_process([
          f'--child={mode}:{depth}', f'--size={args.size}',
          f'--batch={batch}', f'--width={args.width}',
          f'--steps={args.steps}']) for batch in (1, args.batch))
      error = result.get('error') or one.get('error')
      if error:
        rows.append([mode, depth, error, '', '', '', ''])
        continue
      if mode == 'standard':
        standard[depth] = result['seconds']
      rows.append([
          mode, depth, f'{result["tensors"]:.0f}',
          f'{result["MB"] - one["MB"]:.0f}', f'{result["MB"]:.0f}',
          f'{result["seconds"]:.2f}',
          f'{result["seconds"] / standard[depth]:.2f}'
          if depth in standard else ''])
      _common.print_table(_COLUMNS, rows[-1:])
  print(f'\n{args.size}x{args.size}x3, batch {args.batch}, width {args.width}')
  _common.print_table(_COLUMNS, rows)


if __name__ == '__main__':
  main()

"""Families of flows, each trained by likelihood alone for as long.

  python benchmarks/flow_families.py [--flows=real_nvp,glow] [--seconds=180]

Data are the embedded MNIST digits, 16x16x1. A flow is trained in a process and
on a thread of its own for `--seconds` of that process's time on the processor,
so that other programs matter little: Adam, batches of 32, a rate of 1e-3 that
falls linearly to 0. The first step, which traces, is not counted. Prints a row
a flow: bits/dim of dequantised validation and test images, the largest error of
test images taken to the latent and back (TFP's cache broken), seconds a step.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import _common

# Sizes are those of the preset `cpu`, and of the trunk of `cpu_trunk`.
_NVP = {'num_scales': 2, 'channels': 16, 'num_blocks': 1}
_FLOWS: dict[str, dict[str, Any]] = {
    'real_nvp': _NVP,
    'glow': {'num_scales': 3, 'channels': 32, 'num_blocks': 1},
    'spline': _NVP, 'flowpp': _NVP}
_BATCH, _RATE = 32, 1e-3


def _measure(name: str, seconds: float) -> dict[str, Any]:
  import numpy as np
  import tensorflow as tf

  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  from alignflow_tf import bijectors
  from alignflow_tf import data
  from alignflow_tf import flows
  from alignflow_tf import images as images_lib
  from alignflow_tf import inference
  from alignflow_tf import model as model_lib
  from alignflow_tf.train import optimizer

  digits = data.load('digits')
  images = {split: digits.arrays('mnist', split)['image']
            for split in ('train', 'validation', 'test')}
  # Two domains that share all of it: one flow, with what evaluates it.
  model = model_lib.AlignFlow(
      ('mnist', 'same'), digits.event_shape, adapter=None,
      trunk=lambda shape: flows.FLOWS[name](shape, **_FLOWS[name]))
  first = images_lib.dequantize(images['train'][:256], tf.constant([0, 0]))
  model.initialize({'mnist': first, 'same': first})
  adam = optimizer.Adam(model.trainable_variables, 0.9, 0.999)

  @tf.function(autograph=False)
  def step(levels: tf.Tensor, seed: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    x = images_lib.dequantize(levels, seed)
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(model.bits_per_dim(x, 'mnist'))
    gradients = tape.gradient(loss, model.trainable_variables)
    norm = tf.sqrt(optimizer.squared_norm(gradients))
    adam.apply(gradients, rate, tf.math.is_finite(norm),
               tf.minimum(1., 10. / norm))
    return loss

  random, steps, done = np.random.RandomState(0), 0, 0.
  begin = time.process_time()
  while done < 1.:
    chosen = random.randint(0, len(images['train']), _BATCH)
    step(tf.constant(images['train'][chosen]), tf.constant([1, steps]),
         tf.constant(_RATE * (1. - done), tf.float32))
    steps += 1
    if steps == 1:
      begin = time.process_time()
    done = (time.process_time() - begin) / seconds
  bijectors.clear_cache()
  evaluator = inference.Evaluator(model)
  x = np.asarray(images_lib.from_uint8(images['test']))
  back = evaluator.decode(evaluator.encode(x, 'mnist'), 'mnist')
  return {
      'steps': steps, 'step': done * seconds / max(1, steps - 1),
      'parameters': flows.num_parameters(model),
      'round_trip': float(np.abs(back - x).max()),
      **{split: float(evaluator.bits_per_dim(images[split], 'mnist').mean())
         for split in ('validation', 'test')}}


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--flows', default=','.join(_FLOWS))
  parser.add_argument('--seconds', type=float, default=180.)
  parser.add_argument('--child', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(_measure(args.child, args.seconds)))
    return
  _common.print_machine()
  print(f'{args.seconds:g} s of one thread each.')
  rows = []
  for name in args.flows.split(','):
    row = _common.in_process([f'--child={name}', f'--seconds={args.seconds}'])
    rows.append([name, row['error']] if 'error' in row else [
        name, f'{row["validation"]:.2f}', f'{row["test"]:.2f}',
        f'{row["round_trip"]:.1e}', f'{row["step"]:.3f}', str(row['steps']),
        f'{row["parameters"]:,}'])
    print(*rows[-1], flush=True)
  _common.print_table(
      ['flow', 'validation', 'test', 'round trip', 's a step', 'steps',
       'parameters'], [row + [''] * (7 - len(row)) for row in rows])


if __name__ == '__main__':
  main()

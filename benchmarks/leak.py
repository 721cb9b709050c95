"""Resident memory over a long run, with evaluations and exports in between.

  python benchmarks/leak.py [--steps=3000] [--every=300]

A small model, since what leaks is objects and graphs: the step, then at each
pause what `alignflow_tf.train` does there (bits a dimension, round trips) and
an export. The first two pauses are warm-up; growth is from there to the end.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import _common


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--steps', type=int, default=3000)
  parser.add_argument('--every', type=int, default=300)
  parser.add_argument('--noexport', action='store_true')
  args = parser.parse_args()
  _common.print_machine()

  import numpy as np
  import tensorflow as tf

  from alignflow_tf import inference
  from alignflow_tf.export import export
  from alignflow_tf.train import config as config_lib
  from alignflow_tf.train import trainer as trainer_lib

  shape, batch = (8, 8, 1), 4
  config = config_lib.resolve(
      'cpu', batch_size=batch, width=4, critic_width=4, critic_layers=1)
  random = np.random.RandomState(0)
  with _common.training():
    trainer = trainer_lib.Trainer(config, ('a', 'b'), shape)
    trainer.initialize(_common.step_batch(shape, 64))
    evaluator = inference.Evaluator(trainer.average)
    levels = _common.step_batch(shape, 32)['a'].numpy()
    rows, resident = [], []
    begin = time.perf_counter()
    for step in range(1, args.steps + 1):
      images = {d: tf.constant(
          random.randint(0, 256, (batch, *shape)), tf.uint8) for d in 'ab'}
      float(trainer.train_step(images)['loss'])
      if step % args.every == 0:
        evaluator.bits_per_dim(levels, 'a')
        evaluator.round_trip(levels.astype(np.float32) / 256., 'a', 'b')
        if not args.noexport:
          with tempfile.TemporaryDirectory() as folder:
            export.export_model(trainer.average, folder)
        _common.give_back()
        resident.append(_common.memory_mb('VmRSS'))
        rows.append([str(step), f'{resident[-1]:.0f}',
                     f'{time.perf_counter() - begin:.0f}'])
        print(' '.join(rows[-1]), flush=True)
  _common.print_table(['step', 'resident MB', 's'], rows)
  if len(resident) > 2:
    growth = resident[-1] / resident[1] - 1.
    print(f'Growth after warm-up: {100 * growth:.1f} %')


if __name__ == '__main__':
  main()

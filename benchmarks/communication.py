"""What devices send one another in a step, beside the step: on paper.

  python benchmarks/communication.py [--preset=paper] [--size=32] [--batch=8]

Nothing is measured. Bytes are those of the variables that a preset trains, and
of the images that pools exchange; operations are those of the convolutions in
the graph of its step. A ring all-reduce of n bytes among N devices sends and
receives 2 (N - 1) / N n bytes a device, in 2 (N - 1) messages. The share of a
step that is sending is an upper bound: it takes the two not to overlap.
"""

from __future__ import annotations

import argparse

import _common

_DEVICES = (1, 2, 4, 8, 16, 64, 256, 1024)


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--preset', default='paper')
  parser.add_argument('--size', type=int, default=32)
  parser.add_argument('--channels', type=int, default=3)
  parser.add_argument('--batch', type=int, default=8, help='a device')
  parser.add_argument('--teraflops', type=float, default=30.,
                      help='10^12 operations a second that a device sustains')
  parser.add_argument('--gigabytes', default='200,25,1.25', help=(
      'GB/s between devices, each a column'))
  parser.add_argument('--microseconds', type=float, default=5.,
                      help='a message')
  args = parser.parse_args()

  from alignflow_tf.train import config as config_lib
  from alignflow_tf.train import trainer as trainer_lib

  shape = (args.size, args.size, args.channels)
  config = config_lib.resolve(args.preset, batch_size=args.batch)
  with _common.training():
    trainer = trainer_lib.Trainer(config, ('a', 'b'), shape)
    images = _common.step_batch(shape, args.batch)
    work = _common.flops(_common.convolutions(
        trainer.train_step.get_concrete_function(images)))
  gradients = 4 * _common.num_trained(trainer)
  # Those of both directions.
  image = 2 * 4 * args.size**2 * args.channels
  step = work / (1e12 * args.teraflops)
  print(f'preset {args.preset}, {args.size}x{args.size}x{args.channels}, '
        f'{args.batch} pairs a device: {gradients / 1e6:.0f} MB of gradients, '
        f'{work / 1e9:.0f} GFLOP of convolutions, {1e3 * step:.1f} ms at '
        f'{args.teraflops:g} TFLOP/s; {args.microseconds:g} us a message.\n')
  speeds = [float(s) for s in args.gigabytes.split(',')]
  rows = []
  for number in _DEVICES:
    ring = 2 * (number - 1) / number
    pooled = min(config.pool_size, number * args.batch)
    # All of the images, or some of them added to zeros.
    factor = (number - 1) / number if pooled == number * args.batch else ring
    sent = ring * gradients + factor * pooled * image
    messages = 0 if number == 1 else 2 * (number - 1) * args.microseconds / 1e6
    row = [str(number), str(number * args.batch), f'{sent / 1e6:.0f}']
    for speed in speeds:
      seconds = sent / (1e9 * speed) + messages
      row += [f'{1e3 * seconds:.1f}', f'{100 * step / (step + seconds):.0f} %']
    rows.append(row)
  columns = ['devices', 'batch', 'MB sent']
  for speed in speeds:
    columns += [f'ms at {speed:g} GB/s', 'efficiency']
  _common.print_table(columns, rows)


if __name__ == '__main__':
  main()

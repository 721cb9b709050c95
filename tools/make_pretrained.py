"""Puts a run into the package, as `pretrained:NAME`; see `make pretrained`.

  python tools/make_pretrained.py --run=runs/pretrained --name=digits
"""

from __future__ import annotations

import argparse
import os
import shutil

import numpy as np
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import pretrained
from alignflow_tf.train import checkpoints
from alignflow_tf.train import inputs
from alignflow_tf.train import runs

# Pictures of each domain, for a page on a computer without the data.
_PICTURES = 20


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--run', required=True, help='A run directory.')
  parser.add_argument('--name', required=True)
  parser.add_argument('--checkpoint', default='newest')
  arguments = parser.parse_args()
  run = runs.Run(arguments.run)
  path = run.checkpoint(arguments.checkpoint)
  step = int(path.rsplit('-', 1)[1])
  model = runs.load(arguments.run, checkpoint=str(step))
  domains = inputs.load(run.config)
  package = os.path.dirname(pretrained.__file__)
  output = os.path.join(package, arguments.name)
  shutil.rmtree(output, ignore_errors=True)
  os.makedirs(os.path.join(output, 'checkpoints'))
  for name in ('config.json', 'data.json'):
    shutil.copy(os.path.join(run.directory, name), output)
  written = checkpoints.prefix(os.path.join(output, 'checkpoints'), step)
  _io.dump(f'{written}.json', {'format': checkpoints.FORMAT, 'step': step})
  checkpoint = tf.train.Checkpoint(average=model)
  int(checkpoint.save_counter)  # Made at its first use; `runs.load` wants it.
  checkpoint.write(written)
  np.savez_compressed(os.path.join(output, 'pictures.npz'), **{
      d: domains.arrays(d, 'test', _PICTURES)['image'] for d in run.domains})
  size = sum(os.path.getsize(os.path.join(root, name))
             for root, _, names in os.walk(output) for name in names)
  print(f'{output}: {size / 1e6:.2f} MB')


if __name__ == '__main__':
  main()

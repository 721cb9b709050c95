"""Makes the run that later versions must go on from.

  python -m tests.train.make_golden tests/train/golden

trains two steps of a tiny model and writes, beside the run, what it computes.
It is made anew for a release whose checkpoints older ones cannot read, which a
changelog must then say; never to make a test pass.
"""

import json
import os
import shutil
import sys

import numpy as np

import alignflow_tf as af
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop

CONFIG = dict(
    num_scales=1, width=2, num_blocks=1, critic_width=1, critic_layers=1,
    batch_size=2, pool_size=1, steps=2, log_every=1, eval_every=2,
    checkpoint_every=2, keep_checkpoints=1, deterministic=True)


def images():
  """Any images; they do not hang on data."""
  return np.random.RandomState(0).uniform(
      size=(4, 16, 16, 1)).astype(np.float32)


def figures(model):
  """What a model computes, as lists of numbers."""
  x = images()
  translated = model.translator('mnist', 'optical').forward(x)
  return {
      'log_prob': np.asarray(model['mnist'].log_prob(x)).tolist(),
      'translated': np.asarray(translated)[:, ::5, ::5, 0].tolist()}


def main():
  directory = sys.argv[1]
  shutil.rmtree(directory, ignore_errors=True)
  loop.train(config_lib.resolve('cpu', **CONFIG), directory)
  found = {name: figures(af.load(directory, average=average))
           for name, average in (('average', True), ('newest', False))}
  with open(os.path.join(directory, 'figures.json'), 'w') as f:
    json.dump(found, f)
  for name in ('sheets', 'summaries'):
    shutil.rmtree(os.path.join(directory, name))
  os.remove(os.path.join(directory, 'lock'))


if __name__ == '__main__':
  main()

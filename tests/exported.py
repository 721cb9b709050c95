"""One tiny model, saved as a run and exported."""

import types

import numpy as np
import tensorflow as tf

from alignflow_tf import train
from alignflow_tf.export import export

SHAPE = (8, 8, 1)
DOMAINS = ('ink', 'chalk')


def _make_run(directory):
  config = train.resolve(
      'cpu', num_scales=1, width=4, num_blocks=1, image_size=8,
      objective='mle', many=DOMAINS, many_every=2)
  run = train.Run.create(
      str(directory), config, DOMAINS, SHAPE, dict.fromkeys(DOMAINS, False))
  trainer = train.Trainer(config, DOMAINS, SHAPE)
  random = np.random.RandomState(0)
  # Flows start as identities, whose translation would prove nothing. The two
  # sets of weights differ, so that an export of the wrong one shows. Larger
  # changes would take images farther out than an export accepts.
  for model in (trainer.model, trainer.average):
    for variable in model.trainable_variables:
      variable.assign_add(0.03 * random.randn(*variable.shape))
  tf.train.Checkpoint.save(
      trainer.checkpoint(), str(directory / 'checkpoints' / 'ckpt'))
  return run


def make(directory):
  """A run, its model, and its exports: `run`, `model`, `base`, `paths`."""
  run = _make_run(directory / 'run')
  base = directory / 'serving'
  # As an export leaves it that is killed.
  (base / '.partial-abc' / 'files' / 'ink').mkdir(parents=True)
  (base / '.partial-abc' / 'lock').touch()
  paths = export.export_run(run.directory, str(base))
  return types.SimpleNamespace(
      run=run, model=train.load(run.directory), base=base,
      paths={p.split('/')[-2]: p for p in paths})

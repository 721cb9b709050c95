"""AlignFlow by likelihood alone: two flows that share a prior and no more."""

import numpy as np
import tensorflow as tf

from alignflow_tf.train import config as config_lib
from alignflow_tf.train import trainer as trainer_lib

SHAPE = (8, 8, 1)


def test_likelihood_alone_trains_independent_flows():
  # As if each flow had been trained where there is no other domain: what DDIB
  # (https://arxiv.org/abs/2203.08382) is to diffusion.
  config = config_lib.resolve(
      'cpu', objective='mle', flow='short', num_scales=1, width=4,
      batch_size=4, steps=10, clip_norm=0.)
  random = np.random.RandomState(0)
  images = [tf.constant(random.randint(0, 256, (4, *SHAPE)), tf.uint8)
            for _ in range(3)]
  found = []
  for other in images[1:]:
    trainer = trainer_lib.Trainer(config, ('a', 'b'), SHAPE)
    batch = {'a': images[0], 'b': other}
    trainer.initialize(batch)
    for _ in range(2):
      trainer.train_step(batch)
    found.append([[v.numpy() for v in trainer.model.adapter(
        d).trainable_variables] for d in ('a', 'b')])
  for a, again in zip(found[0][0], found[1][0], strict=True):
    np.testing.assert_array_equal(a, again)
  assert any(np.any(b != other) for b, other in zip(
      found[0][1], found[1][1], strict=True))

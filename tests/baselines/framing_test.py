"""Framings of baselines: one frame for all domains."""

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import baselines
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf.baselines import cyclegan
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import trainer as trainer_lib

SHAPE = (16, 16, 1)


def _squares(half, count=4):
  images = np.zeros((count, *SHAPE), np.float32)
  images[:, 8 - half:8 + half, 8 - half:8 + half] = 1.
  return tf.constant(images)


def _spread(images):
  mass = np.abs(np.asarray(images)).sum((0, 2, 3))
  places = np.arange(len(mass))
  middle = np.average(places, weights=mass)
  return np.sqrt(np.average((places - middle)**2, weights=mass))


@pytest.mark.parametrize(
    'system', [baselines.CUT, baselines.CycleGAN, baselines.UNIT])
def test_networks_see_one_frame(system):
  model = system(('a', 'b'), SHAPE, 4, 1, 1, framing=True)
  images = {'a': _squares(3), 'b': _squares(6)}
  np.testing.assert_allclose(model.frame(images['b'], 'b'), images['b'])
  model.initialize(images)
  framed = {d: model.frame(images[d], d) for d in 'ab'}
  assert _spread(images['b']) / _spread(images['a']) > 1.9
  assert _spread(framed['b']) / _spread(framed['a']) < 1.2
  for d in 'ab':
    np.testing.assert_allclose(
        model.unframe(framed[d], d), images[d], atol=1e-4)
  y = model.translator('a', 'b').forward(images['a'])
  assert float(tf.reduce_min(y)) >= 0.
  assert float(tf.reduce_max(y)) <= 1.
  plain = system(('a', 'b'), SHAPE, 4, 1, 1)
  assert len(plain.trainable_variables) == len(model.trainable_variables)


def test_a_generator_that_does_nothing_has_no_identity_loss(monkeypatch):
  config = config_lib.resolve(
      model='cyclegan', framing=True, identity_weight=0.5, num_scales=2,
      width=4, num_blocks=1)
  model = trainer_lib.build_model(config, ('a', 'b'), SHAPE)
  real = {'a': _squares(3), 'b': _squares(6)}
  model.initialize(real)
  monkeypatch.setattr(networks.Tracked, '__call__', lambda self, x: x)
  fakes = {(s, t): real[s] for s, t in (('a', 'b'), ('b', 'a'))}
  state = objectives.State(real, fakes, {}, tf.zeros([]), tf.constant([0, 0]))
  term, = (t for t in cyclegan.terms(config, model)
           if t.name == 'identity_loss')
  assert float(term.fn(state)) < 1e-4


def test_the_averaged_model_has_the_frames_of_the_trained_one():
  config = config_lib.resolve(
      model='cyclegan', framing=True, num_scales=2, width=4, num_blocks=1,
      critic_width=4, critic_layers=1, batch_size=4, pool_size=4, steps=3)
  trainer = trainer_lib.Trainer(config, ('a', 'b'), SHAPE)
  images = {d: tf.cast(255. * x, tf.uint8)
            for d, x in (('a', _squares(3)), ('b', _squares(6)))}
  trainer.initialize(images)
  trainer.train_step(images)
  x = _squares(6)
  np.testing.assert_allclose(
      trainer.average.frame(x, 'b'), trainer.model.frame(x, 'b'))
  assert np.any(trainer.model.frame(x, 'b') != x)

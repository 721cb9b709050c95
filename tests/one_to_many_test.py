"""Several translations of an image come back to it."""

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import inference
from alignflow_tf import objectives
from alignflow_tf import one_to_many
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import trainer as trainer_lib
from tests import models
from tests.train import tiny


@pytest.fixture(name='model', scope='module')
def _model():
  return models.trained()


def _images():
  return tf.constant(models.images())


def _free(size, every):
  rows = np.arange(size) % every == 0
  return rows[:, np.newaxis] & rows


def test_a_draw_keeps_all_of_the_latent_but_every_nth_pixel(model):
  x = _images()
  z = model.encode(tf.identity(x), 'a').numpy()
  drawn = one_to_many.translate(model, x, 'a', 'b', (3, 4), every=2)
  found = model.encode(tf.identity(drawn), 'b').numpy()
  free = _free(4, 2)
  np.testing.assert_allclose(found[:, ~free], z[:, ~free], atol=1e-4)
  assert np.abs(found[:, free] - z[:, free]).mean() > 0.3
  # The way back differs from the image by what was drawn alone.
  back = model.translator('b', 'a').forward(tf.identity(drawn))
  np.testing.assert_allclose(
      model.encode(tf.identity(back), 'a'), found, atol=1e-3)


def test_a_seed_is_a_translation(model):
  x = _images()
  first, again, other = (
      one_to_many.translate(model, x, 'a', 'b', seed).numpy()
      for seed in ((1, 2), (1, 2), (1, 3)))
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - other).max() > 0.005


def test_draws_of_all_images_are_alike_in_any_batch(model):
  x = np.repeat(_images().numpy()[:1], 5, axis=0)
  first, second = inference.Evaluator(model, batch_size=2).draws(
      x, 'a', 'b', 2, [0, 7])
  np.testing.assert_allclose(first[:1].repeat(5, axis=0), first, atol=1e-6)
  assert np.abs(first - second).max() > 0.005


def test_training_draws_the_translations_to_many():
  config = tiny.config(
      many=('mnist',), many_every=2, eight_bit_weight=1., framing=False)
  trainer = trainer_lib.Trainer(config, ('optical', 'mnist'), (8, 8, 1))
  free = _free(8, 2)

  def moved(pixels, source, target):
    def value(state):
      gap = (trainer.model.encode(state.fakes[source, target], target) -
             trainer.model.encode(state.real[source], source))
      return tf.reduce_mean(tf.boolean_mask(tf.abs(gap), pixels, axis=1))
    return value

  trainer.terms += [
      objectives.Term(name, 0., moved(*arguments)) for name, arguments in (
          ('drawn', (free, 'optical', 'mnist')),
          ('kept', (~free, 'optical', 'mnist')),
          ('other way', (free, 'mnist', 'optical')))]
  random = np.random.RandomState(0)
  metrics = trainer.train_step({
      d: tf.constant(random.randint(0, 256, (4, 8, 8, 1)).astype(np.uint8))
      for d in ('optical', 'mnist')})
  assert metrics['drawn'] > 0.3
  assert metrics['kept'] < 1e-3
  assert metrics['other way'] < 1e-3
  assert np.isfinite(metrics['eight_bit_loss'])


@pytest.mark.parametrize(('values', 'message'), [
    ({'many': ('mnist',)}, '`eight_bit_weight`'),
    ({'many': ('mnist',), 'eight_bit_weight': 1., 'trunk': 'short',
      'trunk_steps': 1}, "`trunk` must be 'none'"),
    ({'many_every': 0}, '`many_every`'),
])
def test_settings_that_contradict(values, message):
  with pytest.raises(config_lib.ConfigError, match=message):
    tiny.config(**values)


def test_an_unknown_domain_is_named():
  config = tiny.config(many=('minst',), eight_bit_weight=1.)
  with pytest.raises(config_lib.ConfigError, match="`many`.*'minst'"):
    inputs.check(config, inputs.load(config))

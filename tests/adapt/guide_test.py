"""Tests of translators that a classifier of the target guides."""

import os

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import adapt
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import semantic
from alignflow_tf.train import config as train_config
from alignflow_tf.train import runs
from alignflow_tf.train import trainer as trainer_lib
from tests.adapt import small

SHAPE = (16, 16, 1)


def _batch(seed=0):
  random = np.random.RandomState(seed)
  images = {d: tf.constant(random.randint(0, 256, [4, *SHAPE]), tf.uint8)
            for d in 'ab'}
  return images | {f'{d}/label': tf.constant(random.randint(0, 3, 4), tf.int64)
                   for d in 'ab'}


@pytest.mark.slow
@pytest.mark.parametrize(('method', 'kind'), [
    ('alignflow', 'alignflow'), ('cycada', 'cyclegan'), ('unit', 'unit')])
def test_a_classifier_adapted_before_labels_the_target(
    domains, tmp_path, method, kind):
  settings = small.settings(
      classifier_steps=5, target_steps=2, semantic_guide=True,
      semantic_critics=True)
  output = str(tmp_path)
  plain = adapt.adapt(domains, 'mnist', 'optical', 'alignflow+', output,
                      settings, skip=('translator',), score=False)
  # Where there is no translator, nothing needs a guide.
  alone = adapt.adapt(domains, 'mnist', 'optical', method, output, settings,
                      skip=('translator',), score=False)
  assert alone['stages'] == plain['stages'][:2]
  result = adapt.adapt(
      domains, 'mnist', 'optical', method, output, settings, score=False)
  # The guide is the classifier that there would be without a translator.
  assert result['stages'] == plain['stages'] + [
      f'{kind}_translated', f'{kind}_classifier', f'{kind}_feature']
  assert 'translated_accuracy' in result['criteria']
  # Critics that take classes do not judge images alone.
  run = os.path.join(output, f'{kind}_translator')
  assert runs.load_critics(run) == {}


def test_critics_and_the_semantic_term_take_labels_of_both_domains():
  config = train_config.resolve(
      'cpu', flow='couplings', num_scales=1, width=4, critic_width=4,
      critic_layers=1, batch_size=4, steps=3, pool_size=4, critic_steps=1)
  term = semantic.SemanticLoss(
      'a', 'b', SHAPE, 3, small.settings(
          semantic_guide=True, semantic_critics=True), guided=True)
  trainer = trainer_lib.Trainer(config, ('a', 'b'), SHAPE, auxiliary=term)
  assert trainer.labels == ('a', 'b')
  for critic in trainer.critics.networks.by_domain.values():
    assert critic.input_shape[1:] == (16, 16, 4)
  trainer.initialize({d: _batch()[d] for d in 'ab'})
  metrics = trainer.train_step(_batch())
  assert {'semantic_loss/a_to_b', 'semantic_loss/b_to_a'} <= set(metrics)
  images = {d: tf.zeros([4, *SHAPE]) for d in 'ab'}
  labels = {'a': tf.constant([0, 1, 2, 1]), 'b': tf.constant([2, 2, 0, 0])}
  real, fakes = trainer.critics.seen(
      images, {('a', 'b'): images['a']}, labels)
  np.testing.assert_array_equal(real['b'][:, 0, 0, 1:].numpy().argmax(-1),
                                labels['b'])
  np.testing.assert_array_equal(
      fakes['a', 'b'][:, 5, 5, 1:].numpy().argmax(-1), labels['a'])


def test_a_translation_is_read_by_the_classifier_of_its_domain():
  term = semantic.SemanticLoss(
      'a', 'b', SHAPE, 3, small.settings(semantic_guide=True), guided=True)
  # The same images are of class 0 in one domain and of class 1 in the other,
  # which no classifier of both can tell.
  x = tf.random.stateless_uniform([8, *SHAPE], [1, 2])
  real, fakes = {'a': x, 'b': x}, {('a', 'b'): x, ('b', 'a'): x}
  zero, one = tf.zeros([8], tf.int64), tf.ones([8], tf.int64)
  for i in range(60):
    term.update(real, fakes, {'a': zero, 'b': one}, tf.constant([3, i]))
  _, metrics = term.loss(
      real, fakes, {'a': one, 'b': zero}, tf.constant([4, 0]))
  assert float(metrics['semantic_loss/a_to_b']) < 0.3
  assert float(metrics['semantic_loss/b_to_a']) < 0.3


def test_critics_see_classes_of_a_guide_alone():
  with pytest.raises(config_lib.AdaptError, match='semantic_guide'):
    small.settings(semantic_critics=True)

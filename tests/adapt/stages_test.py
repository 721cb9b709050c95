"""Tests of the stages' training, on the digits that come with packages."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import adapt
from alignflow_tf import classification
from alignflow_tf.adapt import problem as problem_lib
from alignflow_tf.adapt import stages
from tests.adapt import small


def test_classifiers_learn_the_source(domains, tmp_path):
  result = adapt.adapt(
      domains, 'mnist', 'optical', 'source_only', str(tmp_path),
      small.settings(classifier_steps=400), score=False)
  assert result['criteria']['source_accuracy'] > 0.85
  assert result['stages'] == ['source_classifier']
  bound = adapt.adapt(
      domains, 'mnist', 'optical', 'target_only', str(tmp_path),
      small.settings(classifier_steps=400))
  assert bound['stages'] == ['target_classifier']
  assert bound['accuracy'] > 0.8


def test_an_average_of_what_the_feature_stage_went_through_is_kept(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  settings = small.settings(
      feature_steps=30, feature_rate=1e-3, feature_gate=0.)
  model = stages.build((16, 16, 1), 10, settings, 0)

  def distance(decay: float) -> float:
    adapted = stages.adapt_features(
        model, problem.train, problem.unlabelled,
        dataclasses.replace(settings, feature_average=decay), 0)
    return sum(float(np.abs(a.numpy() - b.numpy()).sum()) for a, b in zip(
        adapted.trainable_variables, model.trainable_variables, strict=True))

  # The last weights went far; their average stayed behind.
  assert 0. < distance(0.99) < distance(0.)


def test_a_moving_average_counts_its_first_updates_less():
  networks = [keras.Sequential([keras.Input([1]), keras.layers.Dense(
      1, use_bias=False)]) for _ in range(2)]
  for decay, expected in ((0., 5.), (0.3, None)):
    average = stages._Average(*networks, decay)
    networks[0].set_weights([np.zeros([1, 1])])
    by_hand = 0.
    for i in range(5):
      networks[1].set_weights([np.full([1, 1], i + 1.)])
      average.update(tf.constant(i))
      keep = min(decay, (1 + i) / (10 + i))
      by_hand = keep * by_hand + (1 - keep) * (i + 1.)
    found = float(average.model.get_weights()[0][0, 0])
    assert found == pytest.approx(by_hand, rel=1e-6)
    assert expected in (None, found)


def test_the_feature_stage_can_go_on_with_the_sources_labels(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  settings = small.settings(
      feature_steps=150, feature_rate=1e-3, feature_gate=0.99,
      classifier_augment=True, augment_scale=0.02, augment_shift=0.02)
  model = stages.build((16, 16, 1), 10, settings, 0)

  def accuracy(weight: float) -> float:
    adapted = stages.adapt_features(
        model, problem.train, problem.unlabelled,
        dataclasses.replace(settings, feature_source_weight=weight), 0)
    found = classification.predict(
        adapted, problem.validation.images).argmax(axis=-1)
    return float((found == problem.validation.labels).mean())

  # An untrained classifier: only labels can teach it the classes.
  assert accuracy(1.) > 0.6
  assert accuracy(0.) < 0.4


def test_source_images_are_drawn_by_the_priors():
  labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
  prior = np.array([0.2, 0.5, 0.3])
  draw = stages._source_places(labels, prior)
  found = labels[draw(0, 0, tf.constant(3), 20_000).numpy()]
  np.testing.assert_allclose(
      np.bincount(found) / 20_000, prior, atol=0.015)
  # By its labels' own frequencies without one, and the same ones by one seed.
  plain = stages._source_places(labels, None)
  first = plain(0, 0, tf.constant(3), 20_000).numpy()
  np.testing.assert_allclose(
      np.bincount(labels[first]) / 20_000, [0.9, 0.09, 0.01], atol=0.015)
  np.testing.assert_array_equal(
      first, plain(0, 0, tf.constant(3), 20_000).numpy())
  # A class that the source has not is drawn from the others.
  few = stages._source_places(np.array([0, 0, 1]), prior)
  assert set(few(0, 0, tf.constant(0), 100).numpy()) == {0, 1, 2}


def test_information_is_largest_at_the_priors():
  prior = np.array([0.2, 0.5, 0.3])
  eye = np.eye(3, dtype=np.float32)
  as_often = tf.constant(np.repeat(eye, [2, 5, 3], axis=0))
  equal = tf.constant(np.repeat(eye, [4, 4, 4], axis=0))
  assert float(stages._information(as_often, prior)) == pytest.approx(
      0., abs=1e-5)
  assert float(stages._information(equal, prior)) < -0.05
  assert float(stages._information(equal, None)) == pytest.approx(
      np.log(3.), abs=1e-5)
  assert float(stages._information(as_often, None)) < np.log(3.) - 0.05


def test_priors_are_what_the_classifier_finds(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  model = stages.build((16, 16, 1), 10, small.settings(), 0)
  prior = stages._prior(
      model, problem.unlabelled, small.settings(class_priors=True))
  np.testing.assert_allclose(
      prior, classification.predict(model, problem.unlabelled).mean(axis=0),
      atol=1e-6)
  assert prior.sum() == pytest.approx(1., abs=1e-6)
  assert stages._prior(model, problem.unlabelled, small.settings()) is None


@pytest.mark.parametrize('stage', ['feature', 'target'])
def test_stages_heed_the_priors(domains, stage):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  settings = small.settings(feature_source_weight=1.)
  model = stages.build((16, 16, 1), 10, settings, 0)
  train = {'feature': stages.adapt_features,
           'target': stages.adapt_to_target}[stage]

  def weights(class_priors: bool) -> list[np.ndarray]:
    return train(
        model, problem.train, problem.unlabelled,
        dataclasses.replace(settings, class_priors=class_priors),
        0).get_weights()

  with_priors, without = weights(True), weights(False)
  assert any(np.abs(a - b).max() > 1e-5
             for a, b in zip(with_priors, without, strict=True))


def test_behind_a_shut_gate_only_the_sources_labels_teach(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  settings = small.settings(
      feature_steps=3, feature_source_weight=1., feature_rate=1e-3)
  model = stages.build((16, 16, 1), 10, settings, 0)
  # A discriminator that is never right: these images are alike.
  alike = problem.train._replace(images=np.zeros_like(problem.train.images))

  def weights(target: np.ndarray, gate: float) -> list[np.ndarray]:
    return stages.adapt_features(
        model, alike, target, dataclasses.replace(settings, feature_gate=gate),
        0).get_weights()

  dark = np.zeros_like(problem.unlabelled)
  grey = np.full_like(problem.unlabelled, 9)
  for a, b in zip(weights(dark, 0.9999), weights(grey, 0.9999), strict=True):
    np.testing.assert_array_equal(a, b)
  assert any(np.any(a != b) for a, b in zip(
      weights(dark, 0.), weights(grey, 0.), strict=True))

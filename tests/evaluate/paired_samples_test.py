"""Tests of the figures of samples."""

import types

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf.evaluate import paired_samples

_SHAPE = (16, 16, 1)


class _References:
  """Features are pixels; the class is whether the upper half is brighter."""

  def features(self, domain):
    del domain
    return (lambda x: x.reshape(len(x), -1)), 'pixels'

  def classifier(self, domain):
    del domain
    weights = np.zeros([256, 2], np.float32)
    weights[:128, 0] = weights[128:, 1] = 1.
    model = keras.Sequential([
        keras.Input(_SHAPE), keras.layers.Flatten(),
        keras.layers.Dense(2, kernel_initializer=(
            lambda shape, dtype=None: tf.constant(weights, dtype)))])
    return model


def _images(upper):
  images = 0.1 * np.random.RandomState(1).rand(len(upper), *_SHAPE)
  for image, up in zip(images, upper, strict=True):
    image[:8 if up else 0] += 0.8
    image[8 if not up else 16:] += 0.8
  return images.astype(np.float32)


def _evaluator(b_of_a):
  def decode(latents, domain):
    upper = latents[:, 0, 0, 0] > 0.
    return _images(upper if domain == 'a' else b_of_a(upper))
  return types.SimpleNamespace(decode=decode)


def test_pairs_of_one_class_and_realistic_samples():
  real = {d: _images(np.arange(40) % 2 == 0) for d in 'ab'}
  found = paired_samples.score(_evaluator(lambda x: x), _References(), real)
  assert found['same_class'] == 1.
  assert all(abs(v['samples'] - v['real']) < 0.2 for v in found['kid'].values())
  found = paired_samples.score(
      _evaluator(np.logical_not), _References(), real)
  assert found['same_class'] == 0.
  found = paired_samples.score(
      _evaluator(np.zeros_like), _References(), real)
  assert 0.2 < found['same_class'] < 0.8
  assert found['kid']['b']['samples'] > found['kid']['a']['samples'] + 0.5


def test_unsure_classifiers_do_not_count():
  real = {d: _images(np.arange(8) % 2 == 0) for d in 'ab'}
  grey = types.SimpleNamespace(
      decode=lambda z, d: np.full([len(z), *_SHAPE], 0.5, np.float32))
  assert not paired_samples.score(grey, _References(), real)['same_class']


def test_without_features_there_are_no_figures():
  references = types.SimpleNamespace(features=lambda d: None)
  assert not paired_samples.score(
      _evaluator(lambda x: x), references, {'a': np.zeros([4, *_SHAPE])})

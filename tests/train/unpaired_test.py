"""Figures without pairs, and models that are broken on purpose."""

import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import data
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import divergence
from alignflow_tf.train import unpaired
from alignflow_tf.train import validation

tfb = tfp.bijectors


def _images(seed, number=60):
  random = np.random.RandomState(seed)
  x = random.uniform(size=(number, 1, 1, 1)) * np.ones((1, 8, 8, 1))
  x[:, 2:5, 2:5] = random.uniform(size=(number, 3, 3, 1))
  return x.astype(np.float32)


@pytest.mark.parametrize(('translate', 'words'), [
    (lambda x: x, ''),
    (lambda x: 1. - x, ''),  # Another style, of the same content.
    (lambda x: 1.2 * x[:, ::-1] - 0.1, ''),
    (lambda x: 0. * x + 0.5, 'look alike'),
    (lambda x: 0.5 + 0.01 * x, 'look alike'),
    (lambda x: _images(7), 'do not depend'),
    (lambda x: x + 3., 'outside'),
    (lambda x: x * np.float32('nan'), 'outside'),
])
def test_a_collapse_is_told(translate, words):
  x = _images(0)
  found = unpaired.collapse(**unpaired.signs(x, translate(x), _images(1)))
  assert words in found
  assert bool(words) == bool(found)


def test_few_or_equal_images_are_no_collapse():
  x = _images(0, 5)
  assert unpaired.signs(x, x[::-1], x)['dependence'] == 1.
  x = np.repeat(x[:1], 40, 0)
  assert not unpaired.collapse(**unpaired.signs(x, x, x))


def _textures(seed, width):
  """Noise of one mean and variance, smooth over `width` pixels."""
  random = np.random.RandomState(seed)
  x = random.normal(size=(80, 16, 16, 3))
  for axis in (1, 2):
    x = sum(np.roll(x, i, axis) for i in range(width)) / np.sqrt(width)
  return (0.5 + 0.15 * x).astype(np.float32)


def test_distance_grows_as_translations_look_less_like_the_target():
  targets = _textures(0, 8)
  same, near, far, noise = (
      unpaired.kernel_distance(_textures(1, width), targets)
      for width in (8, 4, 2, 1))
  assert abs(same) < 0.06 < near < far < noise
  # A few images over and over lack the target's variety.
  assert unpaired.kernel_distance(
      np.repeat(targets[:4], 20, 0), targets) > 0.1


def test_distance_of_images_of_any_size():
  for shape in ((2, 2, 2, 1), (3, 5, 7, 4), (2, 1, 1, 1), (120, 9, 64, 3)):
    x = np.random.RandomState(0).uniform(size=shape).astype(np.float32)
    assert np.isfinite(unpaired.kernel_distance(x, x))
    assert unpaired.kernel_distance(2. * x - 3., x) == pytest.approx(
        unpaired.kernel_distance(np.clip(2. * x - 3., 0., 1.), x))
  constant = np.full([5, 8, 8, 1], 0.5, np.float32)
  assert unpaired.kernel_distance(constant, constant) == pytest.approx(0.)
  for bad in (np.nan, np.inf):
    broken = np.where(np.arange(5).reshape(5, 1, 1, 1) == 2, bad, constant)
    assert np.isnan(unpaired.kernel_distance(broken, constant))


class _Model:
  """Translates by a bijector, and has neither latents nor densities."""

  domains = ('optical', 'mnist')
  event_shape = (8, 8, 1)
  dtype = tf.float32
  variables = trainable_variables = ()

  def __init__(self, bijector):
    self._bijector = bijector

  def translator(self, source, target):
    return self._bijector


@pytest.mark.parametrize(('bijector', 'words'), [
    (tfb.Scale(0.9), None),
    (tfb.Chain([tfb.Shift(0.5), tfb.Scale(1e-2)]), 'look alike'),
    (tfb.Shift(2.), 'outside'),
])
def test_training_says_that_a_model_has_collapsed(
    tmp_path, bijector, words):
  model = _Model(bijector)
  said = []
  monitor = types.SimpleNamespace(
      say=said.append, picture=lambda *args: None)
  for objective in ('hybrid', 'mle'):
    config = config_lib.resolve('cpu', objective=objective)
    validate = validation.Validation(
        data.load('digits', image_size=8),
        types.SimpleNamespace(average=model), str(tmp_path),
        divergence.Watch(config, model))
    values = validate(7, monitor)
    assert values['validation/dependence/optical_to_mnist'] > 0.5
  found = [text for text in said if 'has collapsed' in text]
  assert len(found) == (2 if words else 0)  # Both directions, and not of mle.
  for text, direction in zip(
      found, ('optical_to_mnist', 'mnist_to_optical'), strict=False):
    assert text.startswith(f'Warning, step 7: {direction} has collapsed')
    assert words in text

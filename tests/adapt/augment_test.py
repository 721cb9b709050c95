"""Tests of random affine maps."""

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf.adapt import augment

SEED = tf.constant([3, 4])


def _images(count=6, size=9):
  values = np.random.RandomState(0).uniform(size=(count, size, size, 2))
  return tf.constant(values, tf.float32)


def test_nothing_drawn_is_the_identity():
  x = _images()
  np.testing.assert_allclose(
      augment.random_affine(x, SEED, 0., 0.), x, atol=1e-5)


def test_each_image_has_a_map_of_its_own_that_its_seed_fixes():
  x = tf.repeat(_images(1), 4, axis=0)
  y = augment.random_affine(x, SEED)
  np.testing.assert_array_equal(y, augment.random_affine(x, SEED))
  for i in range(3):
    assert np.abs(y[i] - y[i + 1]).max() > 1e-2
  other = augment.random_affine(x, SEED + 1)
  assert np.abs(y - other).max() > 1e-2


@pytest.mark.parametrize(('scale', 'shift'), [(0., 0.1), (0.1, 0.)])
def test_either_part_moves_what_is_shown(scale, shift):
  x = _images()
  assert np.abs(augment.random_affine(x, SEED, scale, shift) - x).max() > 1e-2


def test_shifts_stay_within_their_bound():
  """A spot in the middle is found within `shift` of the width."""
  image = np.zeros((64, 21, 21, 1), np.float32)
  image[:, 10, 10] = 1.
  y = augment.random_affine(tf.constant(image), SEED, 0., 0.2).numpy()[..., 0]
  mass = y.sum(axis=(1, 2))
  places = np.arange(21)
  for axis in (1, 2):
    middle = (y.sum(axis=axis) * places).sum(axis=1) / mass
    assert np.abs(middle - 10.).max() < 0.2 * 21 + 1e-3
    assert np.abs(middle - 10.).max() > 0.1 * 21


def test_gradients_are_those_of_the_map():
  """Beside differences: TensorFlow's own gradient of its warp is another."""
  x = _images()
  direction = tf.constant(
      np.random.RandomState(1).standard_normal(x.shape), tf.float32)
  weights = tf.constant(
      np.random.RandomState(2).standard_normal(x.shape), tf.float32)

  def loss(x):
    return tf.reduce_sum(weights * augment.random_affine(x, SEED, 0.2, 0.2))

  with tf.GradientTape() as tape:
    tape.watch(x)
    value = loss(x)
  gradient = tape.gradient(value, x)
  # The map is linear, so that a difference is no approximation.
  np.testing.assert_allclose(
      tf.reduce_sum(gradient * direction), loss(x + direction) - value,
      rtol=1e-4, atol=1e-3)
  for i in range(3):
    one = np.zeros(x.shape, np.float32)
    one[i, 0, i, 0] = 1.
    np.testing.assert_allclose(
        gradient[i, 0, i, 0], loss(x + one) - value, atol=1e-4)

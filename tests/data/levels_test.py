"""Tests of the standard of levels, and of labels that take others' place."""

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import data
from alignflow_tf.data import levels
from alignflow_tf.data import preparation


def _stroke(ground, ink):
  image = np.full([1, 32, 32, 1], ground, np.uint8)
  image[:, 6:26, 14:18] = ink
  return image


@pytest.mark.parametrize(('ground', 'ink'), [(40, 90), (90, 40), (255, 0)])
def test_things_of_either_polarity_are_light_on_dark(ground, ink):
  found = levels.standard(tf.constant(_stroke(ground, ink))).numpy()
  np.testing.assert_array_equal(found, _stroke(0, 255))


def test_light_on_black_stays_and_a_single_level_becomes_black():
  image = np.random.RandomState(0).randint(0, 256, [1, 32, 32, 3], np.uint8)
  image[:, :, [0, -1]] = 0
  image[:, 16, 16] = 255
  image //= 1 + (np.arange(32) % 2 == 0).astype(np.uint8)[:, None, None] * 4
  image[:, 16, 16] = 255
  np.testing.assert_array_equal(levels.standard(tf.constant(image)), image)
  flat = tf.fill([1, 32, 32, 1], tf.constant(200, tf.uint8))
  assert not np.any(levels.standard(flat))


def test_training_evaluation_and_pictures_have_the_standard():
  plain, standard = (
      data.load('digits', standard_levels=value) for value in (False, True))
  images = plain.arrays('optical', 'test', 20)['image']
  expected = levels.standard(tf.constant(images)).numpy()
  assert np.any(expected != images)
  np.testing.assert_array_equal(
      standard.arrays('optical', 'test', 20)['image'], expected)
  batches = [next(iter(d.train_batches(8, seed=1)))['optical']['image']
             for d in (plain, standard)]
  np.testing.assert_array_equal(levels.standard(batches[0]), batches[1])
  rule = preparation.Preparation('stretch', standard_levels=True)
  np.testing.assert_array_equal(
      rule.apply(tf.constant(images[0]), None, images.shape[1:]), expected[0])


def test_labels_of_another_classifier():
  digits = data.load('digits')
  hidden = digits.without_labels('optical')
  count = digits.sizes['optical']['train']
  made = np.arange(count) % 7
  known = hidden.with_labels('optical', {'train': made})
  assert known.has_labels('optical')
  assert not hidden.has_labels('optical')
  arrays = known.arrays('optical', 'train')
  np.testing.assert_array_equal(arrays['label'], made)
  np.testing.assert_array_equal(
      arrays['image'], hidden.arrays('optical', 'train')['image'])
  assert 'label' not in known.arrays('optical', 'test')

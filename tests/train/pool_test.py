"""The pool of past translations."""

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf.train import pool as pool_lib


def _images(*values):
  return tf.constant(values, tf.float32)[:, None, None, None]


def _values(images):
  return [float(v) for v in tf.reshape(images, [-1])]


def test_size_zero_passes_through():
  pool = pool_lib.ImagePool(0, (1, 1, 1))
  assert _values(pool.query(_images(1., 2.), tf.constant([0, 1]))) == [1., 2.]


def test_images_pass_through_while_it_fills():
  pool = pool_lib.ImagePool(4, (1, 1, 1))
  assert _values(pool.query(_images(1., 2., 3.), tf.constant([0, 1]))) == [
      1., 2., 3.]
  assert _values(pool.query(_images(4., 5., 6.), tf.constant([0, 2]))) == [
      4., 5., 6.]
  assert _values(pool.variables[1]) == [1., 2., 3., 4.]


def test_a_full_pool_exchanges_images_one_for_one():
  pool = pool_lib.ImagePool(8, (1, 1, 1))
  pool.query(_images(*range(8)), tf.constant([0, 0]))
  query = tf.function(pool.query)
  swapped = 0
  for step in range(50):
    new = [100. + 4 * step + i for i in range(4)]
    before = sorted(_values(pool.variables[1]))
    got = _values(query(_images(*new), tf.constant([1, step])))
    after = sorted(_values(pool.variables[1]))
    # Nothing is lost and nothing is doubled.
    assert sorted(before + new) == sorted(after + got)
    swapped += sum(a != b for a, b in zip(got, new, strict=True))
  # 200 fair coins.
  assert 70 <= swapped <= 130


def test_it_is_a_function_of_the_seed():
  results = []
  for _ in range(2):
    pool = pool_lib.ImagePool(3, (1, 1, 1))
    results.append([
        _values(pool.query(_images(i, i + 0.5), tf.constant([7, i])))
        for i in range(10)])
  assert results[0] == results[1]


def test_more_images_than_places():
  pool = pool_lib.ImagePool(2, (1, 1, 1))
  for step in range(5):
    got = pool.query(_images(1., 2., 3., 4., 5.), tf.constant([0, step]))
    assert got.shape == (5, 1, 1, 1)
    assert _values(got)[2:] == [3., 4., 5.]


def test_it_is_saved(tmp_path):
  pool = pool_lib.ImagePool(2, (1, 1, 1))
  pool.query(_images(5., 6.), tf.constant([0, 0]))
  path = tf.train.Checkpoint(pool=pool).save(str(tmp_path / 'ckpt'))
  other = pool_lib.ImagePool(2, (1, 1, 1))
  tf.train.Checkpoint(pool=other).restore(path).assert_existing_objects_matched()
  for a, b in zip(pool.variables, other.variables, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('size', [-1, 2.5, None])
def test_bad_size(size):
  with pytest.raises(ValueError, match=f'`size`.*{size}'):
    pool_lib.ImagePool(size, (1, 1, 1))

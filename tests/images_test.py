"""Pixels: levels, dequantisation, bits per dimension, checks."""

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import images

_LEVELS = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_levels_come_back(dtype):
  pixels = images.from_uint8(_LEVELS, dtype)
  assert pixels.dtype == dtype
  np.testing.assert_allclose(pixels, (np.arange(256) + 0.5) / 256)
  levels = images.to_uint8(pixels)
  assert levels.dtype == tf.uint8
  np.testing.assert_array_equal(levels, _LEVELS)


def test_levels_come_back_from_noise():
  levels = np.tile(_LEVELS, [200, 1])
  pixels = images.dequantize(levels, seed=(1, 2))
  np.testing.assert_array_equal(images.to_uint8(pixels), levels)
  np.testing.assert_allclose(
      np.mean(pixels, axis=0), images.from_uint8(_LEVELS), atol=5e-4)


def test_to_uint8_clips():
  np.testing.assert_array_equal(
      images.to_uint8(tf.constant([-0.3, 0., 0.5, 1., 1.7])),
      [0, 0, 128, 255, 255])


@pytest.mark.parametrize('width', [1., 4., 16.])
def test_dequantize_formula_and_range(width):
  seed = (3, 4)
  levels = np.tile(_LEVELS, [50, 1])
  pixels = images.dequantize(levels, seed, width).numpy()
  noise = tf.random.stateless_uniform(levels.shape, seed)
  np.testing.assert_allclose(
      pixels, (levels + 0.5 + width * (noise - 0.5)) / 256., atol=1e-6)
  beyond = (width - 1.) / 512.
  assert pixels.min() >= -beyond - 1e-6
  assert pixels.max() <= 1. + beyond + 1e-6
  spread = pixels * 256. - levels - 0.5
  assert 0.97 * width / 2. < spread.max() <= width / 2. * 1.0001
  # Its mean is what is evaluated without noise.
  np.testing.assert_allclose(
      pixels.mean(axis=0), images.from_uint8(_LEVELS), atol=0.2 * width / 256.)


def test_dequantize_is_determined_by_its_seed():
  one, same, other = (
      images.dequantize(_LEVELS, seed=s) for s in ((1, 2), (1, 2), (1, 3)))
  np.testing.assert_array_equal(one, same)
  assert np.any(one != other)
  assert images.dequantize(_LEVELS, (1, 2), dtype=tf.float64).dtype == (
      tf.float64)


@pytest.mark.parametrize('width', [0.5, 0, float('nan')])
def test_dequantize_error(width):
  with pytest.raises(ValueError, match=f'`width` must be at least 1.*{width}'):
    images.dequantize(_LEVELS, (1, 2), width)


def test_bits_per_dim():
  # A uniform density on [0, 1] has log-density 0 and needs all 8 bits.
  assert images.bits_per_dim(tf.constant(0.), 100) == 8.
  # A density of 2 a dimension saves one bit.
  np.testing.assert_allclose(
      images.bits_per_dim(tf.constant([12 * np.log(2.)]), 12), [7.])


def test_to_critic():
  np.testing.assert_array_equal(
      images.to_critic(tf.constant([0., 0.5, 1.])), [-1., 0., 1.])


def test_shift_moves_each_image_by_whole_pixels():
  images_in = tf.reshape(tf.range(64 * 5 * 7 * 2, dtype=tf.float32),
                         [64, 5, 7, 2])
  shifted = images.shift(images_in, 2, tf.constant([0, 1])).numpy()
  padded = np.pad(images_in, [[0, 0], [2, 2], [2, 2], [0, 0]], mode='edge')
  found = set()
  for i, image in enumerate(shifted):
    where = [(r, c) for r in range(5) for c in range(5)
             if np.array_equal(image, padded[i, r:r + 5, c:c + 7])]
    assert len(where) == 1
    found.update(where)
  assert len(found) > 20
  with tf.GradientTape() as tape:
    tape.watch(images_in)
    value = tf.reduce_sum(images.shift(images_in, 2, tf.constant([0, 1])))
  assert float(tf.reduce_sum(tape.gradient(value, images_in))) == (
      images_in.shape.num_elements())


def test_validate_passes_images_on_as_float32():
  for dtype in (np.float16, np.float32, np.float64):
    given = np.random.RandomState(0).uniform(size=(2, 4, 6, 3)).astype(dtype)
    array = images.validate(given, (4, 6, 3))
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, given, rtol=1e-6)
    array = images.validate(given, (4, 6, 3), dtype=tf.float64)
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, given)
  # Translated images may lie a little outside.
  images.validate(np.full([1, 2, 2, 1], 1.3), (2, 2, 1))
  images.validate(np.full([1, 2, 2, 1], -0.4), (2, 2, 1))
  images.validate(tf.zeros([1, 2, 2, 1]), (2, 2, 1))


def _with(value):
  array = np.zeros([2, 4, 4, 1], np.float32)
  array[1, 2, 3, 0] = value
  return array


@pytest.mark.parametrize(('array', 'error', 'pattern'), [
    (np.zeros([2, 4, 4, 1], np.uint8), TypeError, '`x` must be.*uint8'),
    (np.zeros([2, 4, 4, 1], int), TypeError, '`x` must be floating.*int64'),
    ([['a']], TypeError, '`x` must be floating'),
    (np.zeros([4, 4, 1]), ValueError, r'`x` must have shape.*\[4, 4, 1\]'),
    (np.zeros([2, 4, 4, 3]), ValueError,
     r'`x` must have shape \[B, 4, 4, 1\], got \[2, 4, 4, 3\]'),
    (np.zeros([2, 1, 4, 4]), ValueError, r'got \[2, 1, 4, 4\]'),
    (np.zeros([0, 4, 4, 1]), ValueError, '`x` must hold at least one'),
    (_with(np.nan), ValueError, '`x` must be finite'),
    (_with(-np.inf), ValueError, '`x` must be finite'),
    (_with(255.), ValueError, r'`x` must have pixels in \[0, 1\].*0 to 255'),
    (_with(-1.), ValueError, r'`x` must have pixels in \[0, 1\].*-1 to 0'),
])
def test_validate_errors(array, error, pattern):
  with pytest.raises(error, match=pattern):
    images.validate(array, (4, 4, 1), 'x')

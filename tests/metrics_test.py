"""Figures and pictures of a model."""

import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import metrics
from alignflow_tf import model as model_lib
from alignflow_tf import pictures

tfb = tfp.bijectors

SHAPE = (4, 4, 1)


class _Biased(tfb.Bijector):
  """A shift whose inverse is off by `error`: a cycle that does not close."""

  def __init__(self, error):
    super().__init__(forward_min_event_ndims=0)
    self._error = error

  def _forward(self, x):
    return x + 0.25

  def _inverse(self, y):
    return y - 0.25 + self._error

  def _forward_log_det_jacobian(self, x):
    return tf.zeros([], x.dtype)


def _model(error=0.):
  return model_lib.AlignFlow(
      ('a', 'b'), SHAPE, flow={'a': tfb.Identity(), 'b': _Biased(error)})


def _images(num=7):
  return np.random.RandomState(0).rand(num, *SHAPE).astype(np.float32)


def test_round_trip_measures_what_the_cache_would_hide():
  evaluator = metrics.Evaluator(_model(0.125), batch_size=3)
  trip = evaluator.round_trip(_images(), 'a', 'b')
  assert trip['max'] == pytest.approx(0.125, abs=1e-6)
  assert trip['mean'] == pytest.approx(0.125, abs=1e-6)
  exact = metrics.Evaluator(_model(), batch_size=3).round_trip(
      _images(), 'a', 'b')
  assert exact['max'] < 1e-6


def test_outside_counts_pixels_beyond_the_range():
  images = _images()
  trip = metrics.Evaluator(_model()).round_trip(images, 'a', 'b')
  assert trip['outside'] == pytest.approx((images > 0.75).mean())


def test_nan_shows_in_a_round_trip():
  trip = metrics.RoundTrip()
  x = np.zeros([2, 1, 1, 1])
  trip.add(x, x, x)
  trip.add(x, x, x * np.nan)
  assert np.isnan(trip.result()['max'])


def test_bits_per_dim_of_a_density_known_in_closed_form():
  # Under the identity, pixels in [0, 1] have the standard normal's density.
  levels = np.random.RandomState(0).randint(0, 256, (50, *SHAPE), np.uint8)
  evaluator = metrics.Evaluator(_model(), batch_size=16)
  bits = evaluator.bits_per_dim(levels, 'a', seed=1)
  assert bits.shape == (50,)
  x = (levels + 0.5) / 256.
  nats = (0.5 * np.log(2 * np.pi) + 0.5 * np.square(x)).mean(axis=(1, 2, 3))
  np.testing.assert_allclose(bits, nats / np.log(2.) + 8., atol=5e-3)


def test_bits_per_dim_does_not_depend_on_the_batch_size():
  levels = np.random.RandomState(0).randint(0, 256, (9, *SHAPE), np.uint8)
  a = metrics.Evaluator(_model(), batch_size=2).bits_per_dim(levels, 'b')
  b = metrics.Evaluator(_model(), batch_size=9).bits_per_dim(levels, 'b')
  np.testing.assert_allclose(a, b, rtol=1e-6)


def test_batches_beside_each_other_keep_their_order(monkeypatch):
  images = np.random.RandomState(0).uniform(size=(9, *SHAPE)).astype('float32')
  expected = metrics.Evaluator(_model()).encode(images, 'b')
  evaluator = metrics.Evaluator(_model(), batch_size=2)
  monkeypatch.setattr(evaluator, '_beside', lambda: 3)
  np.testing.assert_allclose(
      evaluator.encode(images, 'b'), expected, rtol=1e-6)


def test_one_at_a_time_is_in_this_thread(monkeypatch):
  evaluator = metrics.Evaluator(_model(), batch_size=2)
  seen = set()

  def note(x):
    seen.add(threading.get_ident())
    return x

  monkeypatch.setattr(evaluator, '_beside', lambda: 1)
  images = _images()
  np.testing.assert_array_equal(evaluator._map(note, images), images)
  assert seen == {threading.get_ident()}
  monkeypatch.setattr(evaluator, '_beside', lambda: 2)
  evaluator._map(note, images)
  assert len(seen) > 1


def test_what_fails_in_a_batch_is_raised(monkeypatch):
  evaluator = metrics.Evaluator(_model(), batch_size=2)
  monkeypatch.setattr(evaluator, '_beside', lambda: 3)

  def fail(x):
    if float(x[0, 0, 0, 0]) > 6.:
      raise ValueError('of the fourth batch')
    return x

  images = np.broadcast_to(
      np.arange(20, dtype='float32')[:, np.newaxis, np.newaxis, np.newaxis],
      (20, *SHAPE))
  with pytest.raises(ValueError, match='of the fourth batch'):
    evaluator._map(fail, images)


def test_sheets(tmp_path):
  evaluator = metrics.Evaluator(_model())
  images = _images(6)
  paths = pictures.write_all(str(tmp_path), evaluator, {
      'a': images, 'b': images})
  assert sorted(p.split('/')[-1] for p in paths) == [
      'a_to_b.png', 'b_to_a.png', 'interpolation_a.gif', 'interpolation_a.png',
      'interpolation_b.gif', 'interpolation_b.png', 'samples.png',
      'worst_a_to_b.png', 'worst_b_to_a.png']
  sheet = tf.io.decode_png(tf.io.read_file(str(tmp_path / 'a_to_b.png')))
  zoom = 64 // 4
  assert sheet.shape == ((3 * 6 + 2) * zoom, (6 * 6 + 2) * zoom, 3)
  pixels = sheet.numpy()[::zoom, ::zoom, 0]
  first = np.floor(images[0, ..., 0] * 256).astype(np.uint8)
  np.testing.assert_array_equal(pixels[2:6, 2:6], first)
  # The third row is the way back.
  np.testing.assert_allclose(pixels[14:18, 2:6], first, atol=1)


def test_the_ends_of_an_interpolation_are_the_images():
  images = _images(2)
  sheet = pictures.interpolation(
      metrics.Evaluator(_model()), images[:1], images[1:], 'b', num=3)
  pixels = sheet[::16, ::16, 0].astype(int)
  for image, left in ((images[0], 2), (images[1], 2 + 2 * 6)):
    want = np.floor(image[..., 0] * 256).astype(int)
    assert np.abs(pixels[2:6, left:left + 4] - want).max() <= 1

"""Batched inference with a model, and its figures."""

import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import inference
from alignflow_tf import model as model_lib

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
      ('a', 'b'), SHAPE, adapter={'a': tfb.Identity(), 'b': _Biased(error)})


def _images(num=7):
  return np.random.RandomState(0).rand(num, *SHAPE).astype(np.float32)


def test_round_trip_measures_what_the_cache_would_hide():
  evaluator = inference.Evaluator(_model(0.125), batch_size=3)
  trip = evaluator.round_trip(_images(), 'a', 'b')
  assert trip['max'] == pytest.approx(0.125, abs=1e-6)
  assert trip['mean'] == pytest.approx(0.125, abs=1e-6)
  exact = inference.Evaluator(_model(), batch_size=3).round_trip(
      _images(), 'a', 'b')
  assert exact['max'] < 1e-6


def test_outside_counts_pixels_beyond_the_range():
  images = _images()
  trip = inference.Evaluator(_model()).round_trip(images, 'a', 'b')
  assert trip['outside'] == pytest.approx((images > 0.75).mean())


def test_nan_shows_in_a_round_trip():
  trip = inference.Evaluator(_model(np.nan)).round_trip(_images(), 'a', 'b')
  assert np.isnan(trip['max'])


def test_bits_per_dim_of_a_density_known_in_closed_form():
  # Under the identity, pixels in [0, 1] have the standard normal's density.
  levels = np.random.RandomState(0).randint(0, 256, (50, *SHAPE), np.uint8)
  evaluator = inference.Evaluator(_model(), batch_size=16)
  bits = evaluator.bits_per_dim(levels, 'a', seed=1)
  assert bits.shape == (50,)
  x = (levels + 0.5) / 256.
  nats = (0.5 * np.log(2 * np.pi) + 0.5 * np.square(x)).mean(axis=(1, 2, 3))
  np.testing.assert_allclose(bits, nats / np.log(2.) + 8., atol=5e-3)


def test_bits_per_dim_does_not_depend_on_the_batch_size():
  levels = np.random.RandomState(0).randint(0, 256, (9, *SHAPE), np.uint8)
  a = inference.Evaluator(_model(), batch_size=2).bits_per_dim(levels, 'b')
  b = inference.Evaluator(_model(), batch_size=9).bits_per_dim(levels, 'b')
  np.testing.assert_allclose(a, b, rtol=1e-6)


def test_concurrent_batches_keep_their_order(monkeypatch):
  images = np.random.RandomState(0).uniform(size=(9, *SHAPE)).astype('float32')
  expected = inference.Evaluator(_model()).encode(images, 'b')
  evaluator = inference.Evaluator(_model(), batch_size=2)
  monkeypatch.setattr(evaluator, '_concurrent', lambda: 3)
  np.testing.assert_allclose(
      evaluator.encode(images, 'b'), expected, rtol=1e-6)


def test_one_at_a_time_is_in_this_thread(monkeypatch):
  evaluator = inference.Evaluator(_model(), batch_size=2)
  seen = set()

  def note(x):
    seen.add(threading.get_ident())
    return x

  monkeypatch.setattr(evaluator, '_concurrent', lambda: 1)
  images = _images()
  np.testing.assert_array_equal(evaluator._map(note, images), images)
  assert seen == {threading.get_ident()}
  monkeypatch.setattr(evaluator, '_concurrent', lambda: 2)
  evaluator._map(note, images)
  assert len(seen) > 1


def test_what_fails_in_a_batch_is_raised(monkeypatch):
  evaluator = inference.Evaluator(_model(), batch_size=2)
  monkeypatch.setattr(evaluator, '_concurrent', lambda: 3)

  def fail(x):
    if float(x[0, 0, 0, 0]) > 6.:
      raise ValueError('of the fourth batch')
    return x

  images = np.broadcast_to(
      np.arange(20, dtype='float32')[:, np.newaxis, np.newaxis, np.newaxis],
      (20, *SHAPE))
  with pytest.raises(ValueError, match='of the fourth batch'):
    evaluator._map(fail, images)


def test_a_float64_model_is_computed_with_in_its_own_type():
  model = model_lib.AlignFlow(
      ('a', 'b'), SHAPE, dtype=tf.float64,
      adapter={'a': tfb.Identity(),
               'b': tfb.Shift(tf.constant(.25, tf.float64))})
  evaluator = inference.Evaluator(model, batch_size=3)
  images = _images()
  translated = evaluator.translate(images, 'a', 'b')
  assert translated.dtype == np.float64
  np.testing.assert_allclose(
      translated, images.astype(np.float64) + 0.25, rtol=1e-12)
  assert evaluator.log_prob(images, 'a').dtype == np.float64
  assert evaluator.round_trip(images, 'a', 'b')['max'] < 1e-12
  assert evaluator.round_trip(images, 'a', 'b', True)['max'] < 0.26
  frames = evaluator.interpolate(images[:2], images[2:4], 'a', 3)
  np.testing.assert_allclose(frames['a'][:, 0], images[:2], rtol=1e-12)
  levels = np.zeros([2, *SHAPE], np.uint8)
  assert np.isfinite(evaluator.bits_per_dim(levels, 'b')).all()

"""The map between pixels and the real line: formula, edges, tails."""

import math

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af

_ALPHAS = [1e-6, 0.05, 0.3]


def _reference(x, alpha):
  """The docstring's formula in NumPy, float64."""
  limit = np.log((1 - alpha) / alpha)
  slope = alpha * (1 - alpha) / (1 - 2 * alpha)
  inside = (1 / (1 + np.exp(-x)) - alpha) / (1 - 2 * alpha)
  return np.where(x > limit, 1 + slope * (x - limit),
                  np.where(x < -limit, slope * (x + limit), inside))


@pytest.mark.parametrize('alpha', _ALPHAS)
def test_formula(alpha):
  x = np.linspace(-20, 20, 401)
  bijector = af.bijectors.ImagePreprocess(alpha, dtype=tf.float64)
  np.testing.assert_allclose(
      bijector.forward(x), _reference(x, alpha), rtol=1e-9, atol=1e-12)


def test_on_pixels_it_is_the_logit_of_real_nvp():
  y = np.linspace(0, 1, 11)
  p = 0.05 + 0.9 * y
  bijector = af.bijectors.ImagePreprocess(0.05, dtype=tf.float64)
  np.testing.assert_allclose(bijector.inverse(y), np.log(p / (1 - p)))
  np.testing.assert_allclose(
      bijector.inverse_log_det_jacobian(y, event_ndims=0),
      np.log(0.9 / (p * (1 - p))))


@pytest.mark.parametrize('alpha', _ALPHAS)
def test_value_and_derivative_are_continuous_at_the_edges(alpha):
  bijector = af.bijectors.ImagePreprocess(alpha, dtype=tf.float64)
  limit = math.log((1 - alpha) / alpha)
  np.testing.assert_allclose(
      bijector.forward(np.array([-limit, limit])), [0, 1], atol=1e-9)
  step = 1e-7
  for edge in (-limit, limit):
    x = tf.constant([edge - step, edge + step], tf.float64)
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = bijector.forward(x)
    derivative = tape.gradient(y, x)
    np.testing.assert_allclose(y[0], y[1], rtol=0, atol=3 * step)
    np.testing.assert_allclose(derivative[0], derivative[1], rtol=1e-5)
    np.testing.assert_allclose(
        tf.math.log(derivative),
        bijector.forward_log_det_jacobian(x, event_ndims=0), atol=1e-6)


@pytest.mark.parametrize('alpha', _ALPHAS)
def test_tails_are_straight_lines(alpha):
  bijector = af.bijectors.ImagePreprocess(alpha, dtype=tf.float64)
  slope = alpha * (1 - alpha) / (1 - 2 * alpha)
  for tail in (np.array([20., 21, 25]), np.array([-20., -21, -25])):
    y = bijector.forward(tail).numpy()
    np.testing.assert_allclose(np.diff(y) / np.diff(tail), slope, rtol=1e-6)
    np.testing.assert_allclose(
        bijector.forward_log_det_jacobian(tail, event_ndims=0),
        np.log(slope), rtol=1e-6)


@pytest.mark.parametrize('alpha', _ALPHAS)
def test_is_strictly_increasing(alpha):
  y = af.bijectors.ImagePreprocess(alpha, dtype=tf.float64).forward(
      np.linspace(-30, 30, 1001))
  assert np.all(np.diff(y) > 0)


@pytest.mark.parametrize('value', [-1e6, -1e3, -20., 0., 17., 1e3, 1e6])
def test_never_saturates(value):
  """A sigmoid alone is 1 in float32 from 17 on, and its logit infinite."""
  bijector = af.bijectors.ImagePreprocess()
  x = tf.constant([value])
  back = bijector.inverse(tf.identity(bijector.forward(x)))
  np.testing.assert_allclose(back, [value], rtol=1e-5)
  log_det = bijector.forward_log_det_jacobian(x, event_ndims=0)
  assert np.isfinite(log_det).all()


def test_gradient_is_finite_at_black_and_white():
  bijector = af.bijectors.ImagePreprocess()
  y = tf.constant([0., 1., -1., 2.])
  with tf.GradientTape() as tape:
    tape.watch(y)
    total = tf.reduce_sum(bijector.inverse(y)) + tf.reduce_sum(
        bijector.inverse_log_det_jacobian(y, event_ndims=0))
  assert np.isfinite(tape.gradient(total, y)).all()


@pytest.mark.parametrize('alpha', [0., 0.5, -0.1, 1, math.nan, '0.05'])
def test_alpha_error(alpha):
  with pytest.raises(ValueError, match=f'`alpha` must.*0.5, got .*{alpha}'):
    af.bijectors.ImagePreprocess(alpha)

"""Round trips and log-determinants of every registry entry."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.bijectors import registry

# Rounding grows with the number of couplings and the slope of the logit.
_TOLERANCE = {tf.float32: 1e-4, tf.float64: 1e-11}


@pytest.fixture(name='case64', params=list(registry.ENTRIES), scope='module')
def _case64(request):
  """An entry and its bijector in float64."""
  entry = registry.ENTRIES[request.param]
  return entry, entry.make_random(tf.float64)


def _assert_round_trips(entry, bijector, dtype, batch):
  tolerance = _TOLERANCE[dtype]
  x = entry.inputs(batch, dtype)
  y = bijector.forward(tf.constant(x))
  # `tf.identity` makes a tensor that TFP's cache has not met: without it the
  # inverse would hand `x` itself back, whatever it computes.
  back = bijector.inverse(tf.identity(y))
  assert back.dtype == y.dtype == dtype
  scale = np.abs(x).max() + np.abs(y.numpy()).max()
  np.testing.assert_allclose(back, x, rtol=0, atol=tolerance * scale)
  fldj = registry.per_image(bijector.forward_log_det_jacobian, tf.constant(x))
  ildj = registry.per_image(bijector.inverse_log_det_jacobian, tf.identity(y))
  assert fldj.dtype == ildj.dtype == dtype
  np.testing.assert_allclose(
      fldj, -ildj, rtol=0, atol=10 * tolerance * (1 + np.abs(ildj).max()))

  y = entry.outputs(batch, dtype)
  x = bijector.inverse(tf.constant(y))
  back = bijector.forward(tf.identity(x))
  scale = np.abs(y).max() + np.abs(x.numpy()).max()
  np.testing.assert_allclose(back, y, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize('name', registry.NAMES)
def test_round_trips_in_float32(name):
  entry = registry.ENTRIES[name]
  _assert_round_trips(entry, entry.make_random(), tf.float32, batch=2)


def test_round_trips_in_float64(case64):
  # As many images as the Jacobian has rows: layers are traced for one shape.
  entry, bijector = case64
  _assert_round_trips(
      entry, bijector, tf.float64, batch=np.prod(entry.event_shape))


def _repeated(event):
  """A batch of an event, as often as it has dimensions."""
  return tf.constant(np.repeat(event, event.size, axis=0))


def _log_det_by_autodiff(fn, batch):
  """`slogdet` of the Jacobian of `fn`, by one backward pass.

  Row `i` of the Jacobian is the gradient of output `i`, for a batch that
  repeats an event as often as it has dimensions.
  """
  size = len(batch)
  batch = tf.identity(batch)  # TFP's cache has no gradients.
  with tf.GradientTape() as tape:
    tape.watch(batch)
    output = tf.reshape(fn(batch), [size, size])
    diagonal = tf.reduce_sum(tf.linalg.diag_part(output))
  jacobian = tape.gradient(diagonal, batch).numpy().reshape(size, size)
  return np.linalg.slogdet(jacobian)[1]


def test_log_det_is_that_of_the_autodiff_jacobian(case64):
  entry, bijector = case64
  x = _repeated(entry.inputs(1, tf.float64))
  np.testing.assert_allclose(
      registry.per_image(bijector.forward_log_det_jacobian, x)[0],
      _log_det_by_autodiff(bijector.forward, x), rtol=1e-9, atol=1e-9)
  y = _repeated(entry.outputs(1, tf.float64))
  np.testing.assert_allclose(
      registry.per_image(bijector.inverse_log_det_jacobian, y)[0],
      _log_det_by_autodiff(bijector.inverse, y), rtol=1e-9, atol=1e-9)

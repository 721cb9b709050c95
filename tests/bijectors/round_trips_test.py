"""Round trips and log-determinants of every registry entry in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.bijectors import registry


@pytest.fixture(name='case64', params=list(registry.ENTRIES), scope='module')
def _case64(request):
  """An entry and its bijector in float64."""
  entry = registry.ENTRIES[request.param]
  return entry, entry.make_random(tf.float64)


def test_round_trips_in_float64(case64):
  # As many images as the Jacobian has rows: layers are traced for one shape.
  entry, bijector = case64
  registry.check_round_trips(
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

"""Graphs that were traced with bijectors can be let go."""

import gc
import weakref

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import bijectors

_SHAPE = (8, 8, 1)


def _trace():
  """A weak reference to a graph that used a bijector, and is used no more."""
  layer = bijectors.ActNorm(1)

  @tf.function
  def function(x):
    return layer.inverse(x), layer.inverse_log_det_jacobian(x)

  graph = function.get_concrete_function(
      tf.TensorSpec([None, *_SHAPE])).graph
  return weakref.ref(graph)


def test_a_graph_is_gone_after_clearing():
  bijectors.clear_cache()
  graph = _trace()
  gc.collect()
  # Should TFP let go of it by itself one day, `clear_cache` can go.
  assert graph() is not None
  bijectors.clear_cache()
  gc.collect()
  assert graph() is None
  assert not tfp.bijectors.Bijector._cache.storage


def test_what_was_cleared_is_computed_again():
  layer = bijectors.ActNorm(1)
  x = tf.random.normal([2, *_SHAPE])
  y = layer.forward(x)
  bijectors.clear_cache()
  tf.debugging.assert_near(layer.inverse(y), x)
  # A tensor that outlives the cache's entry takes nothing with it.
  del x, y
  gc.collect()

"""Graphs that were traced with bijectors can be let go."""

import gc
import weakref

import pytest
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


@pytest.fixture
def young():
  """Has what a test makes in the young generations, which are quick to collect.

  A whole collection would free the graphs of all tests before: a minute.
  """
  gc.disable()
  yield
  gc.enable()


@pytest.mark.usefixtures('young')
def test_a_graph_is_gone_after_clearing():
  bijectors.clear_cache()
  graph = _trace()
  gc.collect(0)
  # Should TFP let go of it by itself one day, `clear_cache` can go.
  assert graph() is not None
  bijectors.clear_cache()
  gc.collect(1)
  assert graph() is None
  assert not tfp.bijectors.Bijector._cache.storage


def test_no_reference_takes_itself_out_of_an_empty_cache():
  layer = bijectors.ActNorm(1)
  x = tf.random.normal([2, *_SHAPE])
  y = layer.forward(x)
  z = layer.inverse(y), layer.inverse(x), layer.forward(tf.identity(x))
  references = [
      r for key, edge in tfp.bijectors.Bijector._cache.storage.items()
      for r in (key, edge.input_ref, edge.output_ref) if r is not None]
  bijectors.clear_cache()
  assert len(references) > 6
  assert not any(r._callback for r in references)
  del x, y, z


def test_what_was_cleared_is_computed_again():
  layer = bijectors.ActNorm(1)
  x = tf.random.normal([2, *_SHAPE])
  y = layer.forward(x)
  bijectors.clear_cache()
  again = layer.inverse(y)
  assert again is not x
  tf.debugging.assert_near(again, x)
  # A tensor that outlives the cache's entry takes nothing with it.
  del x, y
  gc.collect(0)

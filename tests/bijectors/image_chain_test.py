"""Chains that add up log-determinants, and that store less for gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from tests.bijectors import registry

tfb = tfp.bijectors
SHAPE = (4, 4, 2)
FLOWS = {
    'real_nvp': lambda **kwargs: af.flows.real_nvp(
        SHAPE, 2, channels=3, num_blocks=1, **kwargs),
    'glow': lambda **kwargs: af.flows.glow(
        SHAPE, 2, channels=3, num_blocks=1, steps_per_scale=1, **kwargs),
}
# Of one or two couplings, which take seconds to differentiate.
COUPLINGS = {
    'keras': lambda **kwargs: _of_keras(**kwargs),
    'spline': lambda **kwargs: _of_transform(
        af.bijectors.transforms.RationalQuadratic(2), **kwargs),
    'mixture': lambda **kwargs: _of_transform(
        af.bijectors.transforms.MixtureOfLogistics(2), **kwargs),
}


def _of_transform(transform, memory, dtype):
  return af.bijectors.ImageChain([af.bijectors.Coupling(
      2, af.bijectors.ChannelMask(), lambda n: af.networks.ConditionerResNet(
          n, filters=3, num_blocks=1, dtype=dtype.name), transform,
      dtype=dtype)], memory=memory)


def _of_keras(memory, dtype):
  """A chain whose networks are not this library's."""
  return af.bijectors.ImageChain([
      af.bijectors.Coupling(
          2, af.bijectors.CheckerboardMask(reverse), lambda n: keras.Sequential(
              [keras.layers.Conv2D(3, 3, padding='same', activation='tanh',
                                   dtype=dtype.name),
               keras.layers.Conv2D(n, 1, dtype=dtype.name)]), dtype=dtype)
      for reverse in (False, True)], memory=memory)


def _gradients(flow, x):
  """Of a loss that uses value and log-determinant, both ways."""
  variables = flow.trainable_variables

  @tf.function(autograph=False)
  def function(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      z = flow.inverse(x)
      log_det = flow.inverse_log_det_jacobian(x, event_ndims=3)
      y = flow.forward(tf.sin(z))
      loss = (tf.reduce_sum(tf.square(y)) + tf.reduce_sum(tf.square(log_det))
              + tf.reduce_sum(tf.sin(z)))
    return tape.gradient(loss, [x, *variables])

  return function(x)


@pytest.mark.parametrize(('dtype', 'tolerance', 'name'), [
    *[(tf.float64, 1e-9, name) for name in (FLOWS | COUPLINGS)],
    *[(tf.float32, 1e-4, name) for name in FLOWS]])
def test_gradients_are_those_of_stored_activations(dtype, tolerance, name):
  x = tf.constant(np.random.RandomState(0).uniform(size=(3, *SHAPE)), dtype)
  found = {}
  for memory in ('standard', 'reversible'):
    keras.utils.set_random_seed(0)
    flow = (FLOWS | COUPLINGS)[name](memory=memory, dtype=dtype)
    registry.randomize(flow)
    found[memory] = _gradients(flow, x)
  for got, want in zip(found['reversible'], found['standard'], strict=True):
    scale = np.abs(want).max()
    assert scale > 0.
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)


def test_a_chain_of_tfps_is_taken():
  # Its event dimensions are NumPy's integers.
  inner = tfp.bijectors.Chain(
      [af.bijectors.ActNorm(1), tfp.bijectors.Scale(2.)])
  chain = af.bijectors.ImageChain([inner])
  x = tf.ones([2, 4, 4, 1])
  np.testing.assert_allclose(chain.forward(x), inner.forward(tf.identity(x)))
  np.testing.assert_allclose(
      chain.forward_log_det_jacobian(x), [16. * np.log(2.)] * 2, rtol=1e-6)


def test_memory_of_another_librarys_bijector():
  for bijector in (tfb.Scale(2.), af.bijectors.FactorOut(tfb.Scale(2.)),
                   af.bijectors.ImageChain([tfb.Scale(2.)])):
    with pytest.raises(NotImplementedError, match='memory="standard"'):
      af.bijectors.ImageChain([bijector], memory='reversible')


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'bijectors': []}, '`bijectors` must be one or more'),
    ({'bijectors': [3]}, r'`bijectors` must be.*\[3\]'),
    ({'bijectors': [tfb.Reshape([4, 2, 2, 2])]},
     '`bijectors` must take images'),
    ({'bijectors': [tfb.Exp()], 'memory': 'none'}, "`memory` must be.*'none'"),
])
def test_errors(arguments, message):
  with pytest.raises(ValueError, match=message):
    af.bijectors.ImageChain(**arguments)


def test_the_way_back_is_not_inlined():
  # Inlined, TensorFlow puts off gradients of weights and runs ahead, holding
  # what they need: memory then grows with depth again.
  flow = FLOWS['real_nvp'](memory='reversible')
  couplings = sum(isinstance(m, af.bijectors.Coupling)
                  for m in flow.submodules)

  @tf.function(autograph=False)
  def function(x):
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(flow.inverse_log_det_jacobian(x))
    return tape.gradient(loss, flow.trainable_variables)

  graph = function.get_concrete_function(
      tf.TensorSpec([2, *SHAPE])).graph.as_graph_def()
  kept = {f.signature.name for f in graph.library.function
          if f.attr['_noinline'].b}
  calls = [n.attr['f'].func.name for n in graph.node
           if n.op in ('PartitionedCall', 'StatefulPartitionedCall')]
  assert sum(name in kept for name in calls) >= couplings


@pytest.mark.parametrize('graph', [False, True])
def test_second_order_gradients_of_a_reversible_chain_are_refused(graph):
  flow = FLOWS['real_nvp'](memory='reversible')
  registry.randomize(flow)

  def penalty(x):
    with tf.GradientTape() as outer:
      with tf.GradientTape() as inner:
        inner.watch(x)
        log_det = flow.inverse_log_det_jacobian(x)
      loss = tf.reduce_sum(tf.square(inner.gradient(log_det, x)))
    return outer.gradient(loss, flow.trainable_variables)

  x = tf.random.stateless_uniform([2, *SHAPE], (0, 1))
  with pytest.raises(NotImplementedError, match="`memory='standard'`"):
    (tf.function(penalty, autograph=False) if graph else penalty)(x)

"""Chains that add up log-determinants, and that store less for gradients."""

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


@pytest.mark.parametrize(('dtype', 'tolerance'), [
    (tf.float64, 1e-9), (tf.float32, 1e-4)])
@pytest.mark.parametrize('name', FLOWS)
def test_gradients_are_those_of_stored_activations(name, dtype, tolerance):
  x = tf.constant(np.random.RandomState(0).uniform(size=(3, *SHAPE)), dtype)
  found = {}
  for memory in af.bijectors.MEMORY:
    flow = FLOWS[name](memory=memory, dtype=dtype)
    registry.randomize(flow)
    found[memory] = _gradients(flow, x)
  for memory in ('recompute', 'reversible'):
    for got, want in zip(found[memory], found['standard'], strict=True):
      scale = np.abs(want).max()
      assert scale > 0.
      np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize('memory', af.bijectors.MEMORY)
def test_fixed_weights_have_no_norms_whatever_the_memory(memory):
  flow = FLOWS['real_nvp'](memory=memory)
  registry.randomize(flow)
  x = tf.random.stateless_uniform([3, *SHAPE], (0, 1))

  def traced():
    function = tf.function(lambda x: flow.inverse(x)).get_concrete_function(
        tf.TensorSpec([None, *SHAPE]))
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(
        n for f in graph.library.function for n in f.node_def)]
    return function, sum(n.op == 'Square' for n in nodes)

  plain, norms = traced()
  with af.bijectors.weights_fixed():
    fixed, norms_fixed = traced()
  assert norms > 0
  assert norms_fixed == 0
  np.testing.assert_allclose(fixed(x), plain(x), rtol=1e-5, atol=1e-5)


def test_a_chain_of_tfps_is_taken():
  # Its event dimensions are NumPy's integers.
  inner = tfp.bijectors.Chain(
      [af.bijectors.ActNorm(1), tfp.bijectors.Scale(2.)])
  chain = af.bijectors.LogDetChain([inner])
  x = tf.ones([2, 4, 4, 1])
  np.testing.assert_allclose(chain.forward(x), inner.forward(tf.identity(x)))
  np.testing.assert_allclose(
      chain.forward_log_det_jacobian(x), [16. * np.log(2.)] * 2, rtol=1e-6)


def test_memory_of_another_librarys_bijector():
  with pytest.raises(NotImplementedError, match='memory="standard"'):
    af.bijectors.LogDetChain([tfb.Scale(2.)], memory='reversible')


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'bijectors': []}, '`bijectors` must be one or more'),
    ({'bijectors': [3]}, r'`bijectors` must be.*\[3\]'),
    ({'bijectors': [tfb.Reshape([4, 2, 2, 2])]},
     '`bijectors` must take images'),
    ({'bijectors': [tfb.Exp()], 'memory': 'none'}, "`memory` must be.*'none'"),
])
def test_errors(arguments, message):
  with pytest.raises(ValueError, match=message):
    af.bijectors.LogDetChain(**arguments)


@pytest.mark.parametrize('memory', ['recompute', 'reversible'])
def test_the_way_back_is_not_inlined(memory):
  # Inlined, TensorFlow puts off gradients of weights and runs ahead, holding
  # what they need: memory then grows with depth again.
  flow = FLOWS['real_nvp'](memory=memory)
  couplings = sum(isinstance(m, af.bijectors.AffineCoupling)
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

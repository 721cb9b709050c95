"""What couplings do with their networks' weights."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import bijectors
from alignflow_tf import networks
from alignflow_tf.bijectors import shared_function
from alignflow_tf.networks import conditioner


def _coupling(dtype=None):
  coupling = bijectors.AffineCoupling(
      2, bijectors.CheckerboardMask(), lambda n: networks.ConditionerResNet(
          n, filters=2, num_blocks=1, dtype=dtype))
  for i, variable in enumerate(coupling.trainable_variables):
    variable.assign_add(
        0.3 * tf.random.stateless_normal(variable.shape, [i, 1]))
  return coupling, tf.random.stateless_normal([3, 4, 4, 2], [1, 2])


def _there_and_back(coupling, x):
  """A loss of two passes of one network, whose gradient reaches weights."""
  y = coupling.forward(x)
  return tf.reduce_sum(y**2) + tf.reduce_sum(coupling.inverse(x + 1.)**2)


def test_both_directions_of_a_coupling_share_its_networks_trace(monkeypatch):
  traces = []
  network = conditioner._network
  prepare = conditioner._functions('float32')[1]

  # A function of this test's own, which no other test has had traced.
  def counted(inputs, *weights):
    traces.append(inputs.shape)
    return network(inputs, *prepare(*weights))

  monkeypatch.setattr(
      networks.ConditionerResNet, 'function', property(lambda _: counted))
  coupling, x = _coupling()
  _there_and_back(coupling, x)
  assert len(traces) == 1
  with shared_function.unshared():
    _there_and_back(coupling, x)
  assert len(traces) == 3


@pytest.mark.parametrize('dtype', [None, 'mixed_bfloat16'])
def test_weights_once_gives_the_same_from_half_the_norms(dtype):
  coupling, x = _coupling(dtype)

  def gradients(once):
    calls = []
    call = shared_function.call

    def counted(function, *arguments):
      calls.append(function)
      return call(function, *arguments)

    with pytest.MonkeyPatch.context() as m, contextlib.ExitStack() as stack:
      m.setattr(shared_function, 'call', counted)
      if once:
        stack.enter_context(bijectors.weights_once())
      with tf.GradientTape() as tape:
        loss = _there_and_back(coupling, x)
    prepare = conditioner._functions(coupling.network.compute_dtype)[1]
    return calls.count(prepare), loss, tape.gradient(
        loss, coupling.trainable_variables)

  plain, loss, expected = gradients(once=False)
  once, loss_once, found = gradients(once=True)
  assert (plain, once) == (0, 1)
  # Norms are added up in another order, and bfloat16 has 8 bits.
  np.testing.assert_allclose(loss, loss_once, rtol=1e-2 if dtype else 1e-6)
  for a, b in zip(expected, found, strict=True):
    assert np.any(a)
    np.testing.assert_allclose(
        a, b, rtol=1e-4,
        atol=2e-2 * np.abs(a).max() if dtype else 1e-5)


def test_weights_once_ends_with_its_context():
  coupling, x = _coupling()
  with bijectors.weights_once():
    before = coupling.forward(x).numpy()
  for variable in coupling.trainable_variables:
    variable.assign_add(tf.ones_like(variable))
  with bijectors.weights_once():
    after = coupling.forward(tf.identity(x)).numpy()
  np.testing.assert_array_equal(after, coupling.forward(tf.identity(x)))
  assert np.abs(after - before).max() > 0.1


@pytest.mark.parametrize('dtype', [None, 'mixed_bfloat16'])
def test_graphs_of_fixed_weights_compute_no_norms(dtype):
  coupling, x = _coupling(dtype)

  def traced():
    # A function of its own: inlined, so that its graph shows all.
    function = tf.function(lambda x: coupling.inverse(x)).get_concrete_function(
        tf.TensorSpec([None, *x.shape[1:]]))
    graph = function.graph.as_graph_def()
    nodes = [n.op for g in (graph, *graph.library.function) for n in getattr(
        g, 'node', None) or g.node_def]
    return function, nodes.count('Square')

  plain, norms = traced()
  with bijectors.weights_fixed():
    fixed, norms_fixed = traced()
  assert (norms, norms_fixed) == (3, 0)
  np.testing.assert_allclose(
      fixed(x), plain(x), rtol=1e-2 if dtype else 1e-6, atol=1e-6)
  # Magnitudes and kernels are still read, norms are those of the trace.
  kernel = coupling.network.input_kernel
  kernel.assign(2. * kernel)
  assert np.abs(fixed(x) - plain(x)).max() > 1e-3
  with bijectors.weights_fixed():
    np.testing.assert_allclose(
        traced()[0](x), plain(x), rtol=1e-2 if dtype else 1e-6, atol=1e-6)


def test_weights_once_is_of_one_graph():
  coupling, x = _coupling()
  with bijectors.weights_once():
    coupling.forward(x)  # Eager: of no use to a graph that outlives this.
    traced = tf.function(coupling.forward)
    traced(x)
  for variable in coupling.trainable_variables:
    variable.assign_add(tf.ones_like(variable))
  np.testing.assert_allclose(
      traced(x), coupling.forward(tf.identity(x)), rtol=1e-5, atol=1e-5)


def test_a_layer_of_ones_own_may_have_attributes_of_any_name():

  class Layer(keras.layers.Layer):

    def __init__(self, channels):
      super().__init__()
      self.parts = [keras.layers.Conv2D(channels, 1)]

    def build(self, shape):
      self.parts[0].build(shape)
      self.built = True

    def function(self, x):
      return self.parts[0](x)

    def call(self, x):
      return self.function(x)

  coupling = bijectors.AffineCoupling(2, bijectors.CheckerboardMask(), Layer)
  x = tf.random.stateless_normal([3, 4, 4, 2], [1, 2])
  with bijectors.weights_once():
    y = coupling.forward(x)
    np.testing.assert_allclose(
        coupling.inverse(tf.identity(y)), x, rtol=1e-4, atol=1e-5)
  assert len(coupling.trainable_variables) == 3

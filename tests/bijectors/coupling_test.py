"""What couplings do with their networks' weights, and their transforms."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import _graph
from alignflow_tf import bijectors
from alignflow_tf import networks
from alignflow_tf.bijectors import transforms
from alignflow_tf.networks import conditioner


def _coupling(dtype=None):
  coupling = bijectors.Coupling(
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


def _count(function, op, *specs):
  """A concrete function, and how many operations of a type it runs."""
  traced = tf.function(function).get_concrete_function(*specs)
  graph = traced.graph.as_graph_def()
  functions = {f.signature.name: f for f in graph.library.function}

  def count(nodes):
    return sum(
        (node.op == op) + (count(functions[node.attr['f'].func.name].node_def)
                           if node.op.endswith('PartitionedCall') else 0)
        for node in nodes)

  return traced, count(graph.node)


def test_both_directions_of_a_coupling_share_its_networks_trace(monkeypatch):
  traces = []
  network = conditioner._network

  # A function of this test's own, which no other test has had traced.
  def counted(inputs, *weights):
    traces.append(inputs.shape)
    return network(inputs, *weights)

  monkeypatch.setattr(
      networks.ConditionerResNet, 'function', property(lambda _: counted))
  coupling, x = _coupling()
  _there_and_back(coupling, x)
  assert len(traces) == 1
  with _graph.unshared():
    _there_and_back(coupling, x)
  assert len(traces) == 3


@pytest.mark.parametrize('dtype', [None, 'mixed_bfloat16'])
def test_normalizing_once_gives_the_same_from_half_the_norms(dtype):
  coupling, x = _coupling(dtype)

  def loss_and_gradients(once, x):
    with contextlib.ExitStack() as stack:
      tape = stack.enter_context(tf.GradientTape())
      if once:
        stack.enter_context(networks.normalize_once(coupling))
      loss = _there_and_back(coupling, x)
    return [loss, *tape.gradient(loss, coupling.trainable_variables)]

  found, norms = {}, {}
  for once in (False, True):
    traced, norms[once] = _count(
        lambda x, once=once: loss_and_gradients(once, x), 'Square', x)
    found[once] = traced(x)
  # Three kernels each time.
  assert norms[False] - norms[True] == 3
  for a, b in zip(found[False], found[True], strict=True):
    # Passes' gradients are added up in the compute type; bfloat16 has 8 bits.
    assert np.any(a)
    np.testing.assert_allclose(
        a, b, rtol=1e-4,
        atol=2e-2 * np.abs(a).max() if dtype else 1e-5)


def test_normalizing_once_ends_with_its_context():
  coupling, x = _coupling()
  with networks.normalize_once(coupling):
    before = coupling.forward(x).numpy()
  for variable in coupling.trainable_variables:
    variable.assign_add(tf.ones_like(variable))
  after = coupling.forward(tf.identity(x)).numpy()
  assert np.abs(after - before).max() > 0.1


@pytest.mark.parametrize('dtype', [None, 'mixed_bfloat16'])
def test_graphs_of_folded_weight_norms_compute_no_norms(dtype):
  coupling, x = _coupling(dtype)
  before = [v.numpy() for v in coupling.variables]
  want = coupling.inverse(tf.identity(x))

  def inverse(x):
    return coupling.inverse(x)

  spec = tf.TensorSpec([None, *x.shape[1:]])
  tolerance = 2e-2 if dtype else 1e-5
  _, norms = _count(inverse, 'Square', spec)
  with networks.fold_weight_norm(coupling), networks.fold_weight_norm(coupling):
    folded, norms_folded = _count(lambda x: inverse(x), 'Square', spec)
    assert (norms, norms_folded) == (3, 0)
    np.testing.assert_allclose(folded(x), want, rtol=tolerance, atol=tolerance)
  for value, variable in zip(before, coupling.variables, strict=True):
    np.testing.assert_array_equal(variable, value)
  np.testing.assert_array_equal(coupling.inverse(tf.identity(x)), want)


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

  coupling = bijectors.Coupling(2, bijectors.CheckerboardMask(), Layer)
  x = tf.random.stateless_normal([3, 4, 4, 2], [1, 2])
  y = coupling.forward(x)
  np.testing.assert_allclose(
      coupling.inverse(tf.identity(y)), x, rtol=1e-4, atol=1e-5)
  assert len(coupling.trainable_variables) == 3


_ALL = [transforms.Affine(), transforms.RationalQuadratic(),
        transforms.MixtureOfLogistics()]


@pytest.mark.parametrize('transform', _ALL)
def test_transforms_start_as_the_identity(transform):
  coupling = bijectors.Coupling(
      2, bijectors.ChannelMask(), networks.ConditionerResNet, transform)
  x = 2. * tf.random.stateless_normal([3, 4, 4, 2], [1, 2])
  np.testing.assert_allclose(coupling.forward(x), x, rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(coupling.inverse(x), x, rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(
      coupling.inverse_log_det_jacobian(x), np.zeros(3), atol=1e-4)


@pytest.mark.parametrize(('transform', 'scale'), [
    (transforms.Affine(), 0), (transforms.MixtureOfLogistics(), -2)])
def test_a_scale_learns_from_the_start(transform, scale):
  parameters = tf.zeros([1, 1, 1, transform.num_parameters()])
  learned = {key: tf.fill([1], value)
             for key, value in transform.learned().items()}
  with tf.GradientTape() as tape:
    tape.watch(parameters)
    _, log_derivative = transform.forward(
        tf.ones([1, 1, 1, 1]), parameters, learned)
  gradient = tape.gradient(log_derivative, parameters)
  assert abs(gradient[0, 0, 0, scale]) > 0.1


@pytest.mark.parametrize('transform', _ALL)
def test_inverses_hold_far_from_the_origin(transform):
  x = np.geomspace(1e-3, 1e3, 32, dtype=np.float32)
  x = tf.reshape(tf.constant(np.concatenate([-x, x])), [1, 8, 8, 1])
  parameters = tf.random.stateless_normal(
      [1, 8, 8, transform.num_parameters()], [0, 1])
  learned = {key: tf.fill([1], value)
             for key, value in transform.learned().items()}
  y, log_derivative = transform.forward(x, parameters, learned)
  back, opposite = transform.inverse(y, parameters, learned)
  np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(opposite, -log_derivative, rtol=1e-2, atol=1e-2)


def test_components_of_a_mixture_learn_to_differ():
  coupling = bijectors.Coupling(
      2, bijectors.ChannelMask(), lambda n: networks.ConditionerResNet(
          n, filters=4, num_blocks=1),
      transforms.MixtureOfLogistics(components=2))
  x = tf.random.stateless_normal([8, 4, 4, 2], [1, 2])
  optimizer = keras.optimizers.Adam(0.1)
  for _ in range(2):
    with tf.GradientTape() as tape:
      z = coupling.inverse(tf.identity(x))
      loss = tf.reduce_mean(tf.abs(z - tf.sign(z)))
    optimizer.apply_gradients(zip(
        tape.gradient(loss, coupling.trainable_variables),
        coupling.trainable_variables, strict=True))
  parameters = coupling.network(x[..., 1:]).numpy()
  weights, means = parameters[..., :2], parameters[..., 2:4]
  assert np.abs(means[..., 0] + means[..., 1]).min() < np.abs(means).max()
  assert np.abs(means).max() > 1e-2
  assert np.isfinite(weights).all()


def test_transforms_errors():
  with pytest.raises(ValueError, match='`bins` must be a positive.*0'):
    transforms.RationalQuadratic(bins=0)
  with pytest.raises(ValueError, match='`limit` must be a number.*-1'):
    transforms.RationalQuadratic(limit=-1.)
  with pytest.raises(ValueError, match="`components` must be a.*'4'"):
    transforms.MixtureOfLogistics('4')
  with pytest.raises(ValueError, match='`transform` must be.*3'):
    bijectors.Coupling(2, bijectors.ChannelMask(),
                       networks.ConditionerResNet, 3)

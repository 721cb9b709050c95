"""What building and tracing are spared."""

import contextlib
import gc

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import bijectors
from alignflow_tf import networks
from alignflow_tf.bijectors import shared_function
from alignflow_tf.networks import conditioner
from alignflow_tf.train import tracing


@pytest.mark.parametrize('enabled', [True, False])
def test_the_collector_is_as_it_was(enabled):
  seen = []

  @tracing.uncollected()
  def fail():
    seen.append(gc.isenabled())
    raise KeyError

  if not enabled:
    gc.disable()
  try:
    for _ in range(2):  # A decorator serves each call.
      with pytest.raises(KeyError):
        fail()
    assert gc.isenabled() == enabled
  finally:
    gc.enable()
  assert seen == [False, False]


def _coupling():
  coupling = bijectors.AffineCoupling(
      2, bijectors.CheckerboardMask(),
      lambda n: networks.ConditionerResNet(n, filters=2, num_blocks=1))
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

  def counted(inputs, *weights):
    traces.append(inputs.shape)
    return network(inputs, *weights)

  # Functions of this test's own, which no other test has had traced.
  parts = (conditioner._functions('float32')[1], counted)
  monkeypatch.setattr(
      networks.ConditionerResNet, 'parts', property(lambda _: parts))
  coupling, x = _coupling()
  _there_and_back(coupling, x)
  assert len(traces) == 1
  with shared_function.unshared():
    _there_and_back(coupling, x)
  assert len(traces) == 3


def test_weights_once_gives_the_same_from_half_the_norms():
  coupling, x = _coupling()

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
    prepare = networks.ConditionerResNet(4, filters=2, num_blocks=1).parts[0]
    return calls.count(prepare), loss, tape.gradient(
        loss, coupling.trainable_variables)

  plain, loss, expected = gradients(once=False)
  once, loss_once, found = gradients(once=True)
  assert (plain, once) == (2, 1)
  np.testing.assert_array_equal(loss, loss_once)
  for a, b in zip(expected, found, strict=True):
    assert np.any(a)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


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

"""What building and tracing are spared."""

import gc

import pytest
import tensorflow as tf

from alignflow_tf import bijectors
from alignflow_tf import networks
from alignflow_tf.bijectors import shared_function
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


def test_both_directions_of_a_coupling_share_its_networks_trace(monkeypatch):
  calls = []

  def made(x, kernel):
    calls.append(x.shape)
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    return tf.tile(mean, [1, 1, 1, 4]) + tf.reduce_mean(kernel)

  # A function of this test's own, which no other test has had traced.
  monkeypatch.setattr(
      networks.ConditionerResNet, 'function', property(lambda _: made))
  monkeypatch.setattr(
      networks.ConditionerResNet, 'weight_list',
      property(lambda self: [self.output_kernel.value]))
  coupling = bijectors.AffineCoupling(
      2, bijectors.CheckerboardMask(),
      lambda n: networks.ConditionerResNet(n, filters=2, num_blocks=1))
  x = tf.random.stateless_normal([3, 4, 4, 2], [1, 2])
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = coupling.forward(x)
    back = coupling.inverse(tf.identity(y))
  assert tape.gradient(back, x) is not None
  assert len(calls) == 1
  with shared_function.unshared():
    coupling.forward(tf.identity(x))
    coupling.inverse(tf.identity(y))
  assert len(calls) == 3

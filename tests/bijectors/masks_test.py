"""Masks and couplings against values written out by hand."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af

_network = functools.partial(
    af.networks.ConditionerResNet, filters=8, num_blocks=1)


class Constant(keras.layers.Layer):
  """Puts out the same `[raw log-scales, shifts]` at every pixel."""

  def __init__(self, values):
    super().__init__()
    self.values = tf.constant(values)

  def build(self, input_shape):
    self.built = True

  def call(self, inputs):
    return tf.ones_like(inputs[..., :1]) * self.values


def _constant_coupling(channels, mask, values):
  return af.bijectors.Coupling(
      channels, mask, lambda _: Constant(values))


def test_checkerboard_keeps_odd_pixels():
  expected = [[0, 1, 0], [1, 0, 1]]
  mask = af.bijectors.masks.checkerboard(2, 3)
  np.testing.assert_array_equal(mask[..., 0], expected)
  assert mask.dtype == tf.float32
  reverse = af.bijectors.masks.checkerboard(2, 3, True, tf.float64)
  np.testing.assert_array_equal(reverse[..., 0], 1 - np.array(expected))
  assert reverse.dtype == tf.float64


def test_checkerboard_of_unknown_size():
  dynamic = af.bijectors.masks.checkerboard(tf.constant(5), tf.constant(4))
  np.testing.assert_array_equal(
      dynamic, af.bijectors.masks.checkerboard(5, 4))


@pytest.mark.parametrize('reverse', [False, True])
def test_checkerboard_coupling_changes_one_colour(reverse):
  coupling = _constant_coupling(
      1, af.bijectors.CheckerboardMask(reverse), [0.3, 10.])
  x = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
  y = coupling.forward(x).numpy()
  # The top-left pixel is changed unless reversed.
  changed = np.array([[1, 0, 1], [0, 1, 0]], bool) ^ reverse
  scale = np.exp(np.tanh(0.3))
  expected = np.where(changed, x[0, ..., 0] * scale + 10., x[0, ..., 0])
  np.testing.assert_allclose(y[0, ..., 0], expected, rtol=1e-6)
  np.testing.assert_allclose(
      coupling.forward_log_det_jacobian(x), [3 * np.tanh(0.3)], rtol=1e-6)


@pytest.mark.parametrize('reverse', [False, True])
def test_channel_coupling_changes_one_half(reverse):
  coupling = _constant_coupling(
      4, af.bijectors.ChannelMask(reverse), [0.3, -0.2, 10., 20.])
  x = np.array([1., 2., 3., 4.], np.float32).reshape(1, 1, 1, 4)
  s, t = np.exp(np.tanh([0.3, -0.2])), np.array([10., 20.])
  # The first half is changed unless reversed.
  expected = ([1, 2, 3 * s[0] + t[0], 4 * s[1] + t[1]] if reverse else
              [1 * s[0] + t[0], 2 * s[1] + t[1], 3, 4])
  np.testing.assert_allclose(
      coupling.forward(x)[0, 0, 0], expected, rtol=1e-6)
  np.testing.assert_allclose(
      coupling.forward_log_det_jacobian(x),
      [np.tanh(0.3) + np.tanh(-0.2)], rtol=1e-6)


def test_log_scale_is_bounded_by_a_learned_scale_a_channel():
  coupling = _constant_coupling(
      4, af.bijectors.ChannelMask(), [1e4, 1e4, 0., 0.])
  (bound,) = coupling.trainable_variables
  assert bound.shape == [2]
  bound.assign([0.5, 2.])
  y = coupling.forward(np.ones([1, 1, 1, 4], np.float32))[0, 0, 0]
  np.testing.assert_allclose(y, [np.exp(0.5), np.exp(2.), 1, 1], rtol=1e-6)


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('mask_class', [
    af.bijectors.CheckerboardMask, af.bijectors.ChannelMask])
def test_jacobian_is_triangular(mask_class, reverse):
  """The kept part stays, and conditions; the changed part does not."""
  mask = mask_class(reverse)
  coupling = af.bijectors.Coupling(2, mask, _network)
  for variable in coupling.trainable_variables:
    variable.assign_add(0.3 * tf.random.normal(variable.shape, seed=1))
  x = tf.random.normal([1, 3, 4, 2])
  np.testing.assert_array_equal(mask.join(*mask.split(x)), x)
  # Where a constant coupling changes something is the changed part.
  probe = af.bijectors.Coupling(
      2, mask, lambda n: Constant(np.repeat([0., 9.], n // 2).astype('f')))
  changed = (np.abs(probe.forward(x) - x) > 1.).reshape(-1)
  assert changed.sum() == 12
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = coupling.forward(x)
  jacobian = tape.jacobian(y, x).numpy().reshape(24, 24)
  np.testing.assert_array_equal(jacobian[~changed], np.eye(24)[~changed])
  scales = jacobian[np.ix_(changed, changed)]
  np.testing.assert_array_equal(scales, np.diag(np.diag(scales)))
  assert np.all(np.diag(scales) > 0)
  assert np.any(jacobian[np.ix_(changed, ~changed)])


@pytest.mark.parametrize('mask', [
    af.bijectors.CheckerboardMask(), af.bijectors.ChannelMask(True)], ids=repr)
def test_coupling_starts_as_the_identity(mask):
  coupling = af.bijectors.Coupling(2, mask, _network)
  x = tf.random.normal([2, 4, 4, 2])
  np.testing.assert_array_equal(coupling.forward(x), x)
  np.testing.assert_array_equal(coupling.inverse(tf.identity(x)), x)
  np.testing.assert_array_equal(coupling.forward_log_det_jacobian(x), [0, 0])


@pytest.mark.parametrize('policy', ['mixed_bfloat16', 'mixed_float16'])
def test_network_in_lower_precision_inverts_as_exactly(policy):
  coupling = af.bijectors.Coupling(
      2, af.bijectors.CheckerboardMask(),
      functools.partial(_network, dtype=policy))
  for variable in coupling.trainable_variables:
    assert variable.dtype == tf.float32
    variable.assign_add(0.3 * tf.random.normal(variable.shape, seed=1))
  x = tf.random.normal([2, 4, 4, 2])
  y = coupling.forward(x)
  assert y.dtype == tf.float32
  assert np.abs(y - x).max() > 0.01
  np.testing.assert_allclose(
      coupling.inverse(tf.identity(y)), x, rtol=1e-5, atol=1e-6)


def test_constructor_errors():
  with pytest.raises(ValueError, match='`reverse` must be True or False.*1'):
    af.bijectors.ChannelMask(1)
  with pytest.raises(ValueError, match='even number of `channels`, got 3'):
    af.bijectors.Coupling(3, af.bijectors.ChannelMask(), _network)
  with pytest.raises(ValueError, match="`mask` must be .*'checkerboard'"):
    af.bijectors.Coupling(3, 'checkerboard', _network)
  for channels in (0, 2.):
    with pytest.raises(
        ValueError, match=f'`channels` must be a positive.*{channels}'):
      af.bijectors.Coupling(
          channels, af.bijectors.CheckerboardMask(), _network)


def test_network_variables_of_one_name_are_all_kept():

  class Twins(keras.layers.Layer):

    def build(self, input_shape):
      self.one = self.add_weight(shape=[1], name='same')
      self.other = self.add_weight(shape=[1], name='same')
      self.built = True

    def call(self, inputs):
      return inputs

  coupling = af.bijectors.Coupling(
      2, af.bijectors.ChannelMask(), lambda n: Twins())
  kept = {v.ref() for v in coupling.variables}
  assert {v.value.ref() for v in coupling.network.variables} <= kept
  assert len(coupling.network.variables) == 2


@pytest.mark.parametrize('shape', [(2, 4, 4, 3), (4, 2)])
@pytest.mark.parametrize('direction', ['forward', 'inverse'])
def test_input_shape_errors(shape, direction):
  coupling = af.bijectors.Coupling(
      2, af.bijectors.ChannelMask(), _network)
  with pytest.raises(ValueError, match=r'`coupling.*`.*width, 2\]'):
    getattr(coupling, direction)(tf.zeros(shape))


def test_input_dtype_error():
  coupling = af.bijectors.Coupling(
      2, af.bijectors.ChannelMask(), _network)
  with pytest.raises((TypeError, ValueError), match='float'):
    coupling.forward(tf.zeros([1, 2, 2, 2], tf.float64))

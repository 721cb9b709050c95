"""Squeeze orders written out, and which half Real NVP factors out."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af

tfb = tfp.bijectors

# A 2x2 image of 2 channels; a value's digits are channel, row, column.
_IMAGE = np.array([
    [[000, 100], [1, 101]],
    [[10, 110], [11, 111]],
], np.float32)[np.newaxis]

_ORDERS = {
    'channel': [0, 1, 10, 11, 100, 101, 110, 111],
    'raster': [0, 100, 1, 101, 10, 110, 11, 111],
    'alternate': [0, 100, 11, 111, 1, 101, 10, 110],
}


@pytest.mark.parametrize('order', _ORDERS)
def test_order_of_channels(order):
  squeeze = af.bijectors.Squeeze(order)
  assert squeeze.order == order
  y = squeeze.forward(_IMAGE)
  assert y.shape == [1, 1, 1, 8]
  np.testing.assert_array_equal(y[0, 0, 0], _ORDERS[order])
  np.testing.assert_array_equal(squeeze.inverse(tf.identity(y)), _IMAGE)


@pytest.mark.parametrize('order', _ORDERS)
def test_blocks_stay_in_place(order):
  x = np.zeros([1, 4, 6, 2], np.float32)
  x[0, 2:4, 0:2] = 1.
  y = af.bijectors.Squeeze(order).forward(x)
  np.testing.assert_array_equal(y[0, ..., 0], [[0, 0, 0], [1, 0, 0]])
  np.testing.assert_array_equal(y, np.repeat(y[..., :1], 8, axis=-1))


def test_channel_permutation():
  np.testing.assert_array_equal(
      af.bijectors.channel_permutation(2, 'channel'), [0, 2, 4, 6, 1, 3, 5, 7])
  np.testing.assert_array_equal(
      af.bijectors.channel_permutation(1, 'alternate'), [0, 3, 1, 2])


def test_real_nvp_factors_out_the_anti_diagonal_pixels():
  """What a later scale does shows in the diagonal pixels of each block only."""
  flow = af.flows.real_nvp((4, 6, 2), 2, channels=2, num_blocks=1)
  (factor_out,) = (
      m for m in flow.submodules if isinstance(m, af.bijectors.FactorOut))
  for module in factor_out.inner.submodules:
    if isinstance(module, af.bijectors.ActNorm):
      module.loc.assign_add([1., 1., 1., 1.])
  z = tf.random.normal([1, 4, 6, 2])
  plain = af.bijectors.ImagePreprocess().forward(tf.identity(z))
  changed = np.abs(flow.forward(z) - plain)[0] > 1e-4
  block = np.array([[True, False], [False, True]])
  np.testing.assert_array_equal(changed[..., 0], np.tile(block, (2, 3)))
  np.testing.assert_array_equal(changed[..., 1], np.tile(block, (2, 3)))


def test_factor_out_keeps_the_second_half():
  factor_out = af.bijectors.FactorOut(tfb.Shift(10.))
  x = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4)
  np.testing.assert_array_equal(
      factor_out.forward(x)[0, 0, 0], [10, 11, 2, 3])
  np.testing.assert_array_equal(
      factor_out.inverse(x)[0, 0, 0], [-10, -9, 2, 3])


def test_factor_out_sums_a_scalar_log_det_over_the_first_half():
  factor_out = af.bijectors.FactorOut(tfb.Scale(2.))
  x = tf.zeros([5, 2, 3, 4])
  np.testing.assert_allclose(
      tf.broadcast_to(factor_out.forward_log_det_jacobian(x), [5]),
      [12 * np.log(2.)] * 5, rtol=1e-6)


def test_squeeze_errors():
  with pytest.raises(ValueError, match="`order` must be one of.*'spiral'"):
    af.bijectors.Squeeze('spiral')
  with pytest.raises(ValueError, match="`order` must be one of.*'spiral'"):
    af.bijectors.channel_permutation(2, 'spiral')
  squeeze = af.bijectors.Squeeze()
  with pytest.raises(ValueError, match=r'must be even.*\(2, 3, 4, 1\)'):
    squeeze.forward(tf.zeros([2, 3, 4, 1]))
  with pytest.raises(ValueError, match=r'4 divides.*\(2, 3, 4, 2\)'):
    squeeze.inverse(tf.zeros([2, 3, 4, 2]))
  for direction in ('forward', 'inverse'):
    with pytest.raises(ValueError, match=f'`squeeze.*{direction}`.*shape'):
      getattr(squeeze, direction)(tf.zeros([4, 4]))


def test_factor_out_errors():
  with pytest.raises(ValueError, match='`inner` must be a tfb.Bijector.*None'):
    af.bijectors.FactorOut(None)
  with pytest.raises(ValueError, match='`inner` must take images.*3 dim.* 1'):
    af.bijectors.FactorOut(tfb.Reshape([4], [2, 2, 1]))
  for memory in ('standard', 'reversible'):
    chain = af.bijectors.ImageChain(
        [af.bijectors.FactorOut(af.bijectors.Squeeze())], memory)
    with pytest.raises(ValueError, match=(
        r'`inner` must keep.*squeeze.*\(1, 4, 4, 1\) to \(1, 2, 2, 4\)')):
      chain.forward(tf.zeros([1, 4, 4, 2]))
    with pytest.raises(ValueError, match=(
        r'`inner` must keep.*squeeze.*\(4, 4, 4\) to \(8, 8, 1\)')):
      chain.inverse_event_shape([4, 4, 8])
  factor_out = af.bijectors.FactorOut(tfb.Identity())
  with pytest.raises(ValueError, match=r'even number of channels.*2, 2, 3\)'):
    factor_out.forward(tf.zeros([1, 2, 2, 3]))
  with pytest.raises(ValueError, match=r'even number of channels.*\(2, 2\)'):
    factor_out.inverse(tf.zeros([2, 2]))


@pytest.mark.parametrize('shape', [None, [4], [4, 4]])
def test_shapes_that_say_too_little_stay_as_they_are(shape):
  squeeze = af.bijectors.Squeeze()
  for answer in (squeeze.forward_event_shape, squeeze.inverse_event_shape):
    got = answer(tf.TensorShape(shape))
    assert got.rank == (None if shape is None else len(shape))
    assert shape is None or got.as_list() == shape

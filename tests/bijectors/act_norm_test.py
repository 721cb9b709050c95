"""Activation normalisation and the invertible 1x1 convolution."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af

tfb = tfp.bijectors


def _images(channels=3, batch=16, seed=0):
  rng = np.random.RandomState(seed)
  images = rng.standard_normal((batch, 4, 6, channels)).astype(np.float32)
  return images * np.arange(1, channels + 1) ** 2 + np.arange(channels) * 5


def test_formula():
  act_norm = af.bijectors.ActNorm(2)
  act_norm.loc.assign([1., 2.])
  act_norm.log_scale.assign([0., 0.5])
  x = tf.ones([1, 2, 3, 2])
  np.testing.assert_allclose(
      act_norm.forward(x)[0, 0, 0], [2., np.exp(0.5) + 2.], rtol=1e-6)
  np.testing.assert_allclose(
      act_norm.inverse(x)[0, 0, 0], [0., -np.exp(-0.5)], rtol=1e-6)
  np.testing.assert_allclose(act_norm.forward_log_det_jacobian(x), 2 * 3 * 0.5)
  np.testing.assert_allclose(
      act_norm.inverse_log_det_jacobian(x), -2 * 3 * 0.5)


def test_starts_as_the_identity():
  x = tf.random.normal([2, 4, 4, 3])
  np.testing.assert_array_equal(af.bijectors.ActNorm(3).inverse(x), x)


def test_initialization_normalises_each_channel():
  act_norm = af.bijectors.ActNorm(3)
  images = tf.constant(_images(), tf.float32)
  af.bijectors.initialize_from_data(act_norm, images)
  z = act_norm.inverse(images).numpy()
  np.testing.assert_allclose(z.mean(axis=(0, 1, 2)), np.zeros(3), atol=1e-5)
  np.testing.assert_allclose(z.std(axis=(0, 1, 2)), np.ones(3), rtol=1e-5)
  # The second call sees other data, and normalises that instead.
  af.bijectors.initialize_from_data(act_norm, 2. * images)
  np.testing.assert_allclose(
      act_norm.inverse(2. * images).numpy().std(axis=(0, 1, 2)), np.ones(3),
      rtol=1e-5)


def test_inverse_does_not_initialize_in_passing():
  act_norm = af.bijectors.ActNorm(3)
  act_norm.inverse(tf.constant(_images(), tf.float32))
  np.testing.assert_array_equal(act_norm.loc, np.zeros(3))
  np.testing.assert_array_equal(act_norm.log_scale, np.zeros(3))


def test_initialization_ends_with_its_call():
  act_norm = af.bijectors.ActNorm(3)
  images = tf.constant(_images(), tf.float32)
  af.bijectors.initialize_from_data(act_norm, images)
  before = act_norm.loc.numpy()
  act_norm.inverse(tf.random.normal([2, 4, 4, 3], mean=9.))
  np.testing.assert_array_equal(act_norm.loc, before)
  with pytest.raises(ValueError, match='takes images of shape'):
    af.bijectors.initialize_from_data(act_norm, tf.ones([1, 4, 4, 2]))
  act_norm.inverse(tf.random.normal([2, 4, 4, 3], mean=9.))
  np.testing.assert_array_equal(act_norm.loc, before)


def test_constant_channel_keeps_a_finite_scale():
  act_norm = af.bijectors.ActNorm(2)
  images = np.full([8, 4, 4, 2], 0.25, np.float32)
  images[..., 1] = np.random.RandomState(0).uniform(size=[8, 4, 4])
  af.bijectors.initialize_from_data(act_norm, images)
  z = act_norm.inverse(images)
  assert np.isfinite(z).all()
  np.testing.assert_allclose(z[..., 0], np.zeros([8, 4, 4]), atol=1e-4)
  assert np.exp(act_norm.log_scale[0]) == pytest.approx(1e-3)


@pytest.mark.parametrize('flow', ['real_nvp', 'glow'])
def test_initialization_reaches_every_nested_act_norm(flow):
  make = getattr(af.flows, flow)
  bijector = make((8, 8, 1), 2, channels=2, num_blocks=1)
  images = np.random.RandomState(0).uniform(size=[32, 8, 8, 1])**2
  images = tf.constant(images, tf.float32)
  af.bijectors.initialize_from_data(bijector, images)
  act_norms = [m for m in bijector.submodules
               if isinstance(m, af.bijectors.ActNorm)]
  assert len(act_norms) == {'real_nvp': 10, 'glow': 8}[flow]
  z = bijector.inverse(images).numpy()
  assert abs(z.mean()) < 0.1
  assert abs(z.std() - 1.) < 0.1


def test_equal_act_norms_take_their_own_statistics():
  """The second of two equally built ones, too, though TFP's cache is one."""
  first, second = af.bijectors.ActNorm(3), af.bijectors.ActNorm(3)
  chain = tfb.Chain([first, tfb.Shift(tf.constant(2.)), second])
  af.bijectors.initialize_from_data(chain, tf.constant(_images(), tf.float32))
  np.testing.assert_allclose(second.loc, [-2., -2., -2.], atol=1e-5)


@pytest.mark.parametrize(('images', 'pattern'), [
    (np.zeros([4, 6, 3], np.float32), r'`images`.*\(4, 6, 3\)'),
    (np.zeros([0, 4, 6, 3], np.float32), r'`images`.*\(0, 4, 6, 3\)'),
    (np.full([2, 4, 6, 3], np.nan, np.float32), '`images` must be finite'),
    (np.full([2, 4, 6, 3], np.inf, np.float32), '`images` must be finite'),
])
def test_initialization_errors(images, pattern):
  act_norm = af.bijectors.ActNorm(3)
  with pytest.raises(ValueError, match=pattern):
    af.bijectors.initialize_from_data(act_norm, images)
  np.testing.assert_array_equal(act_norm.log_scale, np.zeros(3))


def test_initialization_in_a_graph_is_an_error():
  act_norm = af.bijectors.ActNorm(3)

  @tf.function
  def step(images):
    af.bijectors.initialize_from_data(act_norm, images)

  with pytest.raises(RuntimeError, match='`initialize_from_data`.*eagerly'):
    step(tf.ones([2, 4, 6, 3]))


@pytest.mark.parametrize('bijector_class', [
    af.bijectors.ActNorm, af.bijectors.InvertibleConv1x1])
def test_constructor_and_shape_errors(bijector_class):
  for channels in (0, -1, 2.5, '3'):
    with pytest.raises(
        ValueError, match=f'`channels` must be a positive.*{channels}'):
      bijector_class(channels)
  for shape in ([1, 4, 4, 2], [4, 3]):
    with pytest.raises(ValueError, match=r'images of shape.*width, 3\], got'):
      bijector_class(3).forward(tf.zeros(shape))


def test_convolution_starts_as_a_rotation():
  conv = af.bijectors.InvertibleConv1x1(5, seed=3, dtype=tf.float64)
  matrix = conv.matrix.numpy()
  np.testing.assert_allclose(matrix @ matrix.T, np.eye(5), atol=1e-12)
  np.testing.assert_allclose(
      conv.forward_log_det_jacobian(tf.zeros([1, 2, 2, 5], tf.float64)), 0.,
      atol=1e-12)
  other = af.bijectors.InvertibleConv1x1(5, seed=4, dtype=tf.float64)
  assert np.abs(other.matrix - matrix).max() > 0.1


def test_convolution_multiplies_each_pixel():
  conv = af.bijectors.InvertibleConv1x1(3, dtype=tf.float64)
  for variable in conv.trainable_variables:
    variable.assign_add(
        0.3 * tf.random.normal(variable.shape, dtype=tf.float64))
  x = np.random.RandomState(0).standard_normal((2, 3, 4, 3))
  expected = np.einsum('ij,bhwj->bhwi', conv.matrix.numpy(), x)
  np.testing.assert_allclose(conv.forward(x), expected, rtol=1e-12, atol=1e-12)
  np.testing.assert_allclose(
      conv.matrix @ conv.inverse_matrix, np.eye(3), atol=1e-12)
  np.testing.assert_allclose(
      conv.forward_log_det_jacobian(x),
      12 * np.linalg.slogdet(conv.matrix.numpy())[1], rtol=1e-12)

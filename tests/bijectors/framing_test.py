"""Tests of the invertible change of frame."""

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af


def _spots(size, height, width, count=64, seed=0):
  """Images of a blurred spot about the middle, of a background of -3."""
  rng = np.random.RandomState(seed)
  rows, columns = np.mgrid[:size, :size]
  middles = (size - 1) / 2. + rng.uniform(-1., 1., (count, 2, 1, 1))
  distance = ((rows - middles[:, 0]) / height)**2 + (
      (columns - middles[:, 1]) / width)**2
  return tf.constant(
      6. * np.exp(-distance / 2.)[..., np.newaxis] - 3., tf.float64)


def _spread(images):
  """Standard deviations of what is not background, of rows and columns."""
  mass = np.abs(images.numpy() + 3.).mean(axis=(0, 3))
  found = []
  for axis in (1, 0):
    weights = mass.sum(axis=axis) / mass.sum()
    places = np.arange(len(weights))
    found.append(np.sqrt(weights @ (places - weights @ places)**2))
  return np.asarray(found)


def _set(images, **kwargs):
  framing = af.bijectors.Framing(
      tuple(images.shape[1:]), dtype=images.dtype, **kwargs)
  af.bijectors.initialize_from_data(framing, images)
  return framing


def test_it_is_the_identity_at_first():
  framing = af.bijectors.Framing((4, 6, 2))
  x = tf.random.stateless_normal([3, 4, 6, 2], (0, 1))
  np.testing.assert_array_equal(framing.forward(x), x)
  np.testing.assert_array_equal(framing.forward_log_det_jacobian(x), [0.] * 3)


@pytest.mark.parametrize(('height', 'width'), [(4., 2.5), (2., 3.), (3., 3.)])
def test_the_inverse_brings_images_to_the_shared_frame(height, width):
  images = _spots(16, height, width)
  framed = _set(images).inverse(tf.identity(images))
  np.testing.assert_allclose(_spread(framed), 0.2 * 16, rtol=0.15)


def test_nothing_grows_or_shrinks_by_more_than_2():
  small = _spots(16, 0.9, 0.9)
  framed = _set(small, floor=1e-3).inverse(tf.identity(small))
  np.testing.assert_allclose(_spread(framed), 2. * _spread(small), rtol=0.15)

  framing = _set(_spots(16, 3., 3.), spread=0.05, floor=1e-3)
  framed = _spots(16, 1.5, 1.5)
  np.testing.assert_allclose(
      _spread(framing.forward(framed)), 2. * _spread(framed), rtol=0.15)


def test_two_domains_meet():
  """Large things become as small as those of the other domain, and back."""
  large, small = _spots(16, 4.5, 3.2), _spots(16, 3.2, 2.4, seed=1)
  flows = {'large': _set(large), 'small': _set(small)}
  model = af.AlignFlow(
      ('large', 'small'), (16, 16, 1), adapter=flows, dtype=tf.float64)
  g = model.translator('large', 'small')
  translated = g.forward(large)
  np.testing.assert_allclose(_spread(translated), _spread(small), rtol=0.15)
  np.testing.assert_allclose(
      g.inverse(tf.identity(translated)), large, atol=1e-10)


def test_the_way_back_is_exact_in_float32():
  images = tf.cast(_spots(32, 8., 3.), tf.float32)
  framing = _set(images)
  x = framing.inverse(tf.identity(images))
  np.testing.assert_allclose(
      framing.forward(tf.identity(x)), images, atol=2e-5)


@pytest.mark.parametrize('floor', [0.3, 0.6, 1.])
def test_singular_values_stay_above_the_floor(floor):
  framing = _set(_spots(16, 4., 1.5), floor=floor)
  for matrix in (framing.rows, framing.columns):
    assert np.linalg.svd(matrix.numpy(), compute_uv=False).min() >= (
        floor - 1e-9)


@pytest.mark.parametrize('turns', range(4))
def test_the_background_is_the_median_of_all_edges(turns):
  # Without one of its long edges, it would be another.
  image = np.zeros([9, 4])
  image[:, 0], image[:, -1] = 0.9, 1.
  framing = _set(
      tf.constant(np.rot90(image, turns)[np.newaxis, ..., np.newaxis]))
  background, = (
      v for v in framing.variables if 'background' in v.name)
  np.testing.assert_allclose(background, [0.9])


def test_images_of_background_alone_leave_the_identity():
  framing = _set(tf.fill([4, 6, 6, 1], tf.constant(-3., tf.float64)))
  np.testing.assert_allclose(framing.rows, np.eye(6))
  np.testing.assert_allclose(framing.columns, np.eye(6))


def test_what_was_set_is_saved(tmp_path):
  images = _spots(16, 4., 3.)
  framing = _set(images)
  path = tf.train.Checkpoint(framing=framing).write(str(tmp_path / 'ckpt'))
  other = af.bijectors.Framing((16, 16, 1), dtype=tf.float64)
  tf.train.Checkpoint(framing=other).read(path).assert_consumed()
  np.testing.assert_array_equal(
      other.inverse(tf.identity(images)), framing.inverse(tf.identity(images)))
  np.testing.assert_array_equal(
      other.inverse_log_det_jacobian(tf.identity(images)),
      framing.inverse_log_det_jacobian(tf.identity(images)))


def test_a_flow_is_given_one():
  flow = af.flows.real_nvp(
      (16, 16, 1), num_scales=1, channels=2, num_blocks=1, framing=True)
  images = tf.cast(tf.nn.sigmoid(_spots(16, 4., 3.)), tf.float32)
  framing, = [m for m in flow.submodules
              if isinstance(m, af.bijectors.Framing)]
  af.bijectors.initialize_from_data(flow, images)
  assert np.abs(framing.rows.numpy() - np.eye(16)).max() > 0.1
  back = flow.forward(tf.identity(flow.inverse(tf.identity(images))))
  np.testing.assert_allclose(back, images, atol=1e-5)


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'event_shape': (4, 4)}, r'`event_shape` must be.*\(4, 4\)'),
    ({'event_shape': (4, 0, 1)}, r'`event_shape` must be.*\(4, 0, 1\)'),
    ({'event_shape': (4, 4, 1), 'spread': 0.7}, '`spread` must be.*0.7'),
    ({'event_shape': (4, 4, 1), 'floor': 0.}, '`floor` must be.*0.0'),
    ({'event_shape': (4, 4, 1), 'floor': 1.5}, '`floor` must be.*1.5'),
])
def test_errors(arguments, message):
  with pytest.raises(ValueError, match=message):
    af.bijectors.Framing(**arguments)


def test_images_of_another_shape_are_refused():
  framing = af.bijectors.Framing((4, 4, 1))
  with pytest.raises(ValueError, match=r'takes images.*4, 4, 1.*8'):
    framing.forward(tf.zeros([1, 8, 8, 1]))

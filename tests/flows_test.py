"""The named architectures: the paper's numbers, extreme inputs, errors."""

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from tests.bijectors import registry

_FLOWS = {'real_nvp': af.flows.real_nvp, 'glow': af.flows.glow}


def _small(flow='real_nvp', shape=(8, 8, 1), **kwargs):
  return _FLOWS[flow](shape, 2, channels=4, num_blocks=1, **kwargs)


def _of_type(bijector, kind):
  return [m for m in bijector.submodules if isinstance(m, kind)]


def test_paper_architecture():
  """Appendix B.1, built once: 22 couplings, widths 32 to 256, 46 M parameters.

  The published code has 46.3 M; scales and shifts of actnorms, one bound a
  channel and magnitudes stand against biases here and there.
  """
  flow = af.flows.real_nvp((32, 32, 3))
  couplings = _of_type(flow, af.bijectors.Coupling)
  assert len(couplings) == 22
  assert len(_of_type(flow, af.bijectors.ActNorm)) == 22
  found = sorted(
      (c.network.filters, type(c.mask).__name__[:-4], c.mask.reverse)
      for c in couplings)
  expected = []
  for width in (32, 64, 128):
    for i in range(3):
      expected += [(width, 'Checkerboard', i == 1),
                   (2 * width, 'Channel', i == 1)]
  expected += [(256, 'Checkerboard', i % 2 == 1) for i in range(4)]
  assert found == sorted(expected)
  assert {c.network.num_blocks for c in couplings} == {4}
  # By hand: a network of m filters from a to b channels.
  def network(m, a, b):
    return (9 * a * m + 8 * 9 * m * m + 5 * m * m + m * b
            + 14 * m + 10 * m + b)
  total, c, m = 0, 3, 32
  for scale in range(4):
    number = 3 if scale < 3 else 4
    # Network, bound of the log-scale, actnorm.
    total += number * (network(m, c + 1, 2 * c) + c + 2 * c)
    if scale < 3:
      total += 3 * (network(2 * m, 2 * c, 4 * c) + 2 * c + 8 * c)
    c, m = 2 * c, 2 * m
  assert af.flows.num_parameters(flow) == total
  assert total == pytest.approx(46e6, rel=0.02)


def test_order_of_masks_from_the_image_on():
  """Which colour changes first: the top-left pixel's."""
  flow = af.flows.real_nvp((4, 4, 1), 1, channels=2, num_blocks=1)
  (scale,) = (b for b in flow.bijectors if hasattr(b, 'bijectors'))
  masks = [b.mask.reverse for b in scale.bijectors
           if isinstance(b, af.bijectors.Coupling)]
  # `inverse` (image to latent) runs through the list from the left.
  assert masks == [False, True, False, True]
  kinds = [type(b) for b in scale.bijectors[:2]]
  assert kinds == [af.bijectors.ActNorm, af.bijectors.Coupling]


@pytest.mark.parametrize('flow', _FLOWS)
def test_starts_as_pre_processing_or_a_rotation(flow):
  bijector = _small(flow)
  z = tf.random.normal([2, 8, 8, 1])
  x = bijector.forward(z)
  pre_process = af.bijectors.ImagePreprocess()
  if flow == 'real_nvp':
    np.testing.assert_allclose(x, pre_process.forward(z), atol=1e-6)
  np.testing.assert_allclose(
      bijector.forward_log_det_jacobian(z),
      pre_process.forward_log_det_jacobian(
          pre_process.inverse(tf.identity(x)), event_ndims=3), rtol=1e-4)


def _extremes(shape):
  rng = np.random.RandomState(0)
  return {
      'black': np.zeros(shape), 'white': np.ones(shape),
      'random': rng.uniform(size=shape), 'binary': rng.randint(0, 2, shape),
      'outside': rng.uniform(-1, 2, shape),
  }


@pytest.mark.parametrize('image', _extremes((1,)))
@pytest.mark.parametrize('flow', _FLOWS)
def test_extreme_images_round_trip(flow, image):
  bijector = _small(flow, (8, 8, 3))
  registry.randomize(bijector, stddev=0.05)
  x = tf.constant(_extremes((2, 8, 8, 3))[image], tf.float32)
  z = bijector.inverse(x)
  back = bijector.forward(tf.identity(z))
  np.testing.assert_allclose(back, x, rtol=0, atol=1e-4)
  assert np.isfinite(bijector.inverse_log_det_jacobian(x)).all()


@pytest.mark.parametrize('value', [1e3, -1e3])
@pytest.mark.parametrize('flow', _FLOWS)
def test_extreme_latents_round_trip(flow, value):
  # In float32 the rounding of a random network's large shifts shows.
  for dtype, tolerance in ((tf.float32, 0.05), (tf.float64, 1e-9)):
    bijector = _small(flow, dtype=dtype)
    registry.randomize(bijector, stddev=0.05)
    z = tf.fill([1, 8, 8, 1], tf.constant(value, dtype))
    x = bijector.forward(z)
    back = bijector.inverse(tf.identity(x))
    assert np.isfinite(x).all()
    np.testing.assert_allclose(back, z, rtol=tolerance)


def test_seed_fixes_the_weights_and_networks_differ():
  one, same, other = (_small(seed=s) for s in (1, 1, 2))
  kernels = []
  for flow in (one, same, other):
    kernels.append([
        c.network.block_kernels.numpy().ravel()[:4]
        for c in _of_type(flow, af.bijectors.Coupling)])
  np.testing.assert_array_equal(
      np.concatenate(kernels[0]), np.concatenate(kernels[1]))
  assert len({tuple(k) for k in kernels[0] + kernels[2]}) == 20


@pytest.mark.parametrize('flow', _FLOWS)
def test_float64_and_network_precision(flow):
  bijector = _small(flow, dtype=tf.float64)
  assert {v.dtype for v in bijector.variables} == {tf.float64}
  assert bijector.forward(tf.zeros([1, 8, 8, 1], tf.float64)).dtype == (
      tf.float64)
  mixed = _small(flow, network_dtype='mixed_bfloat16')
  registry.randomize(mixed)
  assert {v.dtype for v in mixed.variables} == {tf.float32}
  x = tf.random.uniform([2, 8, 8, 1])
  np.testing.assert_allclose(
      mixed.forward(tf.identity(mixed.inverse(x))), x, atol=1e-4)


@pytest.mark.parametrize('flow', _FLOWS)
def test_types_by_name_and_numpy_numbers(flow):
  bijector = _FLOWS[flow](
      np.array([8, 8, 1]), np.int64(2), channels=np.int32(4),
      num_blocks=np.int64(1), alpha=np.float32(0.1), seed=np.int64(3),
      dtype='float64')
  assert bijector.dtype == tf.float64
  same = _small(flow, alpha=float(np.float32(0.1)), seed=3, dtype=tf.float64)
  x = tf.random.uniform([2, 8, 8, 1], dtype=tf.float64)
  np.testing.assert_array_equal(bijector.inverse(x), same.inverse(x))
  with pytest.raises(ValueError, match="`dtype` must be a floating.*'int32'"):
    _small(flow, dtype='int32')


def test_magnitudes_are_those_of_weight_norm_alone():
  flow = _small()
  found = af.flows.magnitudes(flow)
  assert [tuple(g.shape) for g in found] == [(5, 4)] * 3 + [(5, 8)] * 7
  assert {g.ref() for g in found} < {
      v.ref() for v in flow.trainable_variables}
  assert af.flows.magnitudes(af.bijectors.ActNorm(3)) == []


@pytest.mark.parametrize('flow', ['spline', 'flowpp'])
def test_other_transforms_round_trip_extreme_images(flow):
  bijector = af.flows.FLOWS[flow](
      (4, 4, 1), num_scales=1, channels=4, num_blocks=1)
  registry.randomize(bijector, stddev=0.05)
  x = tf.constant(
      np.concatenate(list(_extremes((2, 4, 4, 1)).values())), tf.float32)
  z = bijector.inverse(x)
  assert np.isfinite(z).all()
  np.testing.assert_allclose(
      bijector.forward(tf.identity(z)), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize('flow', af.flows.FLOWS)
def test_flows_by_name_take_the_same_options(flow):
  bijector = af.flows.FLOWS[flow](
      (4, 4, 1), num_scales=1, channels=2, num_blocks=1, framing=True,
      match_colours=True, seed=1, memory='reversible', dtype=tf.float64,
      network_dtype='float64')
  assert bijector.dtype == tf.float64
  assert bijector.name == flow
  transform = {
      'spline': af.bijectors.transforms.RationalQuadratic(),
      'flowpp': af.bijectors.transforms.MixtureOfLogistics()}.get(
          flow, af.bijectors.transforms.Affine())
  assert {c.transform for c in _of_type(bijector, af.bijectors.Coupling)} == {
      transform}


def test_num_parameters_counts_trainable_scalars_once():
  act_norm = af.bijectors.ActNorm(3)
  assert af.flows.num_parameters(act_norm) == 6
  module = tf.Module()
  module.twice = [act_norm, act_norm]
  module.fixed = tf.Variable([1., 2.], trainable=False)
  assert af.flows.num_parameters(module) == 6


@pytest.mark.parametrize('flow', _FLOWS)
@pytest.mark.parametrize(('arguments', 'pattern'), [
    ({'num_scales': 0}, '`num_scales` must be a positive integer, got 0'),
    ({'num_scales': 2.}, r'`num_scales` must be a positive integer, got 2\.0'),
    ({'num_scales': True}, '`num_scales` must be a positive integer, got True'),
    ({'channels': 0}, '`channels` must be a positive integer, got 0'),
    ({'num_blocks': -1}, '`num_blocks` must be a positive integer, got -1'),
    ({'seed': -1}, '`seed` must be a non-negative integer, got -1'),
    ({'seed': 'a'}, "`seed` must be a non-negative integer, got 'a'"),
    ({'alpha': 0.7}, '`alpha` must be a number between 0 and 0.5, got 0.7'),
    ({'event_shape': (8, 8)}, r'`event_shape` must be.*\(8, 8\)'),
    ({'event_shape': (8, None, 1)}, r'`event_shape` must be.*None'),
    ({'event_shape': (8, 0, 1)}, r'`event_shape` must be.*\(8, 0, 1\)'),
    ({'event_shape': (28, 28, 1), 'num_scales': 4},
     r'`num_scales=4`.*divides.*`event_shape=\(28, 28, 1\)`'),
    ({'event_shape': (7, 8, 1)}, r'divides.*`event_shape=\(7, 8, 1\)`'),
])
def test_errors(flow, arguments, pattern):
  arguments = {'event_shape': (8, 8, 1), 'num_scales': 2, 'channels': 2,
               'num_blocks': 1, **arguments}
  with pytest.raises(ValueError, match=pattern):
    _FLOWS[flow](**arguments)


def test_a_checkerboard_of_one_pixel_is_an_error():
  with pytest.raises(ValueError, match=r'one pixel.*\(4, 4, 1\)'):
    af.flows.real_nvp((4, 4, 1), 3)
  with pytest.raises(ValueError, match='`steps_per_scale` must be.*0'):
    af.flows.glow((8, 8, 1), 1, steps_per_scale=0)

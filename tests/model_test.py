"""AlignFlow against flows whose densities and maps are known in closed form."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from alignflow_tf import baselines
from alignflow_tf import model as model_lib
from tests import models

tfb = tfp.bijectors
tfd = tfp.distributions


def test_attributes():
  model = models.gaussian(('b', 'a'))
  assert model.domains == ('b', 'a')
  assert model.event_shape == models.SHAPE
  assert model.event_size == models.SIZE
  assert model['a'].event_shape == models.SHAPE
  assert model['a'].dtype == tf.float32


def test_repr_names_domains_and_shape():
  assert repr(models.gaussian()) == (
      "AlignFlow(domains=('a', 'b'), event_shape=(4, 4, 1), dtype=float32)")


def test_protocols_say_what_a_model_can_do():
  flow = models.gaussian()
  cyclegan = baselines.CycleGAN(('a', 'b'), (8, 8, 1), 2, 1, 1)
  for model in flow, cyclegan:
    assert isinstance(model, model_lib.Translates)
  for protocol in model_lib.HasLatents, model_lib.HasDensity:
    assert isinstance(flow, protocol)
    assert not isinstance(cyclegan, protocol)


def test_encode_and_decode_are_the_flow():
  model = models.gaussian()
  x = tf.constant(models.images())
  z = model.encode(x, 'a')
  np.testing.assert_allclose(z, (x - 0.5) / 0.1, rtol=1e-5)
  np.testing.assert_allclose(
      model.decode(tf.identity(z), 'b'), 0.3 + 0.2 * z, rtol=1e-5)
  with pytest.raises(KeyError, match="got 'c'"):
    model.encode(x, 'c')


def test_all_domains_have_one_prior_object():
  model = models.gaussian(('a', 'b', 'c'))
  for domain in model.domains:
    assert isinstance(model[domain], tfd.Distribution)
    assert model[domain].distribution is model.prior
    assert model[domain].bijector is model.flow(domain)
  np.testing.assert_allclose(
      model.prior.log_prob(tf.zeros([1, *models.SHAPE])),
      [-0.5 * models.SIZE * np.log(2 * np.pi)], rtol=1e-6)


@pytest.mark.parametrize('domain', models.GAUSSIANS)
def test_log_prob_of_a_gaussian(domain):
  model = models.gaussian(('a', 'b', 'c'))
  x = models.images()
  shift, scale = models.GAUSSIANS[domain]
  expected = -0.5 * np.sum(np.square((x - shift) / scale), axis=(1, 2, 3))
  expected -= models.SIZE * (np.log(scale) + 0.5 * np.log(2 * np.pi))
  log_prob = model[domain].log_prob(x)
  np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
  np.testing.assert_allclose(
      model.bits_per_dim(tf.constant(x), domain),
      -expected / (models.SIZE * np.log(2.)) + 8, rtol=1e-5)


def test_bits_per_dim_of_a_uniform_density_is_8():
  # x = cdf(z) is uniform on [0, 1] for z normal.
  flow = {d: tfb.NormalCDF() for d in 'ab'}
  model = af.AlignFlow(('a', 'b'), models.SHAPE, adapter=flow)
  np.testing.assert_allclose(
      model.bits_per_dim(tf.constant(models.images()), 'a'), [8.] * 3,
      rtol=1e-5)


def test_samples_have_the_gaussians_moments():
  x = models.gaussian()['b'].sample(2000, seed=(0, 1))
  assert x.shape == [2000, *models.SHAPE]
  assert np.mean(x) == pytest.approx(0.3, abs=5e-3)
  assert np.std(x) == pytest.approx(0.2, abs=5e-3)


def test_custom_flow_function_gets_the_event_shape():
  shapes = []

  def flow(shape):
    shapes.append(shape)
    return tfb.Scale(tf.Variable(2.))

  model = af.AlignFlow(('a', 'b'), [2, 3, 1], adapter=flow)
  assert shapes == [(2, 3, 1)] * 2
  assert len(model.trainable_variables) == 2


def test_values_follow_the_variables():
  """What TFP remembers outlives an update while latents are held."""
  model = models.act_norms()
  x = tf.constant(models.images())
  z = model.flow('a').inverse(x)
  before = model['a'].log_prob(x).numpy()
  model.flow('a').loc.assign_add([1.])
  after = model['a'].log_prob(tf.identity(x)).numpy()
  assert np.abs(after - before).min() > 1e-3
  # Should TFP notice by itself one day, the docstrings' limit can go.
  np.testing.assert_array_equal(model['a'].log_prob(x), before)
  af.bijectors.clear_cache()
  np.testing.assert_allclose(model['a'].log_prob(x), after)
  del z


def test_values_follow_initialize():
  model = models.act_norms()
  x = tf.constant(models.images())
  z = model.flow('a').inverse(x)
  before = model['a'].log_prob(x).numpy()
  model.initialize({'a': models.images(32)**2, 'b': models.images(32)})
  after = model['a'].log_prob(x)
  assert np.abs(after - before).min() > 1e-3
  np.testing.assert_allclose(after, model['a'].log_prob(tf.identity(x)))
  del z


def test_initialize_sets_each_domain_from_its_own_images():
  model = af.AlignFlow(('a', 'b'), models.SHAPE, adapter=models.flow)
  images = {'a': models.images(64), 'b': models.images(64, seed=1)**3}
  model.initialize(images)
  for domain in 'ab':
    z = model.flow(domain).inverse(tf.constant(images[domain])).numpy()
    assert abs(z.mean()) < 0.05
    assert z.std() == pytest.approx(1., abs=0.05)


@pytest.mark.parametrize('images', [tf.constant, np.asarray])
@pytest.mark.parametrize('given', [np.float32, np.float64])
@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_images_of_any_floating_type(dtype, given, images):
  model = models.act_norms(dtype)
  x = images(models.images(8, dtype=given))
  model.initialize({'a': x, 'b': x})
  np.testing.assert_allclose(
      model.flow('a').loc, [np.mean(x)], rtol=1e-12 if dtype == tf.float64 and (
          given == np.float64) else 1e-5)
  frames = model.interpolate(x, x, 'a', 3)
  assert frames['b'].dtype == dtype
  np.testing.assert_allclose(frames['a'][:, 0], x, atol=1e-5)


@pytest.mark.parametrize(('make', 'arguments'), [
    (models.trained, {'adapter': models.flow}),
    (models.shared, {'adapter': None, 'trunk': models.flow}),
    (models.with_trunk, {'adapter': models.adapter, 'trunk': models.core})])
def test_checkpoint(tmp_path, make, arguments):
  model = make()
  path = tf.train.Checkpoint(model=model).write(str(tmp_path / 'model'))
  restored = af.AlignFlow(('a', 'b'), models.SHAPE, **arguments)
  # Ready-made translators are no part of a checkpoint.
  restored.translator('a', 'b')
  tf.train.Checkpoint(model=restored).read(path).assert_consumed()
  x = tf.constant(models.images())
  for domain in 'ab':
    np.testing.assert_allclose(
        restored[domain].log_prob(x), model[domain].log_prob(tf.identity(x)),
        rtol=1e-6)
  np.testing.assert_allclose(
      restored.translator('a', 'b').forward(tf.identity(x)),
      model.translator('a', 'b').forward(tf.identity(x)), atol=1e-6)


def test_float64():
  model = models.trained(dtype=tf.float64)
  x = tf.constant(models.images(dtype=np.float64))
  y = model.translator('a', 'b').forward(x)
  assert y.dtype == model.sample_joint(2, seed=(0, 1))['a'].dtype == tf.float64
  back = model.translator('b', 'a').forward(tf.identity(y))
  np.testing.assert_allclose(back, x, atol=1e-11)


@pytest.mark.parametrize('flow', [{}, {'adapter': af.flows.glow}])
def test_flows_of_the_library_have_the_type_of_the_model(flow, monkeypatch):
  # The default's couplings would take seconds to build.
  monkeypatch.setattr(af.bijectors, 'Coupling', (
      lambda channels, mask, network, transform, dtype: af.bijectors.ActNorm(
          channels, dtype=dtype)))
  model = af.AlignFlow(('a', 'b'), (16, 16, 1), dtype=tf.float64, **flow)
  assert model['a'].dtype == model.flow('b').dtype == tf.float64
  assert model.sample_joint(1, seed=(0, 1))['a'].dtype == tf.float64


@pytest.mark.parametrize(('arguments', 'pattern'), [
    ({'domains': ('a',)}, r"`domains` must be two or more names.*'a'"),
    ({'domains': 'ab'}, "`domains` must be two or more names, got 'ab'"),
    ({'domains': ('a', '')}, r"`domains` must be two or more.*'a', ''"),
    ({'domains': ('a', 1)}, r"`domains` must be two or more.*'a', 1"),
    ({'domains': ('a', 'a')}, r"`domains` must be different.*'a', 'a'"),
    ({'domains': 5}, '`domains` must be two or more names, got 5'),
    ({'domains': None}, '`domains` must be two or more names, got None'),
    ({'event_shape': 32}, '`event_shape` must be.*got 32'),
    ({'dtype': tf.int32}, '`dtype` must be a floating.*int32'),
    ({'dtype': 'x'}, "`dtype` must be a floating.*'x'"),
    ({'dtype': tf.float64, 'adapter': lambda shape: af.bijectors.ActNorm(1)},
     "`dtype` is float64, `adapter` of domain 'a' has float32: .*tf.float64"),
    ({'adapter': {'a': af.bijectors.ActNorm(1),
                  'b': af.bijectors.ActNorm(1, dtype=tf.float64)}},
     "`dtype` is float32, `adapter` of domain 'b' has float64: .*tf.float32"),
    ({'adapter': None}, '`trunk` must be a flow where `adapter` is None'),
    ({'hub': 'a'}, "`trunk` must be a flow where `hub` is 'a', got None"),
    ({'hub': 'x', 'trunk': tfb.Identity()}, "`hub` must be one of .*got 'x'"),
    ({'trunk': 3}, '`trunk` must give a tfb.Bijector, got 3.*a function'),
    ({'trunk': lambda shape: af.bijectors.Squeeze()},
     r'`trunk` takes.*\(2, 2, 4\); it must keep'),
    ({'hub': 'a', 'trunk': tfb.Identity(),
      'adapter': {'a': tfb.Identity(), 'b': tfb.Identity()}},
     r"`adapter` must have one bijector for each of \('b',\), got \('a', 'b'"),
    ({'adapter': 3}, '`adapter` must be a function .*got 3'),
    ({'adapter': tfb.Identity()},
     '`adapter` must be a function .*Identity'),
    ({'adapter': lambda shape: af.bijectors.FactorOut(af.bijectors.Squeeze()),
      'event_shape': (4, 4, 2)},
     r'`inner` must keep.*squeeze.*\(4, 4, 1\) to \(2, 2, 4\)'),
    ({'event_shape': (4, 4)}, r'`event_shape` must be.*\(4, 4\)'),
    ({'event_shape': (4, None, 1)}, '`event_shape` must be.*None'),
    ({'event_shape': (4, 0, 1)}, r'`event_shape` must be.*\(4, 0, 1\)'),
    ({'adapter': lambda shape: None},
     "`adapter` of domain 'a' must give a tfb.Bijector, got None"),
    ({'adapter': {'a': tfb.Identity()}},
     r"`adapter` must have one.*'a', 'b'.*'a',"),
    ({'adapter': {'a': tfb.Identity(), 'b': 3}},
     "`adapter` of domain 'b' must give.*got 3"),
    ({'adapter': lambda shape: af.bijectors.Squeeze()},
     r"`adapter` of domain 'a' takes.*\(2, 2, 4\); it must keep"),
])
def test_constructor_errors(arguments, pattern):
  arguments = {'domains': ('a', 'b'), 'event_shape': models.SHAPE,
               'adapter': lambda shape: tfb.Identity(), **arguments}
  with pytest.raises(ValueError, match=pattern):
    af.AlignFlow(**arguments)


def test_unknown_domain_errors():
  model = models.gaussian()
  x = models.images(1)
  for call, argument in (
      (lambda: model['x'], 'domain'),
      (lambda: model.flow('x'), 'domain'),
      (lambda: model.translator('x', 'a'), 'source'),
      (lambda: model.translator('a', 'x'), 'target'),
      (lambda: model.interpolate(x, x, 'x'), 'source'),
      (lambda: model.bits_per_dim(x, 'x'), 'domain')):
    with pytest.raises(KeyError, match=f"`{argument}` must be.*'a', 'b'.*'x'"):
      call()


def test_initialize_errors():
  model = models.gaussian()
  with pytest.raises(ValueError, match=r"`images` must.*'a', 'b'.*\('a',\)"):
    model.initialize({'a': models.images()})
  with pytest.raises(ValueError, match=r"`images\['b'\]` must be finite"):
    model.initialize({'a': models.images(), 'b': models.images() * np.nan})

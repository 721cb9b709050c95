"""AlignFlow against flows whose densities and maps are known in closed form."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from alignflow_tf import baselines
from alignflow_tf import model as model_lib
from tests.bijectors import registry

tfb = tfp.bijectors
tfd = tfp.distributions

_SHAPE = (4, 4, 1)
_SIZE = 16
_STEP = registry.COUPLING_VARIABLES + 2  # Variables, with the actnorm.

# The domains are Gaussians: x = shift + scale * z.
_GAUSSIANS = {'a': (0.5, 0.1), 'b': (0.3, 0.2), 'c': (-1., 2.)}


def _affine(shift, scale):
  return tfb.Chain([tfb.Shift(shift), tfb.Scale(scale)])


def _gaussian(domains=('a', 'b')):
  flow = {d: _affine(*_GAUSSIANS[d]) for d in domains}
  return af.AlignFlow(domains, _SHAPE, adapter=flow)


def _flow(shape, seeds=None, **kwargs):
  seed = next(seeds) if seeds else 0
  return af.flows.real_nvp(
      shape, 2, channels=3, num_blocks=1, seed=seed, **kwargs)


def _trained(domains=('a', 'b'), dtype=tf.float32, **kwargs):
  model = af.AlignFlow(
      domains, _SHAPE, dtype=dtype,
      adapter=functools.partial(_flow, seeds=iter(range(9)), dtype=dtype),
      **kwargs)
  registry.randomize(model)
  return model


@pytest.fixture(name='trained', scope='module')
def _trained_model():
  return _trained()


def _images(batch=3, seed=0, dtype=np.float32):
  return np.random.RandomState(seed).uniform(
      size=(batch, *_SHAPE)).astype(dtype)


def test_attributes():
  model = _gaussian(('b', 'a'))
  assert model.domains == ('b', 'a')
  assert model.event_shape == _SHAPE
  assert model.event_size == _SIZE
  assert model['a'].event_shape == _SHAPE
  assert model['a'].dtype == tf.float32


def test_repr_names_domains_and_shape():
  assert repr(_gaussian()) == (
      "AlignFlow(domains=('a', 'b'), event_shape=(4, 4, 1), dtype=float32)")


def test_protocols_say_what_a_model_can_do():
  flow = _gaussian()
  cyclegan = baselines.CycleGAN(('a', 'b'), (8, 8, 1), 2, 1, 1)
  for model in flow, cyclegan:
    assert isinstance(model, model_lib.Translates)
  for protocol in model_lib.HasLatents, model_lib.HasDensity:
    assert isinstance(flow, protocol)
    assert not isinstance(cyclegan, protocol)


def test_encode_and_decode_are_the_flow():
  model = _gaussian()
  x = tf.constant(_images())
  z = model.encode(x, 'a')
  np.testing.assert_allclose(z, (x - 0.5) / 0.1, rtol=1e-5)
  np.testing.assert_allclose(
      model.decode(tf.identity(z), 'b'), 0.3 + 0.2 * z, rtol=1e-5)
  with pytest.raises(KeyError, match="got 'c'"):
    model.encode(x, 'c')


def test_all_domains_have_one_prior_object():
  model = _gaussian(('a', 'b', 'c'))
  for domain in model.domains:
    assert isinstance(model[domain], tfd.Distribution)
    assert model[domain].distribution is model.prior
    assert model[domain].bijector is model.flow(domain)
  np.testing.assert_allclose(
      model.prior.log_prob(tf.zeros([1, *_SHAPE])),
      [-0.5 * _SIZE * np.log(2 * np.pi)], rtol=1e-6)


@pytest.mark.parametrize('domain', _GAUSSIANS)
def test_log_prob_of_a_gaussian(domain):
  model = _gaussian(('a', 'b', 'c'))
  x = _images()
  shift, scale = _GAUSSIANS[domain]
  expected = -0.5 * np.sum(np.square((x - shift) / scale), axis=(1, 2, 3))
  expected -= _SIZE * (np.log(scale) + 0.5 * np.log(2 * np.pi))
  log_prob = model[domain].log_prob(x)
  np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
  np.testing.assert_allclose(
      model.bits_per_dim(tf.constant(x), domain),
      -expected / (_SIZE * np.log(2.)) + 8, rtol=1e-5)


def test_bits_per_dim_of_a_uniform_density_is_8():
  # x = cdf(z) is uniform on [0, 1] for z normal.
  flow = {d: tfb.NormalCDF() for d in 'ab'}
  model = af.AlignFlow(('a', 'b'), _SHAPE, adapter=flow)
  np.testing.assert_allclose(
      model.bits_per_dim(tf.constant(_images()), 'a'), [8.] * 3, rtol=1e-5)


def test_samples_have_the_gaussians_moments():
  x = _gaussian()['b'].sample(2000, seed=(0, 1))
  assert x.shape == [2000, *_SHAPE]
  assert np.mean(x) == pytest.approx(0.3, abs=5e-3)
  assert np.std(x) == pytest.approx(0.2, abs=5e-3)


def test_translator_of_gaussians():
  translator = _gaussian().translator('a', 'b')
  x = _images()
  np.testing.assert_allclose(
      translator.forward(x), (x - 0.5) / 0.1 * 0.2 + 0.3, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
      tf.broadcast_to(
          translator.forward_log_det_jacobian(x, event_ndims=3), [3]),
      [_SIZE * np.log(2.)] * 3, rtol=1e-5)


def test_translator_and_its_reverse_are_inverses(trained):
  there, back = trained.translator('a', 'b'), trained.translator('b', 'a')
  x = tf.constant(_images())
  y = there.forward(x)
  assert np.abs(y - x).max() > 0.01
  # Lemma 1 of the paper: the cycle is the identity, both ways, untrained.
  np.testing.assert_allclose(back.forward(tf.identity(y)), x, atol=1e-4)
  np.testing.assert_allclose(
      there.forward(tf.identity(back.forward(x))), x, atol=1e-4)
  np.testing.assert_allclose(
      tfb.Invert(there).forward(tf.identity(y)), x, atol=1e-4)
  np.testing.assert_allclose(
      there.inverse(tf.identity(x)), back.forward(tf.identity(x)), atol=1e-5)
  np.testing.assert_allclose(
      there.forward_log_det_jacobian(x),
      -back.forward_log_det_jacobian(tf.identity(y)), atol=1e-3)


def test_translator_is_made_once_and_keeps_latents(trained):
  assert trained.translator('a', 'b') is trained.translator('a', 'b')
  x = tf.constant(_images())
  y = trained.translator('a', 'b').forward(x)
  np.testing.assert_allclose(
      trained.flow('b').inverse(tf.identity(y)),
      trained.flow('a').inverse(tf.identity(x)), atol=1e-3)
  np.testing.assert_allclose(
      trained.translator('a', 'a').forward(x), x, atol=1e-5)


def test_pushing_one_domain_through_the_translator_gives_the_other(trained):
  """p_B is the density of G_{A->B}(x) for x ~ p_A."""
  pushed = tfd.TransformedDistribution(
      trained['a'], trained.translator('a', 'b'))
  x = tf.constant(_images())
  np.testing.assert_allclose(
      pushed.log_prob(x), trained['b'].log_prob(tf.identity(x)), rtol=1e-4)


def test_two_domains_on_the_same_tensor(trained):
  """TFP's cache must not hand one domain's values to the other."""
  x = tf.constant(_images())
  z = [trained.flow(d).inverse(x) for d in 'ab']
  for domain, latent in zip('ab', z, strict=True):
    np.testing.assert_allclose(
        latent, trained.flow(domain).inverse(tf.identity(x)), atol=1e-6)
  log_probs = [trained[d].log_prob(x) for d in 'ab']
  for domain, log_prob in zip('ab', log_probs, strict=True):
    np.testing.assert_allclose(
        log_prob, trained[domain].log_prob(tf.identity(x)), rtol=1e-6)
  assert np.abs(z[0] - z[1]).max() > 0.01


def test_three_domains():
  model = _trained(('a', 'b', 'c'))
  x = tf.constant(_images())
  through = model.translator('b', 'c').forward(
      tf.identity(model.translator('a', 'b').forward(x)))
  np.testing.assert_allclose(
      through, model.translator('a', 'c').forward(tf.identity(x)), atol=1e-3)
  back = model.translator('c', 'a').forward(tf.identity(through))
  np.testing.assert_allclose(back, x, atol=1e-3)
  assert set(model.sample_joint(2, seed=(0, 1))) == {'a', 'b', 'c'}


def test_sample_joint_shares_latents(trained):
  joint = trained.sample_joint(5, seed=(0, 1))
  z = trained.prior.sample(5, seed=(0, 1))
  for domain in 'ab':
    assert joint[domain].shape == [5, *_SHAPE]
    np.testing.assert_allclose(
        joint[domain], trained.flow(domain).forward(tf.identity(z)), atol=1e-6)
  np.testing.assert_allclose(
      trained.translator('a', 'b').forward(tf.identity(joint['a'])),
      joint['b'], atol=1e-3)
  again = trained.sample_joint(5, seed=(0, 1))
  np.testing.assert_array_equal(again['b'], joint['b'])
  assert trained.sample_joint([2, 3], seed=(0, 1))['a'].shape == [2, 3, *_SHAPE]


def test_interpolate_runs_from_one_image_to_the_other(trained):
  x0, x1 = tf.constant(_images(2)), tf.constant(_images(2, seed=1))
  frames = trained.interpolate(x0, x1, source='a', num=5)
  assert frames['a'].shape == frames['b'].shape == [2, 5, *_SHAPE]
  np.testing.assert_allclose(frames['a'][:, 0], x0, atol=1e-5)
  np.testing.assert_allclose(frames['a'][:, -1], x1, atol=1e-5)
  translator = trained.translator('a', 'b')
  np.testing.assert_allclose(
      frames['b'][:, 0], translator.forward(tf.identity(x0)), atol=1e-4)
  np.testing.assert_allclose(
      frames['b'][:, 2], translator.forward(tf.identity(frames['a'][:, 2])),
      atol=1e-3)


def test_interpolate_takes_the_polar_path():
  model = _gaussian()
  x0, x1 = _images(1), _images(1, seed=1)
  frames = model.interpolate(x0, x1, source='a', num=3)
  z0, z1 = (x0 - 0.5) / 0.1, (x1 - 0.5) / 0.1
  middle = np.sqrt(0.5) * (z0 + z1)
  np.testing.assert_allclose(
      frames['a'][:, 1], 0.5 + 0.1 * middle, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
      frames['b'][:, 1], 0.3 + 0.2 * middle, rtol=1e-4, atol=1e-5)


def test_without_adapters_all_domains_have_one_flow():
  model = _shared()
  assert model.flow('a') is model.flow('b') is model.trunk
  assert model.adapter('a') is None
  assert len(model.trainable_variables) == 10 * _STEP
  x = tf.constant(_images())
  np.testing.assert_array_equal(model.translator('a', 'b').forward(x), x)


def _shared():
  model = af.AlignFlow(('a', 'b'), _SHAPE, adapter=None, trunk=_flow)
  registry.randomize(model)
  return model


def _adapter(shape):
  return af.bijectors.ActNorm(shape[-1])


def _with_trunk(domains=('a', 'b'), **kwargs):
  model = af.AlignFlow(
      domains, _SHAPE, adapter=_adapter, trunk=_core, **kwargs)
  model.initialize({
      d: _images(8, seed=i) for i, d in enumerate(domains)})
  registry.randomize(model)
  return model


def _core(shape):
  """A flow of real numbers: no image reaches a trunk."""
  return af.bijectors.Coupling(
      shape[-1], af.bijectors.CheckerboardMask(),
      lambda channels: af.networks.ConditionerResNet(channels, 3, 1))


@pytest.mark.parametrize('domains', [('a', 'b'), ('a', 'b', 'c')])
def test_a_trunk_and_adapters(domains):
  model = _with_trunk(domains)
  x = tf.constant(_images())
  for d in domains:
    z = model.trunk.inverse(model.adapter(d).inverse(x))
    np.testing.assert_allclose(model.encode(x, d), z, atol=1e-5)
    expected = model.prior.log_prob(z) + sum(
        part.inverse_log_det_jacobian(y, event_ndims=3)
        for part, y in ((model.adapter(d), x),
                        (model.trunk, model.adapter(d).inverse(x))))
    np.testing.assert_allclose(
        model[d].log_prob(tf.identity(x)), expected, rtol=1e-4)
  y = model.translator('a', 'b').forward(x)
  np.testing.assert_allclose(
      y, model.decode(model.encode(tf.identity(x), 'a'), 'b'), atol=1e-4)
  np.testing.assert_allclose(
      model.translator('b', 'a').forward(tf.identity(y)), x, atol=1e-5)
  joint = model.sample_joint(2, seed=(0, 1))
  np.testing.assert_allclose(
      model.translator('a', 'b').forward(tf.identity(joint['a'])), joint['b'],
      atol=1e-4)
  frames = model.interpolate(x[:1], x[1:2], 'a', 3)
  np.testing.assert_allclose(frames['a'][:, 0], x[:1], atol=1e-4)


@pytest.mark.parametrize('hub', [None, 'b'])
def test_no_translation_evaluates_the_trunk(hub):
  model = _with_trunk(hub=hub)

  def convolutions(function):
    graph = tf.function(function, autograph=False).get_concrete_function(
        tf.TensorSpec([2, *_SHAPE])).graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function
                            for n in f.node_def)]
    return sum(n.op == 'Conv2D' for n in nodes)

  assert convolutions(model[model.domains[0]].log_prob) > 0
  for s, t in (('a', 'b'), ('b', 'a')):
    assert convolutions(model.translator(s, t).forward) == 0
  x = tf.constant(_images())
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model.translator('a', 'b').forward(x))
  reached = [v for v, g in zip(
      model.trainable_variables,
      tape.gradient(loss, model.trainable_variables), strict=True)
             if g is not None]
  adapters = [model.adapter(d) for d in 'ab' if model.adapter(d)]
  assert {v.ref() for v in reached} == {
      v.ref() for a in adapters for v in a.trainable_variables}


def test_a_hub_has_no_adapter():
  model = _with_trunk(hub='b')
  assert model.adapter('b') is None
  assert model.flow('b') is model.trunk
  x = tf.constant(_images())
  np.testing.assert_array_equal(
      model.translator('a', 'b').forward(x),
      model.adapter('a').inverse(tf.identity(x)))


def test_initialization_reaches_adapters_then_the_trunk():
  model = af.AlignFlow(
      ('a', 'b'), _SHAPE, adapter=_adapter,
      trunk=lambda shape: af.bijectors.ActNorm(shape[-1]))
  images = {d: 3. * i + _images(64, seed=i) for i, d in enumerate('ab')}
  images = {d: np.clip(x / 4., 0., 1.) for d, x in images.items()}
  model.initialize(images)
  for d, x in images.items():
    z = model.encode(tf.constant(x), d).numpy()
    np.testing.assert_allclose(z.mean(), 0., atol=1e-4)
    np.testing.assert_allclose(z.std(), 1., atol=1e-3)


def test_custom_flow_function_gets_the_event_shape():
  shapes = []

  def flow(shape):
    shapes.append(shape)
    return tfb.Scale(tf.Variable(2.))

  model = af.AlignFlow(('a', 'b'), [2, 3, 1], adapter=flow)
  assert shapes == [(2, 3, 1)] * 2
  assert len(model.trainable_variables) == 2


def test_gradients_reach_both_flows_and_only_those_concerned(trained):
  x = tf.constant(_images())

  def missing(function):
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(function(x))
    return [g is None for g in tape.gradient(
        loss, trained.trainable_variables)]

  assert not any(missing(trained.translator('a', 'b').forward))
  assert sum(missing(trained['a'].log_prob)) == 10 * _STEP


def _act_norms(dtype=tf.float32):
  return af.AlignFlow(
      ('a', 'b'), _SHAPE, dtype=dtype,
      adapter=lambda shape: af.bijectors.ActNorm(1, dtype=dtype))


def test_values_follow_the_variables():
  """What TFP remembers outlives an update while latents are held."""
  model = _act_norms()
  x = tf.constant(_images())
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
  model = _act_norms()
  x = tf.constant(_images())
  z = model.flow('a').inverse(x)
  before = model['a'].log_prob(x).numpy()
  model.initialize({'a': _images(32)**2, 'b': _images(32)})
  after = model['a'].log_prob(x)
  assert np.abs(after - before).min() > 1e-3
  np.testing.assert_allclose(after, model['a'].log_prob(tf.identity(x)))
  del z


def test_initialize_sets_each_domain_from_its_own_images():
  model = af.AlignFlow(('a', 'b'), _SHAPE, adapter=_flow)
  images = {'a': _images(64), 'b': _images(64, seed=1)**3}
  model.initialize(images)
  for domain in 'ab':
    z = model.flow(domain).inverse(tf.constant(images[domain])).numpy()
    assert abs(z.mean()) < 0.05
    assert z.std() == pytest.approx(1., abs=0.05)


@pytest.mark.parametrize('images', [tf.constant, np.asarray])
@pytest.mark.parametrize('given', [np.float32, np.float64])
@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_images_of_any_floating_type(dtype, given, images):
  model = _act_norms(dtype)
  x = images(_images(8, dtype=given))
  model.initialize({'a': x, 'b': x})
  np.testing.assert_allclose(
      model.flow('a').loc, [np.mean(x)], rtol=1e-12 if dtype == tf.float64 and (
          given == np.float64) else 1e-5)
  frames = model.interpolate(x, x, 'a', 3)
  assert frames['b'].dtype == dtype
  np.testing.assert_allclose(frames['a'][:, 0], x, atol=1e-5)


def test_interpolate_in_a_graph_and_its_gradient():
  model = _act_norms()
  x = tf.constant(_images())

  def first(x):
    return model.interpolate(x, x, 'a', 3)['a'][:, 0]

  graph = tf.function(first, autograph=False)
  np.testing.assert_allclose(graph(x), x, atol=1e-5)
  with tf.GradientTape() as tape:
    tape.watch(x)
    value = tf.reduce_sum(first(x))
  np.testing.assert_allclose(tape.gradient(value, x), np.ones(x.shape), 1e-5)
  for wrong, error in ((tf.cast(x, tf.int32), TypeError), (x[0], ValueError)):
    with pytest.raises(error, match='`x0` must'):
      graph(wrong)


@pytest.mark.parametrize(('make', 'arguments'), [
    (_trained, {'adapter': _flow}),
    (_shared, {'adapter': None, 'trunk': _flow}),
    (_with_trunk, {'adapter': _adapter, 'trunk': _core})])
def test_checkpoint(tmp_path, make, arguments):
  model = make()
  path = tf.train.Checkpoint(model=model).write(str(tmp_path / 'model'))
  restored = af.AlignFlow(('a', 'b'), _SHAPE, **arguments)
  # Ready-made translators are no part of a checkpoint.
  restored.translator('a', 'b')
  tf.train.Checkpoint(model=restored).read(path).assert_consumed()
  x = tf.constant(_images())
  for domain in 'ab':
    np.testing.assert_allclose(
        restored[domain].log_prob(x), model[domain].log_prob(tf.identity(x)),
        rtol=1e-6)
  np.testing.assert_allclose(
      restored.translator('a', 'b').forward(tf.identity(x)),
      model.translator('a', 'b').forward(tf.identity(x)), atol=1e-6)


def test_float64():
  model = _trained(dtype=tf.float64)
  x = tf.constant(_images(dtype=np.float64))
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
  arguments = {'domains': ('a', 'b'), 'event_shape': _SHAPE,
               'adapter': lambda shape: tfb.Identity(), **arguments}
  with pytest.raises(ValueError, match=pattern):
    af.AlignFlow(**arguments)


def test_unknown_domain_errors():
  model = _gaussian()
  x = _images(1)
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
  model = _gaussian()
  with pytest.raises(ValueError, match=r"`images` must.*'a', 'b'.*\('a',\)"):
    model.initialize({'a': _images()})
  with pytest.raises(ValueError, match=r"`images\['b'\]` must be finite"):
    model.initialize({'a': _images(), 'b': _images() * np.nan})


@pytest.mark.parametrize(('arguments', 'pattern'), [
    ({'num': 1}, '`num` must be an integer of 2 or more, got 1'),
    ({'num': 2.5}, '`num` must be an integer of 2 or more, got 2.5'),
    ({'x0': np.zeros([4, 4, 1])}, r'`x0` must have shape.*\[4, 4, 1\]'),
    ({'x1': np.zeros([2, 4, 4, 3])}, r'`x1` must have shape.*\[2, 4, 4, 3\]'),
    ({'x1': np.zeros([3, 4, 4, 1])}, '`x0` and `x1` must have one shape'),
    ({'x0': np.full([2, *_SHAPE], np.nan)}, '`x0` must be finite'),
    ({'x1': np.full([2, *_SHAPE], 255.)}, '`x1` must have pixels.*255'),
])
def test_interpolate_errors(arguments, pattern):
  x = np.zeros([2, *_SHAPE])
  arguments = {'x0': x, 'x1': x, 'source': 'a', 'num': 3, **arguments}
  with pytest.raises(ValueError, match=pattern):
    _gaussian().interpolate(**arguments)


def test_interpolate_takes_no_levels():
  x = np.zeros([2, *_SHAPE], np.uint8)
  with pytest.raises(TypeError, match='`x0` must be floating.*uint8'):
    _gaussian().interpolate(x, x, 'a')


@pytest.mark.parametrize('value', [
    -1, 2.5, '3', None, True, [2, -1], [[2]], tf.constant(-1),
    tf.TensorShape([2, None])])
def test_sample_joint_errors(value):
  with pytest.raises(ValueError, match='`sample_shape` must be a number'):
    _gaussian().sample_joint(value)


def test_sample_joint_takes_what_tfp_takes():
  model = _gaussian()
  for value, want in (
      ((), []), (0, [0]), (np.int64(2), [2]), (tf.TensorShape([2, 1]), [2, 1]),
      (tf.constant([3]), [3])):
    x = model.sample_joint(value, seed=(0, 1))['a']
    assert x.shape == [*want, *_SHAPE]
  traced = tf.function(lambda n: model.sample_joint([n, 2], seed=(0, 1))['a'])
  assert traced(tf.constant(3)).shape == [3, 2, *_SHAPE]

"""UNIT as a model, and trained, evaluated and exported as a run."""

import os

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf import baselines
from alignflow_tf import evaluate
from alignflow_tf import inference
from alignflow_tf import protocols
from alignflow_tf.baselines import unit
from alignflow_tf.demo import playground
from alignflow_tf.export import export
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import trainer as trainer_lib

SHAPE = (8, 8, 1)
TINY = dict(num_scales=2, width=4, num_blocks=2, critic_width=4,
            critic_layers=1, batch_size=4, pool_size=4, steps=10)


def _config(**overrides):
  return config_lib.resolve(model='unit', **(TINY | overrides))


def _images(num=3, seed=0):
  return tf.random.stateless_uniform([num, *SHAPE], [seed, 2])


def _trainer(**overrides):
  trainer = trainer_lib.Trainer(_config(**overrides), ('a', 'b'), SHAPE)
  random = np.random.RandomState(0)
  batch = {d: tf.constant(random.randint(0, 8, (4, *SHAPE)) * 32, tf.uint8)
           for d in 'ab'}
  trainer.initialize(batch)
  return trainer, batch


@pytest.fixture(scope='module')
def model():
  return baselines.UNIT(('a', 'b'), SHAPE, 4, 2, 1)


def test_what_it_can_do(model):
  assert isinstance(model, protocols.HasLatents)
  assert isinstance(model, protocols.HasBound)
  assert not isinstance(model, protocols.HasDensity)
  x = _images()
  z = model.encode(x, 'a')
  assert z.shape == x.shape == model.prior.sample(3).shape
  y = model.translator('a', 'b').forward(x)
  np.testing.assert_array_equal(y, model.decode(z, 'b'))
  assert 0. < float(tf.reduce_min(y)) < float(tf.reduce_max(y)) < 1.
  with pytest.raises(KeyError, match="'a' and 'c'"):
    model.translator('a', 'c')


def test_layers_next_to_the_latent_are_shared():
  model = baselines.UNIT(('a', 'b'), SHAPE, 4, 2, 1)
  x = _images()

  def changed(network):
    """Domains whose translations into themselves a network's weights change."""
    before = [model.decode(model.encode(x, d), d) for d in 'ab']
    for variable in network.layer.trainable_variables:
      variable.assign(variable + 0.1)
    return [d for d, y in zip('ab', before, strict=True)
            if np.any(model.decode(model.encode(x, d), d) != y)]

  assert changed(model._to_latent) == changed(model._from_latent) == ['a', 'b']
  assert changed(model._encoders['b']) == ['b']
  assert changed(model._decoders['a']) == ['a']


def test_the_bound_is_below_the_likelihood():
  """For a decoder of one number, whose likelihood a quadrature gives."""

  class Linear(baselines.UNIT):

    def encode(self, images, domain):
      return tf.zeros_like(images)

    def decode(self, latents, domain):
      return tf.tile(0.5 + 0.02 * latents[:, :1, :1], [1, 8, 8, 1])

  model = Linear(('a', 'b'), SHAPE, 4, 1, 1)
  x = 0.5 + 0.05 * _images(1)
  z = np.linspace(-8., 8., 4001)
  latents = np.zeros((len(z), *SHAPE), np.float32)
  latents[:, 0, 0, 0] = z
  # Scales of 0.1, as new.
  log_joint = np.sum(
      -np.abs(x - np.asarray(model.decode(latents, 'a'))) / 0.1 - np.log(0.2),
      axis=(1, 2, 3)) - z**2 / 2. - np.log(2. * np.pi) / 2.
  exact = np.log(np.sum(np.exp(log_joint)) * (z[1] - z[0]))
  bounds = [float(model.log_prob_bound(x, 'a', tf.constant([i, 0]))[0])
            for i in range(200)]
  assert np.mean(bounds) < exact
  # It is the more exact the less the decoder tells of z.
  assert np.mean(bounds) > exact - 10.


def test_loss_is_the_papers():
  trainer, batch = _trainer(ema_decay=0., cycle_weight=3., kl_weight=0.5)
  before = [v.numpy() for v in trainer.model.trainable_variables]
  got = {k: float(v) for k, v in trainer.train_step(batch).items()}
  names = ['adversarial_loss/a_to_b', 'adversarial_loss/b_to_a', 'vae_loss/a',
           'vae_loss/b', 'vae_loss/a_to_b', 'vae_loss/b_to_a']
  np.testing.assert_allclose(
      got['loss'], sum(got[name] for name in names), rtol=1e-5)
  assert all(np.any(v.numpy() != old) for v, old in zip(
      trainer.model.trainable_variables, before, strict=True)
             if v.shape.rank > 1)


def test_terms_draw_and_weigh(model):
  x = {d: _images(seed=i) for i, d in enumerate('ab')}
  fakes = {('a', 'b'): model.decode(model.encode(x['a'], 'a'), 'b')}
  state = af.objectives.State(
      x, fakes, {}, tf.constant(0.), tf.constant([1, 2]))

  def values(**weights):
    config = _config(**weights)
    return {t.name: float(t.fn(state)) for t in unit.terms(config, model)
            if t.name in ('vae_loss/a', 'vae_loss/a_to_b')}

  kl = values(cycle_weight=0., kl_weight=2.)
  np.testing.assert_allclose(
      kl['vae_loss/a'], 2. * np.mean(np.square(model.encode(x['a'], 'a'))),
      rtol=1e-5)
  np.testing.assert_allclose(
      kl['vae_loss/a_to_b'],
      2. * np.mean(np.square(model.encode(fakes['a', 'b'], 'b'))), rtol=1e-5)
  exact = 2. * np.mean(np.abs(
      model.decode(model.encode(x['a'], 'a'), 'a') - x['a']))
  drawn = values(cycle_weight=1., kl_weight=0.)['vae_loss/a']
  assert drawn != pytest.approx(exact, rel=1e-6)
  assert drawn == pytest.approx(exact, rel=0.5)


def test_it_learns_and_the_bound_with_it():
  trainer, batch = _trainer(learning_rate=3e-3, decay_from=1., steps=200,
                            pool_size=0, ema_decay=0.)
  evaluator = inference.Evaluator(trainer.model)
  before = evaluator.bits_per_dim(batch['a'].numpy(), 'a').mean()
  first = trainer.train_step(batch)
  for _ in range(40):
    last = trainer.train_step(batch)
  assert float(last['vae_loss/a']) < 0.9 * float(first['vae_loss/a'])
  assert evaluator.bits_per_dim(batch['a'].numpy(), 'a').mean() < before - 0.1


def test_configuration():
  for name in ('unit', 'unit_digits'):
    config = config_lib.resolve(name)
    assert (config.model, config.cycle_weight, config.kl_weight) == (
        'unit', 10., 0.01)
  with pytest.raises(config_lib.ConfigError, match='where `model=unit`'):
    _config(identity_weight=1.)
  with pytest.raises(config_lib.ConfigError, match='`kl_weight`'):
    config_lib.resolve('cyclegan_digits', kl_weight=1.)
  for overrides in (dict(num_scales=5), dict(num_scales=1)):
    with pytest.raises(config_lib.ConfigError, match='one more than the halvi'):
      trainer_lib.build_model(_config(**overrides), ('a', 'b'), SHAPE)


def test_a_run_is_evaluated(tmp_path):
  run_dir = str(tmp_path / 'run')
  loop.train(_config(steps=3, eval_every=3, checkpoint_every=2, log_every=1,
                     critic_layers=2), run_dir)
  assert isinstance(af.load(run_dir), baselines.UNIT)
  result = evaluate.evaluate(
      run_dir, limit=10, classify=False, supervised=False)
  assert not result['bits_per_dim']
  assert set(result['bits_per_dim_bound']) == {'optical', 'mnist'}
  assert 'bits/dim, an upper bound' in evaluate.table(result)
  with open(result['report'], encoding='utf-8') as f:
    assert 'bits/dim, an upper bound' in f.read()
  assert any('interpolation' in p for p in result['pictures'])
  assert not playground.Playground(run_dir).exact


@pytest.mark.slow
def test_a_run_is_exported(tmp_path):
  run_dir = str(tmp_path / 'run')
  loop.train(_config(steps=1, critic_layers=2), run_dir)
  export.export_run(run_dir, str(tmp_path / 'export'))
  served = tf.saved_model.load(
      str(tmp_path / 'export' / 'mnist_to_optical' / '1'))
  x = tf.random.stateless_uniform([2, 16, 16, 1], [1, 2])
  np.testing.assert_allclose(
      served.signatures['serving_default'](image=x)['image'],
      af.load(run_dir).translator('mnist', 'optical').forward(x), atol=1e-5)
  assert os.path.isdir(tmp_path / 'export' / 'mnist')


def test_what_has_no_bound_says_so():
  model = baselines.CycleGAN(('a', 'b'), SHAPE, 4, 1, 1)
  evaluator = inference.Evaluator(model)
  with pytest.raises(TypeError, match='got CycleGAN, which has none'):
    evaluator.log_prob_bound(np.zeros((1, *SHAPE), np.float32), 'a')

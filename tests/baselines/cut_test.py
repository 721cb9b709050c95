"""CUT as a model, and trained, evaluated and exported as a run."""

import math
import os

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf import baselines
from alignflow_tf import evaluate
from alignflow_tf import protocols
from alignflow_tf.baselines import cut
from alignflow_tf.export import export
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import trainer as trainer_lib

SHAPE = (8, 8, 1)
SEED = tf.constant([1, 2])
TINY = dict(num_scales=2, width=4, num_blocks=2, critic_width=4,
            critic_layers=1, batch_size=4, pool_size=0, steps=10, nce_weight=1.)


def _config(**overrides):
  return config_lib.resolve(model='cut', **(TINY | overrides))


def _trainer(**overrides):
  trainer = trainer_lib.Trainer(_config(**overrides), ('a', 'b'), SHAPE)
  random = np.random.RandomState(0)
  batch = {d: tf.constant(random.randint(0, 8, (4, *SHAPE)) * 32, tf.uint8)
           for d in 'ab'}
  trainer.initialize(batch)
  return trainer, batch


@pytest.fixture(scope='module')
def model():
  return baselines.CUT(('a', 'b'), SHAPE, 4, 2, 1)


def test_what_it_can_do(model):
  assert isinstance(model, protocols.Translates)
  assert not isinstance(model, protocols.HasLatents)
  x = tf.random.stateless_uniform([3, *SHAPE], SEED)
  y = model.translator('a', 'b').forward(x)
  assert 0. < float(tf.reduce_min(y)) < float(tf.reduce_max(y)) < 1.
  with pytest.raises(KeyError, match="'a' and 'c'"):
    model.translator('a', 'c')


def test_patches_are_of_the_same_places_for_one_seed(model):
  x = tf.random.stateless_uniform([3, *SHAPE], SEED)
  found = model.patches(x, 'a', ('a', 'b'), SEED)
  assert [f.shape for f in found] == [
      (3, 64, 256), (3, 16, 256), (3, 16, 256), (3, 16, 256)]
  for f in found:
    np.testing.assert_allclose(tf.norm(f, axis=-1), 1., atol=1e-5)
  for again, f in zip(model.patches(x[1:], 'b', ('a', 'b'), SEED), found,
                      strict=True):
    np.testing.assert_allclose(again, f[1:], atol=1e-5)
  other = model.patches(x, 'a', ('a', 'b'), SEED + 1)
  assert np.any(np.abs(other[0] - found[0]) > 1e-3)
  # Other places are the same patches in another order.
  np.testing.assert_allclose(
      tf.reduce_sum(other[0], 1), tf.reduce_sum(found[0], 1), atol=1e-4)


def test_at_most_256_patches_also_compiled():
  model = baselines.CUT(('a', 'b'), (24, 24, 1), 4, 1, 1)
  compiled = tf.function(
      lambda x, seed: model.patches(x, 'a', ('a', 'b'), seed),
      jit_compile=True)
  found = compiled(tf.zeros([1, 24, 24, 1]), SEED)
  assert [f.shape[1] for f in found] == [256, 144, 144, 144]


def test_heads_start_by_the_seed_and_are_no_part_of_a_translation(model):
  first = [baselines.CUT(('a', 'b'), SHAPE, 4, 2, 1, seed)._heads['a_to_b'][0]
           for seed in (0, 0, 1)]
  weights = [head.layer.get_weights()[0] for head in first]
  np.testing.assert_array_equal(weights[0], weights[1])
  assert np.any(weights[0] != weights[2])
  with tf.GradientTape() as tape:
    y = model.translator('a', 'b').forward(tf.zeros([1, *SHAPE]))
  heads = [v for head in model._heads['a_to_b']
           for v in head.trainable_variables]
  assert len(heads) == 16
  assert tape.gradient(y, heads) == [None] * 16


def test_patch_nce_is_the_cross_entropy_of_the_own_patch():
  queries = tf.math.l2_normalize(
      tf.random.stateless_normal([2, 5, 7], [1, 2]), axis=-1)
  keys = tf.math.l2_normalize(
      tf.random.stateless_normal([2, 5, 7], [3, 4]), axis=-1)
  want = np.mean([
      tf.keras.losses.sparse_categorical_crossentropy(
          np.arange(5), queries[b] @ tf.transpose(keys[b]) / 0.07,
          from_logits=True) for b in range(2)])
  np.testing.assert_allclose(cut.patch_nce(queries, keys), want, rtol=1e-5)
  same = tf.ones([1, 9, 4]) / 2.
  np.testing.assert_allclose(cut.patch_nce(same, same), math.log(9), rtol=1e-5)


def test_loss_is_the_papers():
  trainer, batch = _trainer(ema_decay=0., nce_weight=3., identity_weight=0.5)
  before = [v.numpy() for v in trainer.model.trainable_variables]
  got = {k: float(v) for k, v in trainer.train_step(batch).items()}
  want = sum(
      got[f'adversarial_loss/{d}'] + 3. * got[f'nce_loss/{d}'] +
      1.5 * got[f'identity_nce_loss/{d}']
      for d in ('a_to_b', 'b_to_a'))
  np.testing.assert_allclose(got['loss'], want, rtol=1e-5)
  assert all(np.any(v.numpy() != old) for v, old in zip(
      trainer.model.trainable_variables, before, strict=True)
             if v.shape.rank > 1)


def test_patches_are_learnt_without_the_identity():
  trainer, batch = _trainer(learning_rate=3e-3, decay_from=1., steps=100,
                            identity_weight=0.)
  first = trainer.train_step(batch)
  assert 'identity_nce_loss/a_to_b' not in first
  for _ in range(30):
    last = trainer.train_step(batch)
  assert float(last['nce_loss/a_to_b']) < 0.8 * float(first['nce_loss/a_to_b'])


def test_an_input_that_is_its_own_translation_costs_least(model):
  term = cut.terms(_config(), model)[2]
  x = tf.random.stateless_uniform([3, *SHAPE], SEED)

  def loss(fake):
    return float(term.fn(af.objectives.State(
        {'a': x, 'b': x}, {('a', 'b'): fake}, {}, tf.constant(0.), SEED)))

  assert term.name == 'nce_loss/a_to_b'
  assert loss(x) < loss(tf.reverse(x, [1]))


def test_what_is_translated_is_a_fixed_target(model):
  term = cut.terms(_config(), model)[2]
  real, fake = tf.random.stateless_uniform([2, 3, *SHAPE], SEED)
  with tf.GradientTape() as tape:
    tape.watch([real, fake])
    loss = term.fn(af.objectives.State(
        {'a': real}, {('a', 'b'): fake}, {}, tf.constant(0.), SEED))
  of_real, of_fake = tape.gradient(loss, [real, fake])
  assert of_real is None
  assert np.any(of_fake)


def test_configuration():
  for name in ('cut', 'cut_digits'):
    config = config_lib.resolve(name)
    assert (config.model, config.nce_weight, config.identity_weight) == (
        'cut', 1., 1.)
  with pytest.raises(config_lib.ConfigError, match='`nce_weight`'):
    config_lib.resolve('cyclegan_digits', nce_weight=1.)


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('runs') / 'run')
  loop.train(_config(steps=2, eval_every=2, checkpoint_every=2, log_every=1,
                     critic_layers=2, framing=True), path)
  return path


@pytest.mark.slow
def test_a_run_is_evaluated_and_exported(run_dir, tmp_path):
  model = af.load(run_dir)
  assert isinstance(model, baselines.CUT)
  result = evaluate.evaluate(
      run_dir, limit=10, classify=False, supervised=False)
  assert not result['bits_per_dim']
  assert result['round_trip']['mnist_to_optical']['max'] > 1e-3
  paths = export.export_run(run_dir, str(tmp_path))
  assert sorted(p.split(os.sep)[-2] for p in paths) == [
      'mnist_to_optical', 'optical_to_mnist']
  served = tf.saved_model.load(str(tmp_path / 'mnist_to_optical' / '1'))
  x = tf.random.stateless_uniform([2, 16, 16, 1], SEED)
  np.testing.assert_allclose(
      served.signatures['serving_default'](image=x)['image'],
      model.translator('mnist', 'optical').forward(x), atol=1e-5)

"""CycleGAN as a model, and trained, evaluated and exported as a run."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf import baselines
from alignflow_tf import evaluate
from alignflow_tf import inference
from alignflow_tf.demo import playground
from alignflow_tf.export import export
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import trainer as trainer_lib

SHAPE = (8, 8, 1)
TINY = dict(num_scales=2, width=4, num_blocks=1, critic_width=4,
            critic_layers=1, batch_size=4, pool_size=4, steps=10)


def _config(**overrides):
  return config_lib.resolve(model='cyclegan', **(TINY | overrides))


def _batch(seed=0, size=4):
  random = np.random.RandomState(seed)
  return {d: tf.constant(random.randint(0, 256, (size, *SHAPE)), tf.uint8)
          for d in 'ab'}


@pytest.fixture(scope='module')
def model():
  return baselines.CycleGAN(('a', 'b'), SHAPE, 4, 1, 1)


def test_translators(model):
  x = tf.random.stateless_uniform([3, *SHAPE], [1, 2])
  y = model.translator('a', 'b').forward(x)
  assert y.shape == x.shape
  assert float(tf.reduce_min(y)) > 0.
  assert float(tf.reduce_max(y)) < 1.
  assert np.any(y != model.translator('b', 'a').forward(x))
  assert len(model.trainable_variables) == 2 * 2 * 6


def test_what_it_lacks_is_named(model):
  evaluator = inference.Evaluator(model)
  assert not evaluator.has_densities
  x = np.zeros((1, *SHAPE), np.float32)
  for call in (evaluator.log_prob, evaluator.encode, evaluator.decode):
    with pytest.raises(TypeError, match='got CycleGAN, which has none'):
      call(x, 'a')


@pytest.mark.parametrize('domains', ['ab', ('a',), ('a', 'a')])
def test_domains_must_differ(domains):
  with pytest.raises(ValueError, match='`domains` must be'):
    baselines.CycleGAN(domains, SHAPE, 4, 1, 1)


def test_unknown_domains(model):
  with pytest.raises(KeyError, match="'a' and 'a'"):
    model.translator('a', 'a')


def test_arguments_that_do_not_fit_are_named(model):
  with pytest.raises(ValueError, match=r'`event_shape` must be \(height'):
    baselines.CycleGAN(('a', 'b'), (8, 8))
  x = tf.zeros([2, *SHAPE])
  with pytest.raises(ValueError, match='`images` must have a batch for each'):
    model.initialize({'a': x})
  with pytest.raises(ValueError, match=r"images\['b'\].*\[-0.5, 1.5\]"):
    model.initialize({'a': x, 'b': x + 2.})


@pytest.mark.parametrize('identity', [0., 0.5])
def test_loss_is_the_papers(identity):
  trainer = trainer_lib.Trainer(
      _config(identity_weight=identity, ema_decay=0.), ('a', 'b'), SHAPE)
  batch = _batch()
  trainer.initialize(batch)
  before = [v.numpy() for v in trainer.model.trainable_variables]
  got = {k: float(v) for k, v in trainer.train_step(batch).items()}
  adversarial = sum(got[f'adversarial_loss/{d}'] for d in ('a_to_b', 'b_to_a'))
  cycle = sum(got[f'cycle_loss/{d}'] for d in ('a_to_b', 'b_to_a'))
  assert cycle > 0.
  want = adversarial + 10. * cycle + 5. * got.get('identity_loss', 0.)
  np.testing.assert_allclose(got['loss'], want, rtol=1e-5)
  assert ('identity_loss' in got) == bool(identity)
  assert all(np.any(v.numpy() != old) for v, old in zip(
      trainer.model.trainable_variables, before, strict=True)
             if v.shape.rank > 1)


def test_a_cycle_is_learnt():
  trainer = trainer_lib.Trainer(
      _config(learning_rate=3e-3, decay_from=1., steps=100, pool_size=0),
      ('a', 'b'), SHAPE)
  batch = {d: x // 32 * 32 for d, x in _batch().items()}
  first = trainer.train_step(batch)
  for _ in range(30):
    last = trainer.train_step(batch)
  assert float(last['cycle_loss/a_to_b']) < 0.8 * float(
      first['cycle_loss/a_to_b'])


def test_configuration():
  assert _config().objective == 'adversarial'
  paper = config_lib.resolve('cyclegan')
  assert (paper.model, paper.width, paper.num_blocks, paper.pool_size) == (
      'cyclegan', 64, 9, 50)
  assert (paper.cycle_weight, paper.identity_weight) == (10., 0.)
  for overrides in (dict(objective='mle'), dict(share='all')):
    with pytest.raises(config_lib.ConfigError, match='where `model=cyclegan`'):
      _config(**overrides)
  with pytest.raises(config_lib.ConfigError, match='one more than the halving'):
    trainer_lib.build_model(_config(num_scales=5), ('a', 'b'), SHAPE)


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('runs') / 'run')
  config = _config(steps=3, eval_every=3, checkpoint_every=2, log_every=1,
                   critic_layers=2, framing=True)
  loop.train(config, path)
  return path


def test_a_run(run_dir):
  with open(os.path.join(run_dir, 'metrics.jsonl')) as f:
    lines = [json.loads(line) for line in f]
  assert lines[-1]['validation/round_trip_max/optical_to_mnist'] > 1e-3
  assert not [k for k in lines[-1] if 'bits_per_dim' in k]
  assert isinstance(af.load(run_dir), baselines.CycleGAN)


def test_evaluation(run_dir):
  result = evaluate.evaluate(
      run_dir, limit=10, classify=False, supervised=False)
  assert result['critics'] is None
  assert not result['bits_per_dim']
  assert result['round_trip']['mnist_to_optical']['max'] > 1e-3
  assert 'bits/dim' not in evaluate.table(result)


def test_export(run_dir, tmp_path):
  paths = export.export_run(run_dir, str(tmp_path))
  assert sorted(p.split('/')[-2] for p in paths) == [
      'mnist_to_optical', 'optical_to_mnist']
  served = tf.saved_model.load(str(tmp_path / 'mnist_to_optical' / '1'))
  assert set(served.signatures) == {
      'serving_default', 'translate_encoded', 'round_trip'}
  x = tf.random.stateless_uniform([2, 16, 16, 1], [1, 2])
  want = af.load(run_dir).translator('mnist', 'optical').forward(x)
  got = served.signatures['serving_default'](image=x)['image']
  np.testing.assert_allclose(got, want, atol=1e-5)
  with pytest.raises(playground.PlaygroundError, match='got CycleGAN'):
    playground.Playground(run_dir)

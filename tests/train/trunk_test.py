"""A trunk under adapters: what trains what, and resuming."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import flows
from alignflow_tf import images as images_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from alignflow_tf.train import schedules
from alignflow_tf.train import trainer as trainer_lib
from alignflow_tf.train import warm_start

_DOMAINS = ('a', 'b')
_SHAPE = (8, 8, 1)


def _config(**settings):
  return config_lib.resolve(**{
      'preset': 'cpu', 'flow': 'short', 'num_scales': 1, 'width': 4,
      'trunk': 'short', 'trunk_scales': 1, 'trunk_width': 4, 'trunk_steps': 2,
      'steps': 4, 'hub': True, 'framing': False, 'batch_size': 4,
      'critic_width': 4, 'critic_layers': 1, 'pool_size': 2,
      'lambda_a': 1e-3, **settings})


def _batch(size=4):
  random = np.random.RandomState(0)
  return {d: tf.constant(random.randint(0, 256, (size, *_SHAPE)), tf.uint8)
          for d in _DOMAINS}


def _trainer(**settings):
  trainer = trainer_lib.Trainer(_config(**settings), _DOMAINS, _SHAPE)
  trainer.initialize(_batch(16))
  return trainer


def _values(bijector):
  return [v.numpy() for v in bijector.trainable_variables]


def _changed(before, bijector):
  return any((x != y).any()
             for x, y in zip(before, _values(bijector), strict=True))


@pytest.mark.parametrize('later', [0., 0.5])
@pytest.mark.usefixtures('eagerly')
def test_trunk_steps_train_the_trunk_and_later_ones_the_adapters(later):
  trainer = _trainer(trunk_later=later, eight_bit_weight=1.)
  model = trainer.model
  trunk, adapter = _values(model.trunk), _values(model.adapter('a'))
  metrics = [trainer.trunk_step(_batch()) for _ in range(2)]
  assert set(metrics[0]) == {
      'bits_per_dim/b', 'loss', 'learning_rate', 'gradient_norm', 'skipped'}
  assert metrics[1]['loss'] < metrics[0]['loss']
  assert _changed(trunk, model.trunk)
  assert not _changed(adapter, model.adapter('a'))
  trunk = _values(model.trunk)
  metrics = trainer.train_step(_batch())
  assert metrics['eight_bit_loss'] > 0.
  assert _changed(trunk, model.trunk) == bool(later)
  assert _changed(adapter, model.adapter('a'))
  assert trainer.step == 3


@pytest.mark.usefixtures('eagerly')
def test_critics_do_not_move_a_trunk():
  trainer = _trainer(
      trunk_later=1., objective='adversarial', lambda_a=None)
  before = _values(trainer.model.trunk)
  trainer.train_step(_batch())
  assert not _changed(before, trainer.model.trunk)


@pytest.mark.usefixtures('eagerly')
def test_without_a_hub_all_domains_train_the_trunk():
  trainer = _trainer(hub=False)
  assert {'bits_per_dim/a', 'bits_per_dim/b'} <= set(
      trainer.trunk_step(_batch()))


def test_adapters_start_as_the_identity():
  model = _trainer(flow='couplings').model
  x = images_lib.from_uint8(_batch()['a'])
  np.testing.assert_allclose(
      model.translator('a', 'b').forward(x), x, atol=1e-6)


@pytest.mark.parametrize('hub', [False, True])
def test_adapters_start_in_the_colours_of_their_target(hub):
  trainer = trainer_lib.Trainer(
      _config(flow='couplings', match_colours=True, hub=hub),
      _DOMAINS, (8, 8, 3))
  random = np.random.RandomState(0)
  # Dark and even in `a`, bright and varied in `b`; other in each channel.
  x = {d: tf.constant(np.clip(random.normal(
      mean, scale, (64, 8, 8, 3)), 0, 255).astype(np.uint8)) for d, mean, scale
       in (('a', [40, 60, 80], 8), ('b', [200, 180, 170], [10, 15, 20]))}
  trainer.initialize(x)
  g = trainer.model.translator('a', 'b')
  source, target = (images_lib.from_uint8(x[d]) for d in 'ab')
  y = g.forward(source)
  for moment in (np.mean, np.std):
    np.testing.assert_allclose(
        moment(y, axis=(0, 1, 2)), moment(target, axis=(0, 1, 2)), atol=0.01)
  np.testing.assert_allclose(g.inverse(tf.identity(y)), source, atol=1e-5)


def test_trunk_rate_falls_to_what_it_keeps():
  config = _config(trunk_steps=4, steps=10, trunk_later=0.25, decay_from=0.5)
  rates = [
      float(schedules.trunk_rate(config, tf.constant(step, tf.int64))) / 2e-3
      for step in range(11)]
  np.testing.assert_allclose(
      rates, [1., 1., 1., 0.625, 0.25, 0.25, 0.2, 0.15, 0.1, 0.05, 0.],
      atol=1e-6)


def test_a_run_goes_on_within_and_after_the_trunk(tmp_path, capsys):
  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  config = _config(trunk_later=0.5, steps=4, trunk_steps=2, checkpoint_every=1,
                   critic_shift=1, keep_checkpoints=9, log_every=1,
                   eval_every=4,
                   image_size=8, deterministic=True)
  loop.train(config, str(whole))
  assert '% of the time' in capsys.readouterr().out
  shutil.copytree(whole, parts)
  for path in (parts / 'checkpoints').glob('ckpt-*'):
    if int(path.name.split('-')[1].split('.')[0]) > 1:
      path.unlink()
  loop.train(config, str(parts))
  for x, y in zip(runs.load(str(whole)).variables,
                  runs.load(str(parts)).variables, strict=True):
    np.testing.assert_array_equal(x, y)
  lines = [json.loads(line)
           for line in (whole / 'metrics.jsonl').read_text().splitlines()]
  assert 'adversarial_loss/optical_to_mnist' not in lines[1]
  assert 'adversarial_loss/optical_to_mnist' in lines[2]


@pytest.mark.parametrize(('settings', 'message'), [
    ({'trunk': 'none', 'hub': False}, '`trunk_steps`.*`trunk` is none'),
    ({'trunk': 'none', 'trunk_steps': 0}, '`hub`.*`trunk` is none'),
    ({'trunk_steps': 4}, '`trunk_steps`.*below `steps`'),
    ({'trunk_steps': 0}, "`trunk` .*got 'short'.*`trunk_steps`"),
    ({'trunk_steps': 0, 'objective': 'mle'}, '`trunk` .*`trunk_later`'),
    ({'trunk_steps': 0, 'trunk_later': 1., 'objective': 'adversarial',
      'lambda_a': None}, '`trunk` .*adversarial'),
    ({'share': 'all'}, '`share`'),
    ({'trunk': 'gloww'}, '`trunk`'),
    ({'objective': 'mle', 'eight_bit_weight': 1.}, '`eight_bit_weight`'),
    ({'model': 'cyclegan', 'lambda_a': None, 'preset': 'cyclegan_cpu'},
     '`trunk`|`flow`'),
])
def test_settings_that_do_not_fit(settings, message):
  with pytest.raises(config_lib.ConfigError, match=message):
    _config(**settings)


@pytest.mark.parametrize('settings', [
    {'trunk_later': 0.5}, {'trunk_later': 1., 'objective': 'mle'},
    {'init_from': 'run'}, {'init_from': 'run', 'train_domains': ('a',)}])
def test_a_trunk_needs_no_first_steps(settings):
  config = _config(trunk_steps=0, **settings)
  assert (config.trunk, config.trunk_steps) == ('short', 0)


def test_a_trunk_that_nothing_trains_must_come_from_the_other_run(tmp_path):
  run, config = str(tmp_path / 'run'), _config(
      dataset='digits', image_size=8, steps=3)
  loop.train(config, run)
  for settings, message in (
      ({}, None), ({'trunk_width': 5}, 'that this run does not train. .*trunk'),
      ({'trunk_width': 5, 'trunk_later': 1.}, None),
      # Of adapters, what does not fit is new, and is trained.
      ({'width': 5}, None)):
    other = _config(init_from=run, **{
        'trunk_steps': 0, 'dataset': 'digits', 'image_size': 8, **settings})
    new = trainer_lib.Trainer(other, ('optical', 'mnist'), _SHAPE)
    if message:
      with pytest.raises(runs.RunError, match=message):
        warm_start.start_from(run, new, other)
    else:
      assert 'Started from' in warm_start.start_from(run, new, other)


def test_flows_without_preprocessing():
  for name, flow in flows.FLOWS.items():
    bijector = flow((8, 8, 1), num_scales=1, channels=4, num_blocks=1,
                    alpha=None)
    x = tf.random.stateless_normal([2, 8, 8, 1], [0, 1]) * 5.
    if name in ('real_nvp', 'couplings'):
      np.testing.assert_allclose(bijector.inverse(x), x, atol=1e-5)
    else:
      np.testing.assert_allclose(
          bijector.forward(bijector.inverse(x)), x, atol=1e-3)


def test_pictures_have_the_gradient_of_the_identity():
  x = tf.constant([-0.1, 0., 0.5, 0.9999, 1.2])
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = images_lib.as_picture(x)
  np.testing.assert_allclose(
      y, [0.5 / 256, 0.5 / 256, 128.5 / 256, 255.5 / 256, 255.5 / 256],
      atol=1e-7)
  np.testing.assert_array_equal(tape.gradient(y, x), tf.ones(5))

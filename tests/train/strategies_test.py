"""Several devices and processes: what they share, and that they are as one."""

import concurrent.futures
import dataclasses
import json
import os
import threading

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import optimizer
from alignflow_tf.train import replicas
from alignflow_tf.train import strategies
from alignflow_tf.train import trainer as trainer_lib

SHAPE = (8, 8, 1)
# Pools of 6 images are full within two steps of 4, and smaller than a step's.
TINY = dict(flow='short', num_scales=1, width=2, num_blocks=1, critic_width=2,
            critic_layers=1, batch_size=4, steps=10, framing=False)


def _cluster(*addresses, job='worker', task='worker', index=0):
  return json.dumps({'cluster': {job: list(addresses)},
                     'task': {'type': task, 'index': index}})


def _config(**overrides):
  return config_lib.resolve('cpu', **(TINY | overrides))


def _batch(seed, size):
  random = np.random.RandomState(seed)
  return {d: tf.constant(random.randint(0, 256, (size, *SHAPE)), tf.uint8)
          for d in 'ab'}


@pytest.fixture(scope='module')
def mirrored():
  """The two logical CPU devices of `conftest.py`."""
  return strategies.make(_config(strategy='mirrored'))


def _train(config, strategy, steps=5):
  trainer = trainer_lib.Trainer(config, ('a', 'b'), SHAPE, strategy=strategy)
  trainer.initialize(_batch(9, 32))
  size = config.images_per_step()
  return trainer, [
      {k: float(v) for k, v in trainer.train_step(_batch(step, size)).items()}
      for step in range(steps)]


def _without_noise(patch):
  """Adam that does not blow up rounding errors, and images without noise.

  With Adam's usual epsilon, a gradient that is all but zero moves its variable
  by a whole step, one way or the other: two orders of adding, two results.
  """
  patch.setattr(optimizer, '_EPSILON', 1e-2)
  patch.setattr(images_lib, 'dequantize',
                lambda images, seed, width: images_lib.from_uint8(images))
  optimizer._adam.cache_clear()


@pytest.fixture(scope='module')
def both(mirrored):
  """A trainer on one device and one on two, and their metrics by step.

  Of all randomness there are the pools, which the replicas have together.
  """
  config = _config(pool_size=6, clip_norm=1., critic_noise=0.)
  with pytest.MonkeyPatch.context() as patch:
    _without_noise(patch)
    one, one_metrics = _train(config, None)
    two, two_metrics = _train(config, mirrored.strategy)
    yield one, one_metrics, two, two_metrics
  optimizer._adam.cache_clear()


@pytest.fixture(scope='module')
def values(both):
  """(name, on one device, on two) of all variables, before tests go on."""
  one, _, two, _ = both
  return [(a.name, a.numpy(), b.numpy())
          for a, b in zip(one.variables, two.variables, strict=True)]


def test_two_devices_give_the_losses_of_one(both):
  _, one, _, two = both
  for a, b in zip(one, two, strict=True):
    assert set(a) == set(b)
    for name in a:
      assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-5), name


def test_two_devices_give_the_weights_averages_and_pools_of_one(values):
  for name, a, b in values:
    np.testing.assert_allclose(b, a, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize('overrides', [
    {}, pytest.param(dict(gan_loss='wasserstein', critic_steps=2),
                     marks=pytest.mark.slow)], ids=['default', 'wasserstein'])
def test_with_noise_two_devices_agree_in_distribution(mirrored, overrides):
  """Replicas draw their own noise: the losses of one to 2 %."""
  config = _config(critic_noise=0.1, **overrides)
  _, one = _train(config, None, 4)
  _, two = _train(config, mirrored.strategy, 4)
  for name in ('bits_per_dim/a', 'bits_per_dim/b'):
    a, b = (np.mean([step[name] for step in steps]) for steps in (one, two))
    assert a != b
    assert b == pytest.approx(a, rel=0.02)
  assert not any(step['skipped'] for step in two)


def test_all_copies_are_the_same(both, mirrored):
  _, _, two, _ = both
  for variable in two.variables:
    first, second = mirrored.strategy.experimental_local_results(variable)
    assert first.device != second.device
    np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_copies_are_evaluated_one_batch_at_a_time(both, monkeypatch):
  one, _, two, _ = both
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2})
  assert inference.Evaluator(one.average)._concurrent() == 3
  assert inference.Evaluator(two.average)._concurrent() == 1


def test_nothing_is_traced_again(both):
  for trainer in (both[0], both[2]):
    assert trainer.train_step.experimental_get_tracing_count() == 1


def test_a_step_that_is_not_finite_is_left_out_on_both_devices(mirrored):
  trainer, _ = _train(_config(pool_size=6), mirrored.strategy, 1)
  weights = trainer.model.trainable_variables[0]
  good = weights.numpy()
  weights.assign(good * np.nan)
  watched = [v for v in trainer.variables if v is not weights
             and v is not trainer.step and v is not trainer.skipped]
  before = [v.numpy() for v in watched]
  values = trainer.train_step(_batch(1, 4))
  assert float(values['skipped']) == 1.
  for variable, old in zip(watched, before, strict=True):
    for copy in mirrored.strategy.experimental_local_results(variable):
      np.testing.assert_array_equal(copy.numpy(), old, err_msg=variable.name)
  assert trainer.step.numpy() == 2
  assert trainer.skipped.numpy() == 1
  assert not np.isfinite(float(values['loss']))


def test_a_checkpoint_of_two_devices_goes_on_on_one(
    both, values, tmp_path):
  del values  # Taken before.
  one, _, two, _ = both
  checkpoints = checkpoints_lib.Checkpoints(
      str(tmp_path), two.checkpoint(), 1, {})
  path = checkpoints.save(5, {})
  alone = trainer_lib.Trainer(one._config, ('a', 'b'), SHAPE)
  holder = alone.checkpoint()
  assert holder.save_counter.numpy() == 0  # Made at its first use.
  checkpoints_lib.restore(holder, path, whole=True)
  size = one._config.images_per_step()
  want = two.train_step(_batch(7, size))
  values = alone.train_step(_batch(7, size))
  assert float(values['loss']) == pytest.approx(float(want['loss']), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('overrides', [
    dict(precision='mixed_bfloat16'),
    dict(model='cyclegan', num_scales=2),
    dict(share='all', memory='reversible', objective='mle'),
], ids=['bfloat16', 'cyclegan', 'reversible'])
def test_other_settings_train_on_two_devices(overrides, mirrored, monkeypatch):
  _without_noise(monkeypatch)
  config = _config(critic_noise=0., **overrides)
  _, one = _train(config, None, 2)
  _, two = _train(config, mirrored.strategy, 2)
  near = 2e-2 if 'precision' in overrides else 1e-5
  for a, b in zip(one, two, strict=True):
    assert b['loss'] == pytest.approx(a['loss'], rel=near, abs=near)


def test_replicas_draw_noise_of_their_own(mirrored):
  seed = tf.constant([1, 2])

  @tf.function
  def draw():
    return mirrored.strategy.run(lambda: tf.random.stateless_uniform(
        [3], replicas.fold_in(seed)))

  first, second = mirrored.strategy.experimental_local_results(draw())
  assert np.all(first.numpy() != second.numpy())
  np.testing.assert_array_equal(replicas.fold_in(seed), seed)


def test_what_replicas_gather_is_divided_again(mirrored):
  x = tf.reshape(tf.range(24.), [4, 3, 2])

  @tf.function
  def divide():
    def run():
      mine = replicas.part(x, 2)
      everything = replicas.gather(mine)
      return mine, everything, replicas.part(everything, 2)

    return mirrored.strategy.run(run)

  parts, whole, again = (
      mirrored.strategy.experimental_local_results(v) for v in divide())
  for i in range(2):
    np.testing.assert_array_equal(parts[i], x[2 * i:2 * i + 2])
    np.testing.assert_array_equal(whole[i], x)
    np.testing.assert_array_equal(again[i], parts[i])


def test_a_loop_on_two_devices_goes_on_on_one(tmp_path, mirrored, capsys):
  domains = data.load('digits', image_size=8, batch_size=4)
  config = _config(strategy='mirrored', steps=4, checkpoint_every=2,
                   eval_every=4, log_every=1, image_size=8, objective='mle')
  loop.train(dataclasses.replace(config, steps=4), str(tmp_path / 'two'),
             domains, team=mirrored)
  loop.train(dataclasses.replace(config, strategy='default'),
             str(tmp_path / 'one'), domains)
  lines = {}
  for name in ('one', 'two'):
    with open(tmp_path / name / 'metrics.jsonl') as f:
      lines[name] = [json.loads(line) for line in f]
  assert len(lines['one']) == len(lines['two']) == 5
  for a, b in zip(lines['one'], lines['two'], strict=True):
    assert a.keys() == b.keys()
    for key in a:
      if 'bits_per_dim/' in key or key == 'learning_rate':
        assert b[key] == pytest.approx(a[key], rel=0.02), key
  # Not another run: where it trains is no part of what it trains.
  loop.train(dataclasses.replace(config, strategy='default'),
             str(tmp_path / 'two'), domains)
  assert 'is done' in capsys.readouterr().out


def test_a_process_has_its_rows():
  teams = [strategies.Team(None, 2, i) for i in range(2)]
  assert [t.rows(8) for t in teams] == [[0, 1, 2, 3], [4, 5, 6, 7]]
  assert strategies.Team().rows(8) is None
  assert [t.chief for t in teams] == [True, False]


def test_rows_are_those_of_the_whole_batch(tmp_path):
  random = np.random.RandomState(0)
  for d in 'ab':
    folder = tmp_path / d
    folder.mkdir()
    for i in range(12):
      tf.io.write_file(str(folder / f'{i}.png'), tf.io.encode_png(
          random.randint(0, 256, (14, 14, 3)).astype(np.uint8)))
  domains = data.load(
      'folders', domain_dirs={d: str(tmp_path / d) for d in 'ab'},
      image_size=8, load_size=12, flip=True)
  rows = [1, 2, 5]
  whole = domains.train_batches(6, seed=3)
  some = domains.train_batches(6, seed=3, rows=rows)
  for a, b in zip(whole.take(3), some.take(3), strict=True):
    for d in 'ab':
      np.testing.assert_array_equal(
          a[d]['image'].numpy()[rows], b[d]['image'].numpy())
  with pytest.raises(data.DataError, match='`rows`.*6.*6'):
    domains.train_batches(6, rows=[6])


def test_a_batch_that_devices_cannot_share_is_refused(mirrored):
  with pytest.raises(config_lib.ConfigError, match='`batch_size`.* 2 dev.*5'):
    strategies.make(_config(strategy='mirrored', batch_size=5))


def test_contradictions_are_refused(mirrored):
  with pytest.raises(config_lib.ConfigError, match="`strategy`.*'default'"):
    _config(strategy='mirrored', xla=True)
  with pytest.raises(config_lib.ConfigError, match='`strategy`.*one of'):
    _config(strategy='tpu')

  class Auxiliary:
    labels = ()
    critic_classes = 0

  with pytest.raises(config_lib.ConfigError, match='`strategy`'):
    trainer_lib.Trainer(
        _config(strategy='mirrored'), ('a', 'b'), SHAPE,
        auxiliary=Auxiliary(), strategy=mirrored.strategy)


@pytest.mark.parametrize('text', [
    None, '{', '[1]', '{"cluster": {"worker": 3}, "task": {}}', '{}',
    _cluster('a:1', 'b:2', index=2), _cluster('a:1', 'b:2', index='2'),
    _cluster('a:1', 'b:2', index='one'), _cluster('a:1', 'b:2', task='chief'),
    _cluster('a:1', 'b:2', job='ps', task='ps'), _cluster('a:1', 'b'),
    _cluster('a:1', 'b:2', job='chief', task='chief'), _cluster('a:1', 'a:1'),
])
def test_tf_config_is_checked(text, monkeypatch):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  if text is not None:
    monkeypatch.setenv('TF_CONFIG', text)
  with pytest.raises(config_lib.ConfigError) as e:
    strategies.make(_config(strategy='multi_worker'))
  assert 'TF_CONFIG' in str(e.value)
  assert repr(text or '') in str(e.value)


@pytest.mark.parametrize('number', [int, str])
def test_the_place_of_a_process(number):
  assert strategies._cluster(_cluster('a:1', 'b:2', index=number(1))) == (2, 1)
  chief = json.dumps({
      'cluster': {'chief': ['a:1'], 'worker': ['b:1', 'c:1']},
      'task': {'type': 'worker', 'index': number(1)}})
  assert strategies._cluster(chief) == (3, 2)


def test_what_differs_between_processes_is_named():
  """By threads in place of processes."""
  facts = [{'name': 'é', 'long': [1] * 5000, 'other': 1},
           {'name': 'é', 'long': [1] * 5000, 'other': 2},
           {'name': 'e', 'long': [1] * 5000, 'other': 1}]
  barrier = threading.Barrier(3)
  rows = {}

  def total(values):
    rows[threading.get_ident()] = values.numpy()
    barrier.wait()
    result = sum(rows.values())
    barrier.wait()
    return tf.constant(result)

  def run(worker):
    team = strategies.Team(None, 3, worker)
    team._sum = total
    assert team.total(worker + 1) == 6
    with pytest.raises(KeyError) as e:
      team.agree(facts[worker], 'facts', KeyError)
    return e.value.args[0]

  with concurrent.futures.ThreadPoolExecutor(3) as threads:
    found, = set(threads.map(run, range(3)))
  assert 'the same facts, got others for name, other. Start' in found
  strategies.Team().agree(facts[0], 'facts', KeyError)

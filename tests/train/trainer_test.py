"""One step of training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import bijectors
from alignflow_tf import flows
from alignflow_tf import images as images_lib
from alignflow_tf import objectives
from alignflow_tf.baselines import alignflow
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import trainer as trainer_lib

tfb = tfp.bijectors

SHAPE = (8, 8, 1)
TINY = dict(flow='short', num_scales=1, width=4, num_blocks=1, critic_width=4,
            critic_layers=1, batch_size=4, pool_size=4, steps=10)


def _config(**overrides):
  return config_lib.resolve('cpu', **(TINY | overrides))


def _batch(seed=0, size=4, domains=('a', 'b'), shape=SHAPE):
  random = np.random.RandomState(seed)
  return {d: tf.constant(random.randint(0, 256, (size, *shape)), tf.uint8)
          for d in domains}


def _trainer(domains=('a', 'b'), shape=SHAPE, **overrides):
  trainer = trainer_lib.Trainer(_config(**overrides), domains, shape)
  trainer.initialize(_batch(9, 32, domains, shape))
  return trainer


def _copy(variables):
  return [v.numpy() for v in variables]


@pytest.fixture(scope='module')
def trained():
  """A trainer, its weights before three steps, and the metrics of the last."""
  trainer = _trainer(num_scales=2)
  before = {
      'flows': _copy(trainer.model.trainable_variables),
      'critics': _copy(trainer.critics.networks.trainable)}
  for step in range(3):
    metrics = trainer.train_step(_batch(step))
  return trainer, before, {k: float(v) for k, v in metrics.items()}


def test_a_step_trains_every_variable(trained):
  trainer, before, _ = trained
  for variable, old in zip(trainer.model.trainable_variables, before['flows'],
                           strict=True):
    assert np.any(variable.numpy() != old), variable.name
  for variable, old in zip(trainer.critics.networks.trainable,
                           before['critics'], strict=True):
    if variable.shape.rank > 1:
      assert np.any(variable.numpy() != old), variable.name


@pytest.mark.parametrize('settings', [
    {}, {'memory': 'reversible'}, {'flow': 'glow'}])
@pytest.mark.usefixtures('eagerly')
def test_framings_are_set_from_each_domain_and_averaged(settings):
  shape = (8, 12, 3)
  trainer = trainer_lib.Trainer(
      _config(framing=True, objective='mle', **settings), ('a', 'b'), shape)
  first = {}
  for d, (rows, columns) in {'a': (4, 12), 'b': (8, 6)}.items():
    levels = np.zeros((32, *shape), np.uint8)
    levels[:, :rows, :columns] = _batch(3, 32, 'a', shape)['a'][
        :, :rows, :columns]
    first[d] = tf.constant(levels)
  trainer.initialize(first)

  def framings(model):
    return [[m for m in model.flow(d).submodules
             if isinstance(m, bijectors.Framing)][0] for d in 'ab']

  before = [framing.rows.numpy() for framing in framings(trainer.model)]
  assert np.abs(before[0] - before[1]).max() > 0.1
  metrics = trainer.train_step({d: x[:4] for d, x in first.items()})
  assert np.isfinite(float(metrics['loss']))
  assert not metrics['skipped']
  for model in (trainer.model, trainer.average):
    for framing, rows in zip(framings(model), before, strict=True):
      np.testing.assert_array_equal(framing.rows, rows)
      assert float(framing.inverse_log_det_jacobian(
          tf.zeros([1, *shape]))[0]) != 0.
  x = images_lib.from_uint8(first['a'][:4])
  g = trainer.average.translator('a', 'b')
  back = g.inverse(tf.identity(g.forward(x)))
  np.testing.assert_allclose(back, x, atol=1e-4)


def test_metrics_are_finite_and_named(trained):
  _, _, metrics = trained
  assert set(metrics) == {
      'loss', 'gradient_norm', 'adversarial_loss/a_to_b',
      'adversarial_loss/b_to_a', 'bits_per_dim/a', 'bits_per_dim/b',
      'critic_loss/a', 'critic_loss/b', 'range_loss', 'magnitude_l2',
      'learning_rate', 'skipped'}
  assert all(np.isfinite(v) for v in metrics.values())


def test_steps_are_counted(trained):
  trainer, _, _ = trained
  assert int(trainer.step) == 3
  assert int(trainer.skipped) == 0
  assert trainer.train_step.experimental_get_tracing_count() == 1


@pytest.mark.usefixtures('eagerly')
def test_a_graph_computes_what_eager_steps_do(trained):
  trainer = _trainer(num_scales=2)
  for step in range(3):
    metrics = trainer.train_step(_batch(step))
  assert {k: float(v) for k, v in metrics.items()} == pytest.approx(
      trained[2], rel=1e-4, abs=1e-5)


def test_the_average_follows_the_weights(trained):
  trainer, _, _ = trained
  far = near = 0.
  for average, variable in zip(trainer.average.variables,
                               trainer.model.variables, strict=True):
    assert average is not variable
    far += float(tf.reduce_sum(tf.abs(average - variable)))
    near += float(tf.reduce_sum(tf.abs(variable)))
  assert 0. < far < near


def test_a_step_that_is_not_finite_changes_nothing_but_the_count():
  trainer = _trainer()
  trainer.train_step(_batch(0))
  flow = trainer.model.trainable_variables[0]
  good = flow.numpy()
  flow.assign(good * np.nan)
  watched = (trainer.model.trainable_variables[1:] + tuple(
      trainer.critics.networks.trainable) + trainer.average.variables + tuple(
          v for p in trainer.critics._pools.values() for v in p.variables))
  before = _copy(watched)
  trainer.train_step(_batch(1))
  for variable, old in zip(watched, before, strict=True):
    np.testing.assert_array_equal(variable, old, err_msg=variable.name)
  assert int(trainer.skipped) == 1
  assert int(trainer.step) == 2
  flow.assign(good)
  trainer.train_step(_batch(2))
  assert int(trainer.skipped) == 1


def _magnitudes(trainer):
  return list({id(v): v for m in trainer.model.submodules for v in getattr(
      getattr(m, 'network', None), 'magnitudes', ())}.values())


@pytest.mark.usefixtures('eagerly')
def test_loss_is_equation_7_and_the_penalty():
  trainer = _trainer(lambda_a=1e-3, lambda_b=1e-2, range_l1_weight=3.)
  magnitudes = _magnitudes(trainer)
  half = sum(float(tf.reduce_sum(tf.square(g))) / 2. for g in magnitudes)
  metrics = {k: float(v) for k, v in trainer.train_step(_batch()).items()}
  assert metrics['magnitude_l2'] == pytest.approx(half, rel=1e-5)
  size = np.prod(SHAPE)
  nats = {d: (metrics[f'bits_per_dim/{d}'] - 8.) * size * np.log(2.)
          for d in 'ab'}
  want = (metrics['adversarial_loss/a_to_b']
          + metrics['adversarial_loss/b_to_a'] + 1e-3 * nats['a']
          + 1e-2 * nats['b'] + 5e-5 * half
          + 10. * metrics['range_loss'] + 3. * metrics['range_l1_loss'])
  assert metrics['range_l1_loss'] > metrics['range_loss'] > 0.
  np.testing.assert_allclose(metrics['loss'], want, rtol=1e-4)
  assert len(magnitudes) == 2 * 2  # flows, networks


@pytest.mark.usefixtures('eagerly')
def test_lambda_falls_to_zero():
  trainer = _trainer(lambda_a=1e-2, lambda_b=1e-2, lambda_until=0.5, steps=10)
  size = np.prod(SHAPE)
  batch = _batch()
  for step, want in ((0, 1.), (3, 0.4), (5, 0.), (9, 0.)):
    trainer.step.assign(step)
    metrics = {k: float(v) for k, v in trainer.train_step(batch).items()}
    assert metrics['lambda_factor'] == pytest.approx(want)
    nats = sum((metrics[f'bits_per_dim/{d}'] - 8.) * size * np.log(2.)
               for d in 'ab')
    rest = (metrics['adversarial_loss/a_to_b']
            + metrics['adversarial_loss/b_to_a']
            + 5e-5 * metrics['magnitude_l2']
            + 10. * metrics['range_loss'])
    assert metrics['loss'] - rest == pytest.approx(
        1e-2 * want * nats, rel=1e-3, abs=1e-4)


def test_mle_has_no_critics_and_learns():
  trainer = _trainer(objective='mle', learning_rate=3e-3, decay_from=1.,
                     steps=100)
  assert trainer.critics is None
  batch = _batch(0)
  first = trainer.train_step(batch)
  for _ in range(40):
    last = trainer.train_step(batch)
  assert float(last['bits_per_dim/a']) < float(first['bits_per_dim/a']) - 0.1
  assert not [k for k in last if 'critic' in k or 'adversarial' in k]


@pytest.mark.usefixtures('eagerly')
def test_adversarial_training_leaves_the_likelihood_out():
  trainer = _trainer(objective='adversarial')
  metrics = {k: float(v) for k, v in trainer.train_step(_batch()).items()}
  total = (metrics['adversarial_loss/a_to_b'] +
           metrics['adversarial_loss/b_to_a'])
  assert metrics['loss'] == pytest.approx(
      total + 10. * metrics['range_loss'], abs=0.02)


@pytest.mark.parametrize('overrides', [
    dict(gan_loss='wasserstein', critic_steps=2),
    dict(gan_loss='cross_entropy'),
    dict(gan_loss='hinge', precision='mixed_float16'),
])
def test_other_objectives_and_settings_train(overrides):
  trainer = _trainer(**overrides)
  size = 4 * trainer._config.critic_steps
  before = _copy(trainer.critics.networks.trainable)
  for step in range(2):
    metrics = trainer.train_step(_batch(step, size))
  assert all(np.isfinite(float(v)) for v in metrics.values())
  assert int(trainer.skipped) == 0
  assert any(np.any(v.numpy() != old) for v, old in zip(
      trainer.critics.networks.trainable, before, strict=True))
  assert int(trainer.critics.optimizer.iterations) == (
      2 * trainer._config.critic_steps)


def test_share_all_has_one_flow():
  trainer = trainer_lib.Trainer(
      _config(objective='mle', share='all'), ('a', 'b'), SHAPE)
  assert trainer.model.flow('a') is trainer.model.flow('b')


def test_the_same_seed_gives_the_same_start():
  one = trainer_lib.Trainer(_config(seed=5), ('a', 'b'), SHAPE)
  two = trainer_lib.Trainer(_config(seed=5), ('a', 'b'), SHAPE)
  other = trainer_lib.Trainer(_config(seed=6), ('a', 'b'), SHAPE)
  for a, b in zip(one.variables, two.variables, strict=True):
    np.testing.assert_array_equal(a, b)
  assert any(np.any(a.numpy() != b.numpy()) for a, b in zip(
      one.model.variables, other.model.variables, strict=True))


def test_initialisation_normalises_dequantised_images():
  trainer = trainer_lib.Trainer(_config(), ('a', 'b'), SHAPE)
  batch = _batch(3, 64)
  trainer.initialize(batch)
  x = images_lib.dequantize(batch['a'], [1, 1])
  z = trainer.model.flow('a').inverse(x)
  assert abs(float(tf.reduce_mean(z))) < 0.1
  assert float(tf.math.reduce_std(z)) == pytest.approx(1., abs=0.1)
  # The average starts there too.
  np.testing.assert_array_equal(z, trainer.average.flow('a').inverse(x))


@pytest.mark.usefixtures('eagerly')
def test_rates_fall_to_zero():
  trainer = _trainer(steps=10, decay_from=0.5)
  for step, want in ((0, 1.), (5, 1.), (8, 0.4), (10, 0.)):
    trainer.step.assign(step)
    rate = float(trainer.train_step(_batch())['learning_rate'])
    assert rate == pytest.approx(want * trainer._config.learning_rate)


@pytest.mark.parametrize(('overrides', 'shape', 'message'), [
    (dict(num_scales=5), SHAPE, 'num_scales=5'),
    (dict(num_scales=2), (10, 9, 1), 'num_scales=2'),
    (dict(critic_layers=3), SHAPE, 'critic_layers'),
])
def test_architectures_that_do_not_fit(overrides, shape, message):
  with pytest.raises(config_lib.ConfigError, match=message):
    trainer_lib.Trainer(_config(**overrides), ('a', 'b'), shape)


class _Brightness(tf.Module):
  """An auxiliary objective with a variable of its own."""
  labels = ('a',)
  critic_classes = 0

  def __init__(self):
    super().__init__()
    self.offset = tf.Variable(0.)

  def loss(self, real, fakes, labels, seed):
    del real, seed
    wanted = tf.cast(labels['a'], tf.float32)[:, None, None, None]
    value = tf.reduce_mean(tf.square(fakes['a', 'b'] + self.offset - wanted))
    return 3. * value, {'brightness': value}

  def update(self, real, fakes, labels, seed):
    del real, fakes, seed
    self.offset.assign_add(tf.reduce_mean(tf.cast(labels['a'], tf.float32)))


@pytest.mark.usefixtures('eagerly')
def test_auxiliary_objective_adds_its_loss_and_has_its_update(tmp_path):
  labels = {'a/label': tf.constant([0, 1, 1, 0], tf.int64)}
  trainer = trainer_lib.Trainer(
      _config(), ('a', 'b'), SHAPE, auxiliary=_Brightness())
  trainer.initialize(_batch(9, 32))
  plain = _trainer()
  assert trainer.labels == ('a',)
  metrics = trainer.train_step(_batch() | labels)
  without = plain.train_step(_batch())
  assert float(metrics['brightness']) > 0.
  np.testing.assert_allclose(
      metrics['loss'], without['loss'] + 3. * metrics['brightness'], rtol=1e-5)
  assert float(trainer._auxiliary.offset) == 0.5
  # What it learned is in checkpoints.
  path = trainer.checkpoint().save(str(tmp_path / 'checkpoint'))
  assert any('auxiliary/offset' in name
             for name, _ in tf.train.list_variables(path))


@pytest.mark.usefixtures('eagerly')
def test_flows_without_weight_norm_train(monkeypatch):
  """Such flows have no magnitudes, of which the penalty was an empty sum."""
  def flow(shape, **unused):
    return tfb.Chain([tfb.Shift(tf.Variable(tf.zeros(shape))),
                      tfb.Scale(log_scale=tf.Variable(tf.zeros(shape)))])

  monkeypatch.setitem(flows.FLOWS, 'short', flow)
  trainer = _trainer(objective='mle', magnitude_l2=1e-3)
  before = _copy(trainer.model.trainable_variables)
  metrics = trainer.train_step(_batch())
  assert 'magnitude_l2' not in metrics
  assert all(np.any(v.numpy() != old) for v, old in zip(
      trainer.model.trainable_variables, before, strict=True))


@pytest.mark.usefixtures('eagerly')
def test_critics_that_share_layers_update_them_once(monkeypatch):
  shared = keras.layers.Conv2D(1, 3, use_bias=False)

  def critics(config, domains, event_shape):
    def critic():
      x = keras.Input(event_shape)
      return keras.Model(x, keras.layers.Conv2D(1, 1)(shared(x)))

    return {d: critic() for d in domains}

  monkeypatch.setattr(alignflow, 'critics', critics, raising=False)
  trainer = _trainer(critic_learning_rate=1e-2)
  kernel = shared.kernel.numpy()
  assert len(trainer.critics.networks.trainable) == 1 + 2 * 2
  trainer.train_step(_batch())
  # Adam's first step is the rate, whatever the gradient.
  np.testing.assert_allclose(
      np.abs(shared.kernel.numpy() - kernel), 1e-2, rtol=1e-3)


@pytest.mark.usefixtures('eagerly')
def test_a_term_of_ones_own():
  trainer = _trainer(magnitude_l2=0.)
  trainer.terms.append(objectives.Term(
      'brightness', 0.5, lambda state: tf.reduce_mean(state.fakes['a', 'b'])))
  got = {k: float(v) for k, v in trainer.train_step(_batch()).items()}
  want = {k: float(v) for k, v in _trainer(magnitude_l2=0.).train_step(
      _batch()).items()}
  assert got['brightness'] > 0.
  assert got['loss'] == pytest.approx(
      want['loss'] + 0.5 * got['brightness'], rel=1e-5)

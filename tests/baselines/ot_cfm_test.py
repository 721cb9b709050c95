"""OT-CFM as a model, and trained, evaluated and exported as a run."""

import os

import numpy as np
import pytest
from scipy import optimize
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf import baselines
from alignflow_tf import evaluate
from alignflow_tf import protocols
from alignflow_tf.baselines import ot_cfm
from alignflow_tf.export import export
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import trainer as trainer_lib

SHAPE = (8, 8, 1)
TINY = dict(num_scales=2, width=8, num_blocks=1, batch_size=4, steps=10,
            ode_steps=2)


def _config(**overrides):
  return config_lib.resolve(model='ot_cfm', **(TINY | overrides))


def _images(num=3, seed=0):
  return tf.random.stateless_uniform([num, *SHAPE], [seed, 2])


def _model(num_steps=2):
  return baselines.OTCFM(('a', 'b'), SHAPE, 8, 1, 1, num_steps)


@pytest.fixture(scope='module')
def model():
  return _model()


@pytest.mark.parametrize('size', [1, 2, 7, 32])
def test_pairs_cost_least(size):
  pairs = tf.function(ot_cfm.pairs, jit_compile=size == 7)
  for seed in range(4):
    random = np.random.RandomState(seed)
    a, b = (random.random_sample((size, 1, 5)), random.rand(1, size, 5))
    costs = np.square(a - b).sum(-1).astype(np.float32) * (seed > 0)
    found = pairs(costs).numpy()
    assert sorted(found) == list(range(size))
    least = costs[optimize.linear_sum_assignment(costs)].sum()
    assert costs[found, np.arange(size)].sum() <= (
        least + 0.02 * size * costs.mean() + 1e-4)


def test_what_it_can_do(model):
  assert isinstance(model, protocols.Translates)
  assert not isinstance(model, protocols.HasLatents)
  x = _images()
  # The velocity is 0 at first.
  np.testing.assert_allclose(model.translator('a', 'b').forward(x), x,
                             atol=1e-6)
  assert model.translator('b', 'a').forward(x[:0]).shape == (0, *SHAPE)
  with pytest.raises(KeyError, match="'a' and 'c'"):
    model.translator('a', 'c')


def test_two_domains_only():
  with pytest.raises(ValueError, match='`domains` must be two where'):
    baselines.OTCFM(('a', 'b', 'c'), SHAPE, 8, 1, 1)
  with pytest.raises(config_lib.ConfigError, match='`domains` must be two'):
    trainer_lib.build_model(_config(), ('a', 'b', 'c'), SHAPE)


def test_the_equation_is_solved():
  """For dx/dt = x (1 + t), which takes x to exp(1.5) x and back."""

  class Growth(baselines.OTCFM):
    evaluations = 0

    def velocity(self, x, time):
      Growth.evaluations += 1
      return x * (1. + time[:, :, tf.newaxis, tf.newaxis])

  x = _images()
  errors, trips = [], []
  for steps in (4, 8):
    model = Growth(('a', 'b'), SHAPE, 8, 1, 1, steps)
    Growth.evaluations = 0
    y = model.translator('a', 'b').forward(x)
    assert Growth.evaluations == 2 * steps
    exact = 0.5 * (np.exp(1.5) * (2. * x - 1.) + 1.)
    errors.append(np.abs(y - exact).max())
    back = model.translator('b', 'a').forward(y)
    trips.append(np.abs(back - x).max())
  assert errors[0] < 0.1
  assert errors[1] < errors[0] / 3.
  assert trips[1] < trips[0] / 3.


def test_loss_is_the_papers():
  # At first the velocity is 0: the loss is the mean square of b - a.
  def loss(a, b, **settings):
    state = af.objectives.State(
        {'a': a, 'b': b}, {}, {}, tf.constant(0.), tf.constant([1, 2]))
    term, = ot_cfm.terms(_config(**settings), model)
    return float(term.fn(state))

  model = _model()
  a = _images(6)
  b = tf.gather(a, [3, 1, 5, 0, 2, 4]) + 0.25
  assert loss(a, b) == pytest.approx(0.5**2, rel=1e-5)
  # Of the velocity x, at a point between the two.
  model.velocity = lambda x, time: x
  same = tf.ones([6, *SHAPE])
  between = loss(same, 0. * same)
  assert 0. < between - 4. < 5.
  noisy = loss(same, 0. * same, path_noise=0.5)
  assert noisy == pytest.approx(between + 0.25, abs=0.2)
  assert noisy != between


def test_it_learns_and_goes_on_exactly(tmp_path):

  def trainer():
    return trainer_lib.Trainer(
        _config(learning_rate=1e-2, decay_from=1., steps=100, ema_decay=0.,
                deterministic=True), ('a', 'b'), SHAPE)

  random = np.random.RandomState(0)
  dark = random.randint(0, 128, (4, *SHAPE))
  batch = {'a': tf.constant(dark, tf.uint8),
           'b': tf.constant(dark[::-1] + 128, tf.uint8)}
  first = trainer()
  assert first.critics is None
  first.initialize(batch)
  losses = [float(first.train_step(batch)['flow_matching_loss'])
            for _ in range(30)]
  assert losses[-1] < 0.3 * losses[0]
  x = batch['a'].numpy() / 255.
  y = first.model.translator('a', 'b').forward(x.astype(np.float32)).numpy()
  assert np.abs(y - x - 0.5).mean() < 0.2
  path = first.checkpoint().write(str(tmp_path / 'checkpoint'))
  first.train_step(batch)
  second = trainer()
  second.checkpoint().read(path).assert_consumed()
  second.train_step(batch)
  for v, w in zip(first.model.variables, second.model.variables, strict=True):
    np.testing.assert_array_equal(v, w)


def test_configuration():
  for name in ('ot_cfm', 'ot_cfm_digits'):
    config = config_lib.resolve(name)
    assert (config.model, config.ode_steps, config.path_noise) == (
        'ot_cfm', 10, 0.)
  with pytest.raises(config_lib.ConfigError, match='where `model=ot_cfm`'):
    _config(objective='mle')
  with pytest.raises(config_lib.ConfigError, match='`ode_steps` must be 10'):
    config_lib.resolve('cyclegan_digits', ode_steps=20)
  for overrides, text in (
      (dict(num_scales=5), 'one more than the halvings'),
      (dict(width=12), r'`filters` \(--width\) must be a multiple of 8')):
    with pytest.raises(config_lib.ConfigError, match=text):
      trainer_lib.build_model(_config(**overrides), ('a', 'b'), SHAPE)


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('runs') / 'run')
  loop.train(_config(steps=3, eval_every=3, checkpoint_every=2, log_every=1),
             path)
  return path


def test_a_run_is_evaluated(run_dir):
  assert isinstance(af.load(run_dir), baselines.OTCFM)
  result = evaluate.evaluate(
      run_dir, limit=10, classify=False, supervised=False)
  assert result['critics'] is None
  assert not result['bits_per_dim']
  assert set(result['round_trip']) == {'optical_to_mnist', 'mnist_to_optical'}


@pytest.mark.slow
def test_a_run_is_exported(run_dir, tmp_path):
  export.export_run(run_dir, str(tmp_path))
  served = tf.saved_model.load(str(tmp_path / 'mnist_to_optical' / '1'))
  x = tf.random.stateless_uniform([2, 16, 16, 1], [1, 2])
  np.testing.assert_allclose(
      served.signatures['serving_default'](image=x)['image'],
      af.load(run_dir).translator('mnist', 'optical').forward(x), atol=1e-5)
  assert not os.path.isdir(tmp_path / 'mnist')

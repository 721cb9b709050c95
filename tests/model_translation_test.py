"""Translators, joint samples and interpolations of a model."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests import models

tfb = tfp.bijectors
tfd = tfp.distributions


@pytest.fixture(name='trained', scope='module')
def _trained_model():
  return models.trained()


def test_translator_of_gaussians():
  translator = models.gaussian().translator('a', 'b')
  x = models.images()
  np.testing.assert_allclose(
      translator.forward(x), (x - 0.5) / 0.1 * 0.2 + 0.3, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
      tf.broadcast_to(
          translator.forward_log_det_jacobian(x, event_ndims=3), [3]),
      [models.SIZE * np.log(2.)] * 3, rtol=1e-5)


def test_translator_and_its_reverse_are_inverses(trained):
  there, back = trained.translator('a', 'b'), trained.translator('b', 'a')
  x = tf.constant(models.images())
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
  x = tf.constant(models.images())
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
  x = tf.constant(models.images())
  np.testing.assert_allclose(
      pushed.log_prob(x), trained['b'].log_prob(tf.identity(x)), rtol=1e-4)


def test_two_domains_on_the_same_tensor(trained):
  """TFP's cache must not hand one domain's values to the other."""
  x = tf.constant(models.images())
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
  model = models.trained(('a', 'b', 'c'))
  x = tf.constant(models.images())
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
    assert joint[domain].shape == [5, *models.SHAPE]
    np.testing.assert_allclose(
        joint[domain], trained.flow(domain).forward(tf.identity(z)), atol=1e-6)
  np.testing.assert_allclose(
      trained.translator('a', 'b').forward(tf.identity(joint['a'])),
      joint['b'], atol=1e-3)
  again = trained.sample_joint(5, seed=(0, 1))
  np.testing.assert_array_equal(again['b'], joint['b'])
  assert trained.sample_joint([2, 3], seed=(0, 1))['a'].shape == [
      2, 3, *models.SHAPE]


def test_interpolate_runs_from_one_image_to_the_other(trained):
  x0, x1 = tf.constant(models.images(2)), tf.constant(models.images(2, seed=1))
  frames = trained.interpolate(x0, x1, source='a', num=5)
  assert frames['a'].shape == frames['b'].shape == [2, 5, *models.SHAPE]
  np.testing.assert_allclose(frames['a'][:, 0], x0, atol=1e-5)
  np.testing.assert_allclose(frames['a'][:, -1], x1, atol=1e-5)
  translator = trained.translator('a', 'b')
  np.testing.assert_allclose(
      frames['b'][:, 0], translator.forward(tf.identity(x0)), atol=1e-4)
  np.testing.assert_allclose(
      frames['b'][:, 2], translator.forward(tf.identity(frames['a'][:, 2])),
      atol=1e-3)


def test_interpolate_takes_the_polar_path():
  model = models.gaussian()
  x0, x1 = models.images(1), models.images(1, seed=1)
  frames = model.interpolate(x0, x1, source='a', num=3)
  z0, z1 = (x0 - 0.5) / 0.1, (x1 - 0.5) / 0.1
  middle = np.sqrt(0.5) * (z0 + z1)
  np.testing.assert_allclose(
      frames['a'][:, 1], 0.5 + 0.1 * middle, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
      frames['b'][:, 1], 0.3 + 0.2 * middle, rtol=1e-4, atol=1e-5)


def test_gradients_reach_both_flows_and_only_those_concerned(trained):
  x = tf.constant(models.images())

  def missing(function):
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(function(x))
    return [g is None for g in tape.gradient(
        loss, trained.trainable_variables)]

  assert not any(missing(trained.translator('a', 'b').forward))
  assert sum(missing(trained['a'].log_prob)) == models.FLOW_VARIABLES


def test_interpolate_in_a_graph_and_its_gradient():
  model = models.act_norms()
  x = tf.constant(models.images())

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


@pytest.mark.parametrize(('arguments', 'pattern'), [
    ({'num': 1}, '`num` must be an integer of 2 or more, got 1'),
    ({'num': 2.5}, '`num` must be an integer of 2 or more, got 2.5'),
    ({'x0': np.zeros([4, 4, 1])}, r'`x0` must have shape.*\[4, 4, 1\]'),
    ({'x1': np.zeros([2, 4, 4, 3])}, r'`x1` must have shape.*\[2, 4, 4, 3\]'),
    ({'x1': np.zeros([3, 4, 4, 1])}, '`x0` and `x1` must have one shape'),
    ({'x0': np.full([2, *models.SHAPE], np.nan)}, '`x0` must be finite'),
    ({'x1': np.full([2, *models.SHAPE], 255.)}, '`x1` must have pixels.*255'),
])
def test_interpolate_errors(arguments, pattern):
  x = np.zeros([2, *models.SHAPE])
  arguments = {'x0': x, 'x1': x, 'source': 'a', 'num': 3, **arguments}
  with pytest.raises(ValueError, match=pattern):
    models.gaussian().interpolate(**arguments)


def test_interpolate_takes_no_levels():
  x = np.zeros([2, *models.SHAPE], np.uint8)
  with pytest.raises(TypeError, match='`x0` must be floating.*uint8'):
    models.gaussian().interpolate(x, x, 'a')


@pytest.mark.parametrize('value', [
    -1, 2.5, '3', None, True, [2, -1], [[2]], tf.constant(-1),
    tf.TensorShape([2, None])])
def test_sample_joint_errors(value):
  with pytest.raises(ValueError, match='`sample_shape` must be a number'):
    models.gaussian().sample_joint(value)


def test_sample_joint_takes_what_tfp_takes():
  model = models.gaussian()
  for value, want in (
      ((), []), (0, [0]), (np.int64(2), [2]), (tf.TensorShape([2, 1]), [2, 1]),
      (tf.constant([3]), [3])):
    x = model.sample_joint(value, seed=(0, 1))['a']
    assert x.shape == [*want, *models.SHAPE]
  traced = tf.function(lambda n: model.sample_joint([n, 2], seed=(0, 1))['a'])
  assert traced(tf.constant(3)).shape == [3, 2, *models.SHAPE]

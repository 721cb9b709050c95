"""Objectives against values computed by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import objectives

REAL = tf.constant([[2.], [-1.]])
FAKE = tf.constant([[0.5], [3.]])


def _log_sigmoid(x):
  return -math.log(1. + math.exp(-x))


def test_cross_entropy_is_equation_6():
  # E log C(a) + E log(1 - C(G(b))), which the critic maximises.
  equation = (
      (_log_sigmoid(2.) + _log_sigmoid(-1.)) / 2.
      + (_log_sigmoid(-0.5) + _log_sigmoid(-3.)) / 2.)
  np.testing.assert_allclose(
      objectives.cross_entropy.critic(REAL, FAKE), -equation, rtol=1e-6)
  # The generator minimises its part of the same expression.
  np.testing.assert_allclose(
      objectives.cross_entropy.generator(FAKE),
      (_log_sigmoid(-0.5) + _log_sigmoid(-3.)) / 2., rtol=1e-6)


def test_non_saturating_generator_maximises_log_c():
  np.testing.assert_allclose(
      objectives.non_saturating.generator(FAKE),
      -(_log_sigmoid(0.5) + _log_sigmoid(3.)) / 2., rtol=1e-6)
  np.testing.assert_allclose(
      objectives.non_saturating.critic(REAL, FAKE),
      objectives.cross_entropy.critic(REAL, FAKE))


def test_least_squares():
  # ((2-1)^2 + (-1-1)^2) / 2 = 2.5; (0.5^2 + 3^2) / 2 = 4.625; halved.
  np.testing.assert_allclose(
      objectives.least_squares.critic(REAL, FAKE), 0.5 * (2.5 + 4.625))
  # ((0.5-1)^2 + (3-1)^2) / 2.
  np.testing.assert_allclose(objectives.least_squares.generator(FAKE), 2.125)


def test_hinge():
  # relu(1-2)=0, relu(1+1)=2: mean 1; relu(1.5)=1.5, relu(4)=4: mean 2.75.
  np.testing.assert_allclose(objectives.hinge.critic(REAL, FAKE), 3.75)
  np.testing.assert_allclose(objectives.hinge.generator(FAKE), -1.75)


def test_mean_absolute_difference():
  # (1.5 + 4) / 2, twice for the range [-1, 1].
  np.testing.assert_allclose(
      objectives.mean_absolute_difference(REAL, FAKE), 5.5)


def test_wasserstein():
  np.testing.assert_allclose(objectives.wasserstein.critic(REAL, FAKE), 1.25)
  np.testing.assert_allclose(objectives.wasserstein.generator(FAKE), -1.75)
  assert objectives.wasserstein.gradient_penalty == 10.


@pytest.mark.parametrize('name', sorted(objectives.GAN_LOSSES))
def test_losses_pull_in_the_right_direction(name):
  gan = objectives.GAN_LOSSES[name]
  logit = tf.Variable([[0.1]])
  with tf.GradientTape(persistent=True) as tape:
    generator = gan.generator(logit)
    real = gan.critic(logit, tf.constant([[0.]]))
    fake = gan.critic(tf.constant([[0.]]), logit)
  # Descent raises the logit of translated images for the generator and of real
  # images for the critic, and lowers that of translated images for the critic.
  assert tape.gradient(generator, logit).numpy() < 0.
  assert tape.gradient(real, logit).numpy() < 0.
  assert tape.gradient(fake, logit).numpy() > 0.


def test_gradient_penalty_of_a_linear_critic():
  # critic(x) = sum(w * x) with ||w|| = 3: (3 - 1)^2 everywhere.
  w = tf.constant([1., 2., 2., 0.], shape=[1, 2, 2, 1])

  def critic(x):
    return tf.reduce_sum(w * x, axis=[1, 2, 3], keepdims=True)

  images = tf.random.stateless_normal([5, 2, 2, 1], [0, 1])
  penalty = objectives.gradient_penalty(critic, images, -images, [1, 2])
  np.testing.assert_allclose(penalty, 4., rtol=1e-5)


def test_gradient_penalty_looks_between_real_and_translated():
  # critic(x) = x^2 / 2 has gradient x: at weight w, |w * 1 + (1 - w) * 3|.
  def critic(x):
    return 0.5 * tf.square(x)

  real, fake = tf.ones([4, 1, 1, 1]), 3. * tf.ones([4, 1, 1, 1])
  w = tf.random.stateless_uniform([4, 1, 1, 1], [3, 4])
  want = tf.reduce_mean(tf.square(w + (1. - w) * 3. - 1.))
  got = objectives.gradient_penalty(critic, real, fake, [3, 4])
  np.testing.assert_allclose(got, want, rtol=1e-5)
  # A weight for each image also where their number is not known when traced.
  spec = tf.TensorSpec([None, 1, 1, 1])
  traced = tf.function(
      lambda x, y: objectives.gradient_penalty(critic, x, y, [3, 4]),
      input_signature=[spec, spec])
  np.testing.assert_allclose(traced(real, fake), want, rtol=1e-5)


def test_negative_log_likelihood_is_the_mean_in_nats():
  np.testing.assert_allclose(
      objectives.negative_log_likelihood(tf.constant([-3., -5.])), 4.)


def _state(step=0.):
  return objectives.State(
      real={}, fakes={}, step=tf.constant(step), seed=tf.constant([0, 1]),
      scores={('b', 'a'): tf.constant(0.5), ('a', 'b'): tf.constant(0.25)})


def test_total_of_terms_is_their_weighted_sum():
  terms = objectives.adversarial_terms(('a', 'b')) + [
      objectives.Term('nll/a', 1e-2, lambda state: tf.constant(100.)),
      objectives.Term('nll/b', 1e-3, lambda state: tf.constant(200.),
                      logged=lambda nats: nats / 2.)]
  loss, metrics = objectives.total(terms, _state())
  np.testing.assert_allclose(loss, 0.5 + 0.25 + 1. + 0.2, rtol=1e-6)
  assert {k: float(v) for k, v in metrics.items()} == {
      'adversarial_loss/a_to_b': 0.25, 'adversarial_loss/b_to_a': 0.5,
      'nll/a': 100., 'nll/b': 100.}


def test_a_term_of_a_direction_that_a_step_lacks_is_left_out():
  terms = objectives.adversarial_terms(('a', 'b', 'c'))
  loss, metrics = objectives.total(terms, _state())
  np.testing.assert_allclose(loss, 0.75)
  assert set(metrics) == {'adversarial_loss/a_to_b', 'adversarial_loss/b_to_a'}


def test_a_weight_of_zero_leaves_a_term_out_of_the_loss():
  nan = tf.constant(float('nan'))
  loss, metrics = objectives.total([
      *objectives.adversarial_terms(('a', 'b')),
      objectives.Term('nll', 0., lambda state: nan),
      objectives.Term('ended', lambda step: 0. * step, lambda state: nan)],
      _state(3.))
  np.testing.assert_allclose(loss, 0.75)
  assert np.isnan(metrics['nll'])


def test_a_weight_may_follow_the_step():
  for step, want in ((0., 2.), (3., 2. * 0.4), (5., 0.), (9., 0.)):
    loss, _ = objectives.total([objectives.Term(
        'x', lambda s: objectives.linear_decay(s, 0., 5.),
        lambda state: tf.constant(2.))], _state(step))
    assert float(loss) == pytest.approx(want)


def test_linear_decay():
  factors = [float(objectives.linear_decay(tf.constant(s), 50., 100.))
             for s in (0., 50., 75., 100., 120.)]
  assert factors == [1., 1., 0.5, 0., 0.]


def test_out_of_range():
  images = tf.constant([-0.5, 0., 0.3, 1., 3.])
  np.testing.assert_allclose(
      objectives.out_of_range(images), (0.25 + 4.) / 5.)
  with tf.GradientTape() as tape:
    tape.watch(images)
    distance = objectives.out_of_range(images, absolute=True)
  np.testing.assert_allclose(distance, (0.5 + 2.) / 5.)
  np.testing.assert_allclose(
      tape.gradient(distance, images), [-0.2, 0., 0., 0., 0.2], atol=1e-7)


def test_total_needs_a_term():
  with pytest.raises(ValueError, match='`terms` must have a weight above 0'):
    objectives.total([objectives.Term(
        'x', 0., lambda state: tf.constant(1.))], _state())

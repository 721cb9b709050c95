"""The paper's statements, on densities known in closed form.

Domains A and B are normal distributions, which known flows (triangular matrices
and shifts) make of a standard normal prior. The models are `AlignFlow`s.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from alignflow_tf import objectives
from alignflow_tf.evaluate import equation_9

tfb = tfp.bijectors
tfd = tfp.distributions

SHAPE = (1, 2, 2)
SIZE = 4


def _flow(seed, scale=1.):
  """An affine map of images, its matrix triangular."""
  random = np.random.RandomState(seed)
  matrix = np.tril(0.4 * random.randn(SIZE, SIZE))
  matrix[np.diag_indices(SIZE)] = scale * random.uniform(0.5, 1.5, SIZE)
  flat = tfb.Reshape(SHAPE, [SIZE])
  return tfb.Chain([
      flat, tfb.Shift(random.randn(SIZE)), tfb.ScaleMatvecTriL(matrix),
      tfb.Invert(flat)])


def _permuted(flow, seed=0):
  order = np.random.RandomState(seed).permutation(SIZE)
  assert np.any(order != np.arange(SIZE))
  flat = tfb.Reshape(SHAPE, [SIZE])
  return tfb.Chain([
      flow, flat, tfb.Permute(order.astype(np.int32)), tfb.Invert(flat)])


def _model(a, b):
  return af.AlignFlow(('a', 'b'), SHAPE, adapter={'a': a, 'b': b},
                      dtype=tf.float64)


@pytest.fixture(scope='module')
def truth():
  """The data's distributions, and flows that match them."""
  model = _model(_flow(1), _flow(2))
  return model, model['a'], model['b']


def _pushed(distribution, bijector):
  return tfd.TransformedDistribution(distribution, bijector)


def test_lemma_1_optimal_flows_are_marginally_consistent(truth):
  """p*_A is p*_B pushed through G_{B->A}: definition 1 for (p*_A, p*_B)."""
  model, p_a, p_b = truth
  a = p_a.sample(50, seed=(0, 1))
  pushed = _pushed(p_b, model.translator('b', 'a'))
  np.testing.assert_allclose(
      pushed.log_prob(tf.identity(a)), p_a.log_prob(tf.identity(a)), rtol=1e-9)
  # A flow of A that is not optimal is not.
  other = _model(_flow(3), _flow(2)).translator('b', 'a')
  gap = _pushed(p_b, other).log_prob(tf.identity(a)) - p_a.log_prob(a)
  assert np.abs(gap).min() > 1e-3


@pytest.mark.parametrize('weight', [0., 1.])
def test_theorem_1_optimal_flows_minimise_equation_7(truth, weight):
  """Against flows beside them, with the best critics of each."""
  model, p_a, p_b = truth

  def objective(m):
    adversarial = {}
    for s, t, source, target in (('a', 'b', p_a, p_b), ('b', 'a', p_b, p_a)):
      fake = _pushed(source, m.translator(s, t))
      def logit(x, target=target, fake=fake):
        return target.log_prob(x) - fake.log_prob(x)
      real = target.sample(4000, seed=(2, 3))
      # What the critic minimises is what the generator maximises.
      adversarial[s, t] = -objectives.cross_entropy.critic(
          logit(real), logit(tf.identity(fake.sample(4000, seed=(4, 5)))))
    nll = {d: objectives.negative_log_likelihood(
        m[d].log_prob(p.sample(4000, seed=(6, 7))))
           for d, p in (('a', p_a), ('b', p_b))}
    return float(sum(adversarial.values()) + weight * sum(nll.values()))

  best = objective(model)
  for seed in range(4):
    assert objective(_model(_flow(1), _flow(20 + seed))) > best + 1e-3
  if not weight:
    # -2 log 4: neither critic can tell data from translations.
    assert best == pytest.approx(-2. * np.log(4.), abs=1e-9)


def test_theorem_2_with_critics_of_the_flows():
  """Equation 9, with the factor that the printed one lacks."""
  p_a, p_b = _model(_flow(1), _flow(2))['a'], _model(_flow(1), _flow(2))['b']
  model = _model(_flow(5), _flow(6, 1.3))
  a = p_a.sample(100, seed=(0, 1))
  g = model.translator('a', 'b')
  b = tf.identity(g.forward(a))
  det = g.forward_log_det_jacobian(tf.identity(a), event_ndims=3).numpy()

  def best(truth, flow, x):  # Equations 13 and 16.
    return tf.sigmoid(truth.log_prob(x) - flow.log_prob(x)).numpy()

  critic_a, critic_b = best(p_a, model['a'], a), best(p_b, model['b'], b)
  density_a, density_b = p_a.prob(a).numpy(), p_b.prob(b).numpy()
  np.testing.assert_allclose(
      equation_9.equation_9(critic_b, density_a, density_b, det), critic_a,
      rtol=1e-6)
  printed = critic_b * density_a / (
      density_a + density_b * (1. - critic_b) * np.exp(det))
  assert np.abs(printed - critic_a).max() > 0.1


def test_theorem_2_with_critics_of_equation_6(truth):
  """C_A(a) + C_B(G_{A->B}(a)) = 1 for critics of translations."""
  _, p_a, p_b = truth
  model = _model(_flow(5), _flow(6))
  forth, back = model.translator('a', 'b'), model.translator('b', 'a')
  a = p_a.sample(100, seed=(0, 1))
  b = tf.identity(forth.forward(a))
  critic_a = tf.sigmoid(
      p_a.log_prob(a) - _pushed(p_b, back).log_prob(tf.identity(a)))
  critic_b = tf.sigmoid(p_b.log_prob(b) - _pushed(p_a, forth).log_prob(b))
  assert float(tf.math.reduce_std(critic_a)) > 0.05
  np.testing.assert_allclose(critic_a + critic_b, 1., rtol=1e-9)


def test_proposition_1_no_cycle_loss():
  """For any flows, optimal or not; exact to rounding."""
  for seed in range(5):
    model = _model(_flow(seed), _flow(seed + 50))
    for s, t in (('a', 'b'), ('b', 'a')):
      x = tf.random.stateless_normal(
          [20, *SHAPE], [seed, 1], dtype=tf.float64)
      y = tf.identity(model.translator(s, t).forward(x))
      cycle = model.translator(t, s).forward(y)
      assert float(objectives.mean_absolute_difference(cycle, x)) < 1e-12


def test_proposition_2_likelihood_does_not_identify_the_translation(truth):
  """A permutation of a symmetric prior changes G_{B->A}, and no likelihood."""
  model, p_a, p_b = truth
  other = _model(_permuted(model.flow('a')), model.flow('b'))
  a, b = p_a.sample(50, seed=(0, 1)), p_b.sample(50, seed=(2, 3))
  for d, x in (('a', a), ('b', b)):
    np.testing.assert_allclose(
        other[d].log_prob(tf.identity(x)), model[d].log_prob(x), rtol=1e-9)
  one = model.translator('b', 'a').forward(b)
  two = other.translator('b', 'a').forward(tf.identity(b))
  assert float(tf.reduce_mean(tf.abs(one - two))) > 0.1
  # Marginally consistent all the same: adversarial terms do not tell either.
  pushed = _pushed(p_b, other.translator('b', 'a'))
  np.testing.assert_allclose(
      pushed.log_prob(tf.identity(a)), p_a.log_prob(tf.identity(a)), rtol=1e-9)

"""Equation 9 for trained critics."""

import numpy as np
import pytest

from alignflow_tf.evaluate import equation_9


class _Mirror:
  """A translator between a and b = 1 - a."""

  def translate(self, images, source, target):
    assert source != target
    return 1. - images


def _images():
  return np.random.RandomState(0).rand(40, 4, 4, 1).astype(np.float32)


def _critic(sign, logistic):
  def call(view):
    # Between 0.2 and 0.8 of the mean.
    value = 0.5 + 0.3 * sign * np.asarray(view).mean((1, 2, 3), keepdims=True)
    return np.log(value / (1. - value)) if logistic else value
  return call


@pytest.mark.parametrize('loss', ['least_squares', 'cross_entropy'])
def test_best_critics_agree(loss):
  logistic = loss == 'cross_entropy'
  # C_b at 1 - a is 1 - C_a at a.
  pair = {'a': _critic(1., logistic), 'b': _critic(1., logistic)}
  x = _images()
  found = equation_9.agreement(_Mirror(), pair, {'a': x, 'b': x}, loss)
  assert found['gap'] == pytest.approx(0., abs=1e-6)
  assert found['correlation'] == pytest.approx(-1., abs=1e-4)
  assert {d: len(p) for d, p in found['points'].items()} == {'a': 40, 'b': 40}
  assert found['noise'] == 0.
  # What noise does to the identity, of these critics.
  noisy = equation_9.agreement(
      _Mirror(), pair, {'a': x, 'b': x}, loss, noise=1.)
  assert noisy['noise'] == 1.
  assert noisy['gap'] > 0.02
  # Critics that contradict each other.
  pair = {'a': _critic(1., logistic), 'b': _critic(-1., logistic)}
  found = equation_9.agreement(_Mirror(), pair, {'a': x, 'b': x}, loss)
  assert found['correlation'] == pytest.approx(1., abs=1e-4)


def test_where_there_is_nothing_to_compare():
  x = _images()
  pair = {'a': _critic(1., False), 'b': _critic(1., False)}
  assert equation_9.agreement(
      _Mirror(), pair, {'a': x, 'b': x}, 'hinge') is None
  assert equation_9.agreement(_Mirror(), {}, {'a': x}, 'least_squares') is None

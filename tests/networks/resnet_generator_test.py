"""The generator of CycleGAN."""

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import networks


def _network(shape=(16, 16, 3), **kwargs):
  return networks.resnet_generator(
      shape, **(dict(filters=4, num_blocks=1) | kwargs))


def test_parameters_of_the_paper():
  """ResNet-9 of 64 channels: 11.4 million, as in the published code."""
  network = networks.resnet_generator((32, 32, 3))
  assert network.count_params() == 11_378_179


@pytest.mark.parametrize(('shape', 'halvings'), [
    ((16, 16, 3), 2), ((8, 12, 1), 1), ((7, 5, 1), 0)])
def test_keeps_the_shape_and_the_range(shape, halvings):
  network = _network(shape, num_halvings=halvings)
  x = tf.random.stateless_uniform([2, *shape], [1, 2], -1., 1.)
  y = network(x)
  assert y.shape == x.shape
  assert float(tf.reduce_max(tf.abs(y))) < 1.


def test_an_image_does_not_depend_on_its_batch():
  network = _network()
  x = tf.random.stateless_uniform([3, 16, 16, 3], [1, 2], -1., 1.)
  np.testing.assert_allclose(network(x)[:1], network(x[:1]), atol=1e-5)


def test_seeds():
  x = tf.random.stateless_uniform([1, 16, 16, 3], [1, 2], -1., 1.)
  np.testing.assert_array_equal(_network(seed=1)(x), _network(seed=1)(x))
  assert np.any(_network(seed=1)(x) != _network(seed=2)(x))


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(filters=0), '`filters` must be a positive integer, got 0'),
    (dict(num_blocks=0), '`num_blocks`'),
    (dict(num_halvings=-1), '`num_halvings`'),
    (dict(shape=(18, 16, 3)), '`num_halvings` is 2, but images of 18x16'),
    (dict(shape=(3, 3, 1), num_halvings=0), '`image_shape` must be at least'),
])
def test_arguments_out_of_range(kwargs, message):
  with pytest.raises(ValueError, match=message):
    _network(**kwargs)

"""Models with one flow for all domains: a trunk under adapters, a hub."""

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from tests import models


def test_without_adapters_all_domains_have_one_flow():
  model = models.shared()
  assert model.flow('a') is model.flow('b') is model.trunk
  assert model.adapter('a') is None
  assert len(model.trainable_variables) == models.FLOW_VARIABLES
  x = tf.constant(models.images())
  np.testing.assert_array_equal(model.translator('a', 'b').forward(x), x)


@pytest.mark.parametrize('domains', [('a', 'b'), ('a', 'b', 'c')])
def test_a_trunk_and_adapters(domains):
  model = models.with_trunk(domains)
  x = tf.constant(models.images())
  for d in domains:
    z = model.trunk.inverse(model.adapter(d).inverse(x))
    np.testing.assert_allclose(model.encode(x, d), z, atol=1e-5)
    expected = model.prior.log_prob(z) + sum(
        part.inverse_log_det_jacobian(y, event_ndims=3)
        for part, y in ((model.adapter(d), x),
                        (model.trunk, model.adapter(d).inverse(x))))
    np.testing.assert_allclose(
        model[d].log_prob(tf.identity(x)), expected, rtol=1e-4)
  y = model.translator('a', 'b').forward(x)
  np.testing.assert_allclose(
      y, model.decode(model.encode(tf.identity(x), 'a'), 'b'), atol=1e-4)
  np.testing.assert_allclose(
      model.translator('b', 'a').forward(tf.identity(y)), x, atol=1e-5)
  joint = model.sample_joint(2, seed=(0, 1))
  np.testing.assert_allclose(
      model.translator('a', 'b').forward(tf.identity(joint['a'])), joint['b'],
      atol=1e-4)
  frames = model.interpolate(x[:1], x[1:2], 'a', 3)
  np.testing.assert_allclose(frames['a'][:, 0], x[:1], atol=1e-4)


@pytest.mark.parametrize('hub', [None, 'b'])
def test_no_translation_evaluates_the_trunk(hub):
  model = models.with_trunk(hub=hub)

  def convolutions(function):
    graph = tf.function(function, autograph=False).get_concrete_function(
        tf.TensorSpec([2, *models.SHAPE])).graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function
                            for n in f.node_def)]
    return sum(n.op == 'Conv2D' for n in nodes)

  assert convolutions(model[model.domains[0]].log_prob) > 0
  for s, t in (('a', 'b'), ('b', 'a')):
    assert convolutions(model.translator(s, t).forward) == 0
  x = tf.constant(models.images())
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model.translator('a', 'b').forward(x))
  reached = [v for v, g in zip(
      model.trainable_variables,
      tape.gradient(loss, model.trainable_variables), strict=True)
             if g is not None]
  adapters = [model.adapter(d) for d in 'ab' if model.adapter(d)]
  assert {v.ref() for v in reached} == {
      v.ref() for a in adapters for v in a.trainable_variables}


def test_a_hub_has_no_adapter():
  model = models.with_trunk(hub='b')
  assert model.adapter('b') is None
  assert model.flow('b') is model.trunk
  x = tf.constant(models.images())
  np.testing.assert_array_equal(
      model.translator('a', 'b').forward(x),
      model.adapter('a').inverse(tf.identity(x)))


def test_initialization_reaches_adapters_then_the_trunk():
  model = af.AlignFlow(
      ('a', 'b'), models.SHAPE, adapter=models.adapter,
      trunk=lambda shape: af.bijectors.ActNorm(shape[-1]))
  images = {d: 3. * i + models.images(64, seed=i) for i, d in enumerate('ab')}
  images = {d: np.clip(x / 4., 0., 1.) for d, x in images.items()}
  model.initialize(images)
  for d, x in images.items():
    z = model.encode(tf.constant(x), d).numpy()
    np.testing.assert_allclose(z.mean(), 0., atol=1e-4)
    np.testing.assert_allclose(z.std(), 1., atol=1e-3)

"""Bijectors, flows and networks."""

import keras
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf.train import pool
from tests.bad_input import bad

SHAPE, COUNTS = bad.SHAPE, bad.COUNTS


def _network(channels):
  return networks.ConditionerResNet(channels, 4, 1)


B, tfb = af.bijectors, tfp.bijectors
CHECKER, CHANNEL = B.CheckerboardMask(), B.ChannelMask()
BIJECTORS = [
    *[('channels', v, lambda v=v, c=c: c(v)) for v in COUNTS
      for c in (B.ActNorm, B.InvertibleConv1x1)],
    *[('channels', v, lambda v=v: B.Coupling(v, CHECKER, _network))
      for v in COUNTS],
    ('seed', -1, lambda: B.InvertibleConv1x1(2, seed=-1)),
    ('seed', 'x', lambda: B.InvertibleConv1x1(2, seed='x')),
    ('mask', 'checker', lambda: B.Coupling(2, 'checker', _network)),
    ('mask', None, lambda: B.Coupling(2, None, _network)),
    *[('network', v, lambda v=v: B.Coupling(2, CHECKER, v))
      for v in (3, None, keras.layers.Conv2D(4, 3))],
    ('channels', 3, lambda: B.Coupling(3, CHANNEL, _network)),
    *[('reverse', v, lambda v=v, c=c: c(reverse=v)) for v in (1, 'x', None)
      for c in (B.CheckerboardMask, B.ChannelMask)],
    *[('alpha', v, lambda v=v: B.ImagePreprocess(v))
      for v in (0., 0.5, -1., bad.NAN, '0.1', None, 1)],
    *[('order', v, lambda v=v: B.Squeeze(v)) for v in ('rows', None, 0)],
    *[('inner', v, lambda v=v: B.FactorOut(v)) for v in (None, 'x', 3)],
    ('inner', bad.Shown('squeeze, which takes (2, 4, 4, 1) to (2, 2, 2, 4)'),
     lambda: B.FactorOut(B.Squeeze()).forward(tf.zeros([2, 4, 4, 2]))),
    ('inner', bad.Shown('3 dimensions to 1'), lambda: B.FactorOut(
        tfb.Reshape([4], [2, 2, 1]))),
    ('act_norm', bad.Shown('(2, 4, 4, 3)'),
     lambda: B.ActNorm(2).forward(tf.zeros([2, 4, 4, 3]))),
    ('coupling', bad.Shown('(2, 4, 4, 3)'), lambda: B.Coupling(
        2, CHECKER, _network).inverse(tf.zeros([2, 4, 4, 3]))),
    ('invertible_conv_1x1', bad.Shown('(2, 4, 4, 3)'),
     lambda: B.InvertibleConv1x1(2).forward(tf.zeros([2, 4, 4, 3]))),
    ('squeeze', bad.Shown('(2, 5, 4, 1)'),
     lambda: B.Squeeze().forward(tf.zeros([2, 5, 4, 1]))),
    ('squeeze', bad.Shown('(2, 2, 2, 3)'),
     lambda: B.Squeeze().inverse(tf.zeros([2, 2, 2, 3]))),
    ('factor_out', bad.Shown('(2, 4, 4, 3)'),
     lambda: B.FactorOut(B.ActNorm(1)).forward(tf.zeros([2, 4, 4, 3]))),
    ('images', bad.Shown('NaN'), lambda: B.initialize_from_data(
        B.ActNorm(1), tf.fill([2, 4, 4, 1], bad.NAN))),
    ('images', bad.Shown('(4, 4, 1)'), lambda: B.initialize_from_data(
        B.ActNorm(1), tf.zeros([4, 4, 1]))),
    ('images', bad.Shown('(1, 2, 4, 4, 1)'), lambda: B.initialize_from_data(
        B.ActNorm(1), tf.zeros([1, 2, 4, 4, 1]))),
    ('image_chain', bad.Shown('(4, 1)'), lambda: B.ImageChain(
        [B.ActNorm(1)]).forward(tf.zeros([4, 1]))),
    ('images', bad.Shown('(0, 4, 4, 1)'), lambda: B.initialize_from_data(
        B.ActNorm(1), tf.zeros([0, 4, 4, 1]))),
]


@pytest.mark.parametrize(('name', 'value', 'call'), BIJECTORS)
def test_bijectors(name, value, call):
  bad.fails(name, value, call)


FLOWS = [
    *[(name, v, lambda name=name, v=v: af.flows.real_nvp(SHAPE, **{name: v}))
      for name in ('num_scales', 'channels', 'num_blocks') for v in COUNTS],
    *[('steps_per_scale', v,
       lambda v=v: af.flows.glow(SHAPE, steps_per_scale=v)) for v in COUNTS],
    *[('seed', v, lambda v=v: af.flows.real_nvp(SHAPE, seed=v))
      for v in (-1, 1.5, None)],
    *[('event_shape', v, lambda v=v: af.flows.real_nvp(v))
      for v in ((16, 16), (16, 16, 0), (30, 30, 1), (16, 16, -1), 32)],
    ('alpha', 0.7, lambda: af.flows.real_nvp(SHAPE, alpha=0.7)),
    ('num_scales', bad.Shown('num_scales=9'),
     lambda: af.flows.glow(SHAPE, num_scales=9)),
    *[('bins', v, lambda v=v: af.flows.spline(SHAPE, bins=v)) for v in COUNTS],
    *[('components', v, lambda v=v: af.flows.flowpp(SHAPE, components=v))
      for v in COUNTS],
    ('transform', 'affine',
     lambda: af.flows.real_nvp(SHAPE, transform='affine')),
    *[(name, v, lambda name=name, v=v: networks.patch_critic(
        SHAPE, **{name: v})) for name in ('filters', 'num_layers')
      for v in COUNTS],
    ('num_layers', bad.Shown('is 4'),
     lambda: networks.patch_critic(SHAPE, num_layers=4)),
    *[(name, v, lambda name=name, v=v: networks.ConditionerResNet(
        **({'output_channels': 2} | {name: v})))
      for name in ('output_channels', 'filters', 'num_blocks') for v in COUNTS],
    ('image_shape', bad.Shown('(8, 8, 1)'), lambda: networks.lenet((8, 8, 1))),
    *[('num_classes', v, lambda v=v, c=c: c(SHAPE, v)) for v in COUNTS
      for c in (networks.lenet, networks.dtn, networks.strided_classifier)],
    *[('filters', v, lambda v=v: networks.strided_classifier(SHAPE, filters=v))
      for v in COUNTS],
    *[(name, v, lambda name=name, v=v: networks.resnet_generator(
        SHAPE, **{name: v})) for name in ('filters', 'num_blocks')
      for v in COUNTS],
    *[('num_halvings', v, lambda v=v: networks.resnet_generator(
        SHAPE, num_halvings=v)) for v in (-1, 1.5, '3', True, None)],
    *[('size', v, lambda v=v: pool.ImagePool(v, SHAPE))
      for v in (-1, 0.5, 'x', None)],
    ('terms', bad.Shown('none'), lambda: objectives.total([], None)),
]


@pytest.mark.parametrize(('name', 'value', 'call'), FLOWS)
def test_flows_and_networks(name, value, call):
  bad.fails(name, value, call)

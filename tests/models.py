"""Small models: Gaussians in closed form, and flows with random weights."""

import functools

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from tests.bijectors import registry

tfb = tfp.bijectors

SHAPE = (4, 4, 1)
SIZE = 16
# Of `flow`: those of ten couplings, each with an actnorm's.
FLOW_VARIABLES = 10 * (registry.COUPLING_VARIABLES + 2)

# The domains are Gaussians: x = shift + scale * z.
GAUSSIANS = {'a': (0.5, 0.1), 'b': (0.3, 0.2), 'c': (-1., 2.)}


def _affine(shift, scale):
  return tfb.Chain([tfb.Shift(shift), tfb.Scale(scale)])


def gaussian(domains=('a', 'b')):
  return af.AlignFlow(
      domains, SHAPE, adapter={d: _affine(*GAUSSIANS[d]) for d in domains})


def flow(shape, seeds=None, **kwargs):
  seed = next(seeds) if seeds else 0
  return af.flows.real_nvp(
      shape, 2, channels=3, num_blocks=1, seed=seed, **kwargs)


def trained(domains=('a', 'b'), dtype=tf.float32, **kwargs):
  model = af.AlignFlow(
      domains, SHAPE, dtype=dtype,
      adapter=functools.partial(flow, seeds=iter(range(9)), dtype=dtype),
      **kwargs)
  registry.randomize(model)
  return model


def images(batch=3, seed=0, dtype=np.float32):
  return np.random.RandomState(seed).uniform(
      size=(batch, *SHAPE)).astype(dtype)


def shared():
  model = af.AlignFlow(('a', 'b'), SHAPE, adapter=None, trunk=flow)
  registry.randomize(model)
  return model


def adapter(shape):
  return af.bijectors.ActNorm(shape[-1])


def with_trunk(domains=('a', 'b'), **kwargs):
  model = af.AlignFlow(
      domains, SHAPE, adapter=adapter, trunk=core, **kwargs)
  model.initialize({
      d: images(8, seed=i) for i, d in enumerate(domains)})
  registry.randomize(model)
  return model


def core(shape):
  """A flow of real numbers: no image reaches a trunk."""
  return af.bijectors.Coupling(
      shape[-1], af.bijectors.CheckerboardMask(),
      lambda channels: af.networks.ConditionerResNet(channels, 3, 1))


def act_norms(dtype=tf.float32):
  return af.AlignFlow(
      ('a', 'b'), SHAPE, dtype=dtype,
      adapter=lambda shape: af.bijectors.ActNorm(1, dtype=dtype))

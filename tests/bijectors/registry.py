"""Every bijector of the library in every mode, for tests of what all share.

`ENTRIES` maps a name to an `Entry`. `Entry.make(dtype)` builds the bijector as
a user gets it, `Entry.make_random(dtype)` with randomised variables, so that
nothing is trivially the identity. A new bijector is tested by adding it here.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af

tfb = tfp.bijectors

# Rounding grows with the number of couplings and the slope of the logit.
_TOLERANCE = {tf.float32: 1e-4, tf.float64: 1e-11}

__all__ = [
    'COUPLING_VARIABLES', 'ENTRIES', 'Entry', 'NAMES', 'check_round_trips',
    'per_image', 'randomize']


@dataclasses.dataclass(frozen=True)
class Entry:
  """A bijector and what tests must know of it.

  Attributes:
    make: Builds it for a floating type.
    event_shape: Shape of what `forward` takes.
    output_shape: Shape of what `forward` gives, by hand; as `event_shape` if
      not given.
    networks: How many networks one pass evaluates, each of them once.
    convolutions: How many convolutions a network has.
    takes_images: Whether `forward` takes images and not latents.
    traced: Whether to trace graphs of it. If not, another entry stands for it
      in the tests that take seconds.
    variables: Number of trainable variables.
    fixed: Number of variables that are not trained.
  """
  make: Callable[[tf.DType], tfb.Bijector]
  event_shape: tuple[int, int, int]
  variables: int
  output_shape: tuple[int, ...] = ()
  networks: int = 0
  convolutions: int = 6
  takes_images: bool = False
  traced: bool = True
  fixed: int = 0

  def __post_init__(self):
    if not self.output_shape:
      object.__setattr__(self, 'output_shape', self.event_shape)

  @property
  def saved(self) -> int:
    """Number of variables, trained or not."""
    return self.variables + self.fixed

  def make_random(self, dtype: tf.DType = tf.float32) -> tfb.Bijector:
    """Builds the bijector and randomises its variables."""
    bijector = self.make(dtype)
    randomize(bijector)
    return bijector

  def inputs(self, batch: int, dtype: tf.DType, seed: int = 1) -> np.ndarray:
    """Draws what `forward` takes, of shape `[batch, *event_shape]`."""
    return self._draw(self.event_shape, self.takes_images, batch, dtype, seed)

  def outputs(self, batch: int, dtype: tf.DType, seed: int = 2) -> np.ndarray:
    """Draws what `inverse` takes, of shape `[batch, *output_shape]`."""
    return self._draw(self.output_shape, True, batch, dtype, seed)

  def _draw(self, shape, images, batch, dtype, seed):
    rng = np.random.RandomState(seed)
    values = rng.uniform(size=(batch, *shape)) if images else (
        rng.standard_normal((batch, *shape)))
    return values.astype(dtype.as_numpy_dtype)


def randomize(module: tf.Module, seed: int = 0, stddev: float = 0.1) -> None:
  """Adds fixed noise to every trainable variable."""
  rng = np.random.RandomState(seed)
  for variable in module.trainable_variables:
    noise = stddev * rng.standard_normal(variable.shape)
    variable.assign_add(tf.constant(noise, variable.dtype))


def per_image(log_det: Callable[..., tf.Tensor], value: tf.Tensor) -> tf.Tensor:
  """Calls `log_det`: a constant may come without the batch's shape."""
  return tf.broadcast_to(
      log_det(value, event_ndims=3), tf.shape(value)[:-3])


def check_round_trips(entry: Entry, bijector: tfb.Bijector, dtype: tf.DType,
                      batch: int) -> None:
  """Goes there and back from either end, with the log-determinants."""
  tolerance = _TOLERANCE[dtype]
  x = entry.inputs(batch, dtype)
  y = bijector.forward(tf.constant(x))
  # `tf.identity` makes a tensor that TFP's cache has not met: without it the
  # inverse would hand `x` itself back, whatever it computes.
  back = bijector.inverse(tf.identity(y))
  assert back.dtype == y.dtype == dtype
  scale = np.abs(x).max() + np.abs(y.numpy()).max()
  np.testing.assert_allclose(back, x, rtol=0, atol=tolerance * scale)
  fldj = per_image(bijector.forward_log_det_jacobian, tf.constant(x))
  ildj = per_image(bijector.inverse_log_det_jacobian, tf.identity(y))
  assert fldj.dtype == ildj.dtype == dtype
  np.testing.assert_allclose(
      fldj, -ildj, rtol=0, atol=10 * tolerance * (1 + np.abs(ildj).max()))

  y = entry.outputs(batch, dtype)
  x = bijector.inverse(tf.constant(y))
  back = bijector.forward(tf.identity(x))
  scale = np.abs(y).max() + np.abs(x.numpy()).max()
  np.testing.assert_allclose(back, y, rtol=0, atol=tolerance * scale)


_network = functools.partial(
    af.networks.ConditionerResNet, filters=6, num_blocks=1)
_built = _network(2)
_built.build((None, None, None, 2))
# The network's and the bound of the log-scale.
COUPLING_VARIABLES = _COUPLING = len(_built.variables) + 1


def _coupling(channels, mask, dtype, transform=None):
  return af.bijectors.Coupling(
      channels, mask, functools.partial(_network, dtype=dtype.name), transform,
      dtype=dtype)


def _framing(dtype):
  """A framing that has seen images with something in one corner."""
  framing = af.bijectors.Framing((4, 6, 2), dtype=dtype)
  images = np.zeros((8, 4, 6, 2))
  images[:, :2, :3] = np.random.RandomState(0).uniform(size=(8, 2, 3, 2))
  af.bijectors.initialize_from_data(framing, tf.constant(images, dtype))
  return framing


def _keras_coupling(dtype):
  """A coupling with a network that is not this library's."""
  return af.bijectors.Coupling(
      2, af.bijectors.CheckerboardMask(),
      lambda n: keras.layers.Conv2D(n, 3, padding='same', dtype=dtype.name),
      dtype=dtype)


def _keras_layers_coupling(dtype):
  """A coupling with a network of two layers, whose variables' names repeat."""
  return af.bijectors.Coupling(
      2, af.bijectors.ChannelMask(), lambda n: keras.Sequential([
          keras.layers.Conv2D(m, 1, activation=activation, dtype=dtype.name)
          for m, activation in ((3, 'tanh'), (n, None))]), dtype=dtype)


def _real_nvp(event_shape, num_scales, dtype, **kwargs):
  return af.flows.real_nvp(
      event_shape, num_scales, channels=6, num_blocks=1, dtype=dtype, **kwargs)


def _glow(event_shape, num_scales, dtype, **kwargs):
  return af.flows.glow(
      event_shape, num_scales, channels=6, num_blocks=1, steps_per_scale=2,
      dtype=dtype, **kwargs)


def _translator(dtype):
  model = af.AlignFlow(('a', 'b'), (4, 2, 1), dtype=dtype, adapter={
      'a': _real_nvp((4, 2, 1), 1, dtype), 'b': _glow((4, 2, 1), 1, dtype)})
  return model.translator('a', 'b')


def _factor_out(dtype):
  inner = tfb.Chain([
      af.bijectors.ActNorm(2, dtype=dtype),
      _coupling(2, af.bijectors.CheckerboardMask(), dtype)])
  return af.bijectors.FactorOut(inner)


ENTRIES: dict[str, Entry] = {
    'act_norm': Entry(
        lambda dtype: af.bijectors.ActNorm(2, dtype=dtype), (4, 3, 2), 2),
    'invertible_conv': Entry(
        lambda dtype: af.bijectors.InvertibleConv1x1(3, seed=5, dtype=dtype),
        (2, 3, 3), 3),
    'framing': Entry(_framing, (4, 6, 2), 0, fixed=6),
    'coupling_keras': Entry(
        _keras_coupling, (3, 4, 2), 2 + 1, networks=1, convolutions=1),
    'coupling_keras_layers': Entry(
        _keras_layers_coupling, (2, 2, 2), 4 + 1, networks=1, convolutions=2),
    'factor_out': Entry(_factor_out, (3, 4, 4), 2 + _COUPLING, networks=1),
    'factor_out_scalar': Entry(
        # An inner bijector whose log-determinant must be summed over an image.
        lambda dtype: af.bijectors.FactorOut(
            af.bijectors.ImagePreprocess(dtype=dtype)), (3, 4, 4), 0),
    'real_nvp_1_scale': Entry(
        lambda dtype: _real_nvp((3, 4, 2), 1, dtype),
        (3, 4, 2), 4 * (2 + _COUPLING), networks=4),
    'real_nvp_2_scales': Entry(
        lambda dtype: _real_nvp((4, 6, 3), 2, dtype, alpha=1e-3),
        (4, 6, 3), 10 * (2 + _COUPLING), networks=10, traced=False),
    'real_nvp_3_scales': Entry(
        lambda dtype: _real_nvp((8, 8, 1), 3, dtype),
        (8, 8, 1), 16 * (2 + _COUPLING), networks=16, traced=False),
    'glow_1_scale': Entry(
        lambda dtype: _glow((2, 4, 1), 1, dtype),
        (2, 4, 1), 2 * (2 + 3 + _COUPLING), networks=2),
    'glow_2_scales': Entry(
        lambda dtype: _glow((4, 4, 3), 2, dtype),
        (4, 4, 3), 4 * (2 + 3 + _COUPLING), networks=4, traced=False),
    'couplings': Entry(
        lambda dtype: af.flows.couplings(
            (4, 8, 1), channels=4, steps_per_scale=2, dtype=dtype),
        (4, 8, 1), 4 * _COUPLING, networks=4, traced=False),
    'translator': Entry(
        _translator, (4, 2, 1), 4 * (2 + _COUPLING) + 2 * (2 + 3 + _COUPLING),
        networks=6, takes_images=True, traced=False),
}

for _alpha in (1e-6, 0.05, 0.3):
  ENTRIES[f'image_preprocess_{_alpha}'] = Entry(
      lambda dtype, alpha=_alpha: af.bijectors.ImagePreprocess(
          alpha, dtype=dtype), (2, 3, 2), 0)

for _name, _mask, _shape in (
    ('checkerboard', af.bijectors.CheckerboardMask(), (3, 4, 3)),
    ('checkerboard_reverse', af.bijectors.CheckerboardMask(True), (4, 4, 1)),
    ('channel', af.bijectors.ChannelMask(), (3, 4, 2)),
    ('channel_reverse', af.bijectors.ChannelMask(True), (2, 2, 6))):
  ENTRIES[f'coupling_{_name}'] = Entry(
      lambda dtype, mask=_mask, shape=_shape: _coupling(shape[-1], mask, dtype),
      _shape, _COUPLING, networks=1)

for _name, _transform, _learned in (
    ('spline', af.bijectors.transforms.RationalQuadratic(4), 0),
    ('mixture', af.bijectors.transforms.MixtureOfLogistics(3), 1)):
  for _mask in (af.bijectors.CheckerboardMask(), af.bijectors.ChannelMask()):
    ENTRIES[f'coupling_{_name}_{type(_mask).__name__}'] = Entry(
        lambda dtype, mask=_mask, transform=_transform: _coupling(
            2, mask, dtype, transform),
        (3, 4, 2), _COUPLING - 1 + _learned, networks=1,
        traced=isinstance(_mask, af.bijectors.CheckerboardMask))

ENTRIES['chain'] = Entry(
    # TFP's bijectors among ours, and one of ours turned around.
    lambda dtype: af.bijectors.ImageChain([
        af.bijectors.ActNorm(2, dtype=dtype),
        tfb.Scale(tf.constant(3., dtype)),
        tfb.Invert(_coupling(2, af.bijectors.CheckerboardMask(), dtype)),
        tfb.Invert(af.bijectors.Squeeze()), af.bijectors.Squeeze('raster')]),
    (4, 2, 2), 2 + _COUPLING, networks=1)
ENTRIES['chain_of_permutations'] = Entry(
    lambda dtype: af.bijectors.ImageChain([
        af.bijectors.Squeeze('alternate'), af.bijectors.Squeeze()]),
    (4, 8, 1), 0, output_shape=(1, 2, 16))

_orders = ('channel', 'raster', 'alternate')
for _source, _target in zip(_orders, (*_orders[1:], _orders[0]), strict=True):
  ENTRIES[f'reorder_{_source}_{_target}'] = Entry(
      lambda dtype, source=_source, target=_target: af.bijectors.Reorder(
          source, target), (2, 3, 8), 0)

for _order in _orders:
  ENTRIES[f'squeeze_{_order}'] = Entry(
      lambda dtype, order=_order: af.bijectors.Squeeze(order),
      (4, 6, 2), 0, output_shape=(2, 3, 8))
  ENTRIES[f'unsqueeze_{_order}'] = Entry(
      lambda dtype, order=_order: tfb.Invert(af.bijectors.Squeeze(order)),
      (2, 3, 8), 0, output_shape=(4, 6, 2))

# Three scales take long, and are two within one: tests in float64 have them.
NAMES = [name for name in ENTRIES if '3_scales' not in name]

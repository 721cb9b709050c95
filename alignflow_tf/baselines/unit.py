"""UNIT: two or more variational autoencoders with one latent space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
import itertools
import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf.baselines import base

__all__ = ['PRESETS', 'UNIT', 'build', 'terms']

tfd = tfp.distributions

# Adam moves a variable by about its rate in a step; log-scales move this many
# times as far, and are there after hundreds of steps.
_SCALE_SPEED = 30.


class Translator(NamedTuple):
  """G_{source->target}: from the mean of the latents, without noise."""
  model: UNIT
  source: str
  target: str

  def forward(self, images: tf.Tensor) -> tf.Tensor:
    """Translates images `[B, H, W, C]` in [0, 1]; the result is in [0, 1]."""
    return self.model.decode(
        self.model.encode(images, self.source), self.target)


class UNIT(base.Baseline):
  """An encoder and a decoder for each domain, and one latent space.

  ```
  q(z | x) = N(encode(x, d), 1)        p(z) = N(0, 1)
  p_d(x | z) = Laplace(decode(z, d), scale_d)
  ```

  The last residual block of the encoders and the first of the decoders are the
  same for all domains. A latent has as many dimensions as an image and is laid
  out as one, as latents are everywhere in this library: for RGB images that are
  halved twice, 48 channels at a quarter of the size. (The published code has
  256.) Scales, one for each pixel and channel, have a part in the bound on the
  likelihood alone.

  It is a `protocols.HasLatents` and a `protocols.HasBound`. Translation is not
  invertible: training asks for cycle consistency by a loss.

  ```python
  model = UNIT(('maps', 'aerial'), (64, 64, 3))
  photographs = model.translator('maps', 'aerial').forward(maps)
  ```

  #### References

  [1]: Ming-Yu Liu, Thomas Breuel, Jan Kautz. Unsupervised Image-to-Image
       Translation Networks. In _NeurIPS_, 2017.
       https://arxiv.org/abs/1703.00848
  """

  def __init__(
      self,
      domains: Sequence[str],
      event_shape: tuple[int, int, int],
      filters: int = 64,
      num_blocks: int = 4,
      num_halvings: int = 2,
      seed: int = 0,
      network_dtype: Any = 'float32',
      framing: bool = False,
      name: str = 'unit',
  ):
    """Builds the model.

    Args:
      domains: Names of the domains, two or more different strings.
      event_shape: `(height, width, channels)` of the images of all domains.
      filters: Channels of the first convolution; they double at each halving.
      num_blocks: Residual blocks of an encoder, and of a decoder; one of them
        is shared.
      num_halvings: How often an encoder halves the image, at least once.
      seed: Non-negative integer that fixes the initial weights.
      network_dtype: Keras dtype or policy of the networks.
      framing: See `base.Baseline`.
      name: Name of the module.

    Raises:
      ValueError: If the domains are not two or more different names, or the
        images do not fit the networks.
    """
    super().__init__(domains, event_shape, name, framing)
    own = _checks.integer('num_blocks', num_blocks) - 1
    self._halved = 2**_checks.integer('num_halvings', num_halvings)
    self._prior = tfd.Sample(tfd.Normal(0., 1.), self.event_shape, name='prior')
    height, width, channels = self.event_shape
    inner = (height // self._halved, width // self._halved)
    features = filters * self._halved
    seeds = itertools.count(seed * 997)

    def network(shape: tuple[int, ...], name: str,
                build: Callable[[networks.ResNetLayers, Any], Any]
               ) -> networks.Tracked:
      inputs = keras.Input(shape)
      layers = networks.ResNetLayers(next(seeds), network_dtype)
      return networks.Tracked(keras.Model(
          inputs, build(layers, inputs), name=name), name=name)

    self._encoders = {
        d: network(self.event_shape, f'encoder_{d}', lambda layers, x: (
            layers.blocks(layers.encode(x, filters, num_halvings), own)))
        for d in self.domains}
    self._to_latent = network(
        (*inner, features), 'to_latent', lambda layers, x: layers.conv(
            layers.blocks(x, 1), channels * self._halved**2, 1,
            dtype='float32'))
    self._from_latent = network(
        (*inner, channels * self._halved**2), 'from_latent',
        lambda layers, z: layers.blocks(
            layers.norm(layers.conv(z, features, 1)), 1))
    self._decoders = {
        d: network((*inner, features), f'decoder_{d}', lambda layers, h: (
            layers.decode(layers.blocks(h, own), num_halvings, channels)))
        for d in self.domains}
    self._log_scales = {
        d: tf.Variable(tf.fill(self.event_shape, math.log(0.1) / _SCALE_SPEED),
                       name=f'log_scale_{d}') for d in self.domains}

  @property
  def prior(self) -> tfd.Distribution:
    """The standard normal of latents, of the shape of an image."""
    return self._prior

  def encode(self, images: tf.Tensor, domain: str) -> tf.Tensor:
    """The mean of `q(z | x)`, `[B, H, W, C]`, of images in [0, 1]."""
    features = self._encoders[domain](
        images_lib.to_critic(self.frame(images, domain)))
    return tf.nn.depth_to_space(self._to_latent(features), self._halved)

  def decode(self, latents: tf.Tensor, domain: str) -> tf.Tensor:
    """The median of `p(x | z)`: images `[B, H, W, C]` in [0, 1]."""
    features = self._from_latent(tf.nn.space_to_depth(latents, self._halved))
    return self.unframe(0.5 * (self._decoders[domain](features) + 1.), domain)

  def translator(self, source: str, target: str) -> Translator:
    """G_{source->target}; KeyError if there is no such pair of domains."""
    self.check_pair(source, target)
    return Translator(self, source, target)

  def log_prob_bound(self, images: tf.Tensor, domain: str,
                     seed: tf.Tensor) -> tf.Tensor:
    """A lower bound on the log-density: the evidence lower bound.

    `log p(x | z) - KL(q(z | x) || p(z))`, for one draw of z.

    Args:
      images: `[B, H, W, C]`, dequantised, in [0, 1].
      domain: Their domain.
      seed: Stateless seed of the draw.

    Returns:
      `[B]`, in nats.
    """
    mean = self.encode(images, domain)
    decoded = self.decode(draw(mean, seed), domain)
    return tf.reduce_sum(
        self.log_likelihood(images, decoded, domain) - 0.5 * tf.square(mean),
        axis=[1, 2, 3])

  def log_likelihood(self, images: tf.Tensor, decoded: tf.Tensor,
                     domain: str) -> tf.Tensor:
    """`log p(x | z)` by pixel and channel, in nats."""
    log_scale = _SCALE_SPEED * self._log_scales[domain]
    return -(tf.abs(images - decoded) * tf.exp(-log_scale) + log_scale +
             math.log(2.))


def draw(mean: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
  """Latents of `N(mean, 1)`."""
  return mean + tf.random.stateless_normal(tf.shape(mean), seed)


build = functools.partial(base.build, UNIT)


def terms(config: Any, model: UNIT) -> list[objectives.Term]:
  """Adversarial losses, and autoencoding within a domain and by another.

  The paper's equations 2 to 5, with each absolute error and each divergence a
  mean over its dimensions, as in the published code. Critics are shown
  translations of the latents' means, which are what is evaluated, and not of
  draws.

  #### References

  [1]: Ming-Yu Liu, Thomas Breuel, Jan Kautz. Unsupervised Image-to-Image
       Translation Networks. In _NeurIPS_, 2017, section 3.
       https://arxiv.org/abs/1703.00848
  """

  def autoencoder(index: int, source: str, via: str) -> objectives.Term:
    """L_VAE where `via` is the source, otherwise L_CC."""

    def loss(state: objectives.State) -> tf.Tensor:
      images = state.real[source]
      mean = model.encode(
          images if via == source else state.fakes[source, via], via)
      decoded = model.decode(draw(
          mean, tf.random.experimental.stateless_fold_in(state.seed, index)),
                             source)
      value = (
          config.cycle_weight *
          objectives.mean_absolute_difference(decoded, images) +
          config.kl_weight * tf.reduce_mean(tf.square(mean)))
      if via == source:
        # Trains the scales and changes nothing else.
        fit = tf.reduce_mean(model.log_likelihood(
            images, tf.stop_gradient(decoded), source))
        value -= fit - tf.stop_gradient(fit)
      return value

    if via == source:
      return objectives.Term(f'vae_loss/{source}', 1., loss)
    return objectives.Term(
        f'vae_loss/{source}_to_{via}', 1., loss, direction=(source, via))

  return objectives.adversarial_terms(model.domains) + [
      autoencoder(i, s, v) for i, (s, v) in enumerate(
          itertools.product(model.domains, repeat=2))]


# `unit` has the sizes and weights of the published code
# (https://github.com/mingyuliutw/UNIT) with AlignFlow's batches.
PRESETS: dict[str, dict[str, Any]] = {
    'unit': {
        'num_scales': 3, 'width': 64, 'num_blocks': 4, 'steps': 13_800,
        'learning_rate': 1e-4, 'critic_learning_rate': 1e-4, 'clip_norm': 0.,
        'cycle_weight': 10., 'kl_weight': 0.01,
    },
    'unit_digits': {
        'num_scales': 2, 'width': 16, 'num_blocks': 5, 'batch_size': 16,
        'critic_width': 32, 'critic_layers': 2, 'critic_noise': 0.15,
        'steps': 1_200, 'ema_decay': 0.995, 'clip_norm': 0.,
        'cycle_weight': 10., 'kl_weight': 0.01,
        'checkpoint_every': 200, 'eval_every': 400,
    },
}

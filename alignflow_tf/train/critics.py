"""The critics of all domains: scores of translations, and their update."""

from __future__ import annotations

from collections.abc import Mapping
import itertools
from typing import Any

import keras
import tensorflow as tf

from alignflow_tf import baselines
from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import optimizer
from alignflow_tf.train import pool as pool_lib
from alignflow_tf.train import replicas

__all__ = ['Critics', 'Networks', 'build']

Images = Mapping[str, tf.Tensor]
Translations = Mapping[tuple[str, str], tf.Tensor]


class Networks(tf.Module):
  """Critics by domain, with their variables where a checkpoint finds them.

  Attributes:
    by_domain: The Keras models.
    trainable: All trainable variables, each once: critics may share layers.
  """

  def __init__(self, by_domain: Mapping[str, keras.Model]):
    super().__init__(name='networks')
    self.by_domain = self._no_dependency(dict(by_domain))
    self._tracked = {
        d: networks.Tracked(critic) for d, critic in by_domain.items()}
    self.trainable = self._no_dependency(list({
        id(v): v.value for critic in by_domain.values()
        for v in critic.trainable_variables}.values()))


def build(config: config_lib.Config, domains: tuple[str, ...],
          event_shape: tuple[int, int, int]) -> Networks:
  """Builds the critics of a configuration, with initial weights.

  Raises:
    ConfigError: If the architecture does not fit the images.
  """
  try:
    return Networks(baselines.critics(config, domains, event_shape))
  except ValueError as e:
    raise config_lib.ConfigError(
        f'`critic_layers`, `image_size`: {e}') from e


class Critics(tf.Module):
  """Critics, their optimizer, and pools of past translations.

  Attributes:
    networks: The critics.
    optimizer: Adam of their weights.
  """

  def __init__(self, config: config_lib.Config, domains: tuple[str, ...],
               event_shape: tuple[int, int, int], classes: int = 0):
    """Builds the critics.

    Args:
      config: The configuration.
      domains: Names of the domains.
      event_shape: `(height, width, channels)`.
      classes: Number of classes that they see; 0 for none. See `seen`.

    Raises:
      ConfigError: If the architecture does not fit the images.
    """
    super().__init__(name='critics')
    self._config = config
    self._gan = objectives.GAN_LOSSES[config.gan_loss]
    self._classes = classes
    height, width, channels = event_shape
    event_shape = height, width, channels + classes
    self.networks = build(config, domains, event_shape)
    self.optimizer = optimizer.Adam(
        self.networks.trainable, config.beta_1, config.beta_2)
    self._pools = {
        f'{s}_to_{t}': pool_lib.ImagePool(config.pool_size, event_shape)
        for s, t in itertools.permutations(domains, 2)}

  def seen(self, real: Images, fakes: Translations, labels: Images
          ) -> tuple[Images, Translations]:
    """Images as `scores` and `update` take them: with their classes, if any.

    Each class is a further channel, 1 in images of that class and 0 in others.
    A translation has its source's, so that translations of a class are compared
    with real images of it: https://arxiv.org/abs/1411.1784.

    Args:
      real: For each domain, images `[B, H, W, C]`.
      fakes: For each (source, target), translations of them.
      labels: For each domain, classes `[B]`; not used without classes.

    Returns:
      `real` and `fakes`, `[B, H, W, C + classes]`.
    """
    if not self._classes:
      return real, fakes

    def join(images: tf.Tensor, domain: str) -> tf.Tensor:
      planes = tf.one_hot(labels[domain], self._classes, dtype=images.dtype)
      return tf.concat([images, tf.broadcast_to(
          planes[:, tf.newaxis, tf.newaxis],
          tf.concat([tf.shape(images)[:3], [self._classes]], axis=0))], axis=-1)

    return ({d: join(x, d) for d, x in real.items()},
            {(s, t): join(x, s) for (s, t), x in fakes.items()})

  def scores(self, fakes: Translations,
             seed: tf.Tensor) -> dict[tuple[str, str], tf.Tensor]:
    """The generator's adversarial loss of each translation, a scalar.

    Args:
      fakes: For each (source, target), translations `[B, H, W, C]`.
      seed: Stateless seed of the instance noise.
    """
    seeds = tf.random.split(seed, len(fakes))
    return {
        (s, t): self._gan.generator(
            self.networks.by_domain[t](self._view(fake, seeds[i])))
        for i, ((s, t), fake) in enumerate(fakes.items())}

  def update(
      self, real: Images, fakes: Translations, seed: tf.Tensor, rate: tf.Tensor,
      where: tf.Tensor, loss_scale: Any = 1.,
  ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """One update of all critics, on real images and on images of the pools.

    Args:
      real: Images of each domain.
      fakes: Translations of them. A critic is updated where some of these are
        of its domain.
      seed: Stateless seed, the same for all replicas.
      rate: Learning rate.
      where: Boolean scalar; if False, nothing changes.
      loss_scale: Factor of the loss while gradients are computed.

    Returns:
      Losses by name, and whether the critics were updated, which needs a finite
      gradient as well as `where`.
    """
    pool_seeds = tf.random.split(seed, len(fakes))
    pooled = {
        (s, t): self._pools[f'{s}_to_{t}'].query(
            tf.stop_gradient(fake), pool_seeds[i], where)
        for i, ((s, t), fake) in enumerate(fakes.items())}
    own = replicas.fold_in(
        tf.random.experimental.stateless_fold_in(seed, 1))
    seeds = tf.unstack(tf.random.split(own, 2 * len(real)))
    losses = {}
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(self.networks.trainable)
      for t in real:
        others = [x for (_, target), x in pooled.items() if target == t]
        if not others:
          continue  # No direction of this step ends here.
        losses[t] = self._loss(t, real[t], others, seeds.pop(), seeds.pop())
      scaled = loss_scale * tf.add_n(list(losses.values()))
    gradients, losses = replicas.mean(
        tape.gradient(scaled, self.networks.trainable,
                      unconnected_gradients=tf.UnconnectedGradients.ZERO),
        losses)
    finite = where & tf.math.is_finite(optimizer.squared_norm(gradients))
    self.optimizer.apply(gradients, rate, finite, 1. / loss_scale)
    nan = tf.constant(float('nan'))
    return {f'critic_loss/{d}': tf.where(where, value, nan)
            for d, value in losses.items()}, finite

  def _loss(self, domain: str, real: tf.Tensor, fakes: list[tf.Tensor],
            noise_seed: tf.Tensor, penalty_seed: tf.Tensor) -> tf.Tensor:
    """A critic's loss, on translations from each other domain."""
    critic = self.networks.by_domain[domain]
    view = self._view(tf.concat([real, *fakes], axis=0), noise_seed)
    size = tf.shape(real)[0]
    logits = critic(view)
    loss = self._gan.critic(logits[:size], logits[size:])
    if self._gan.gradient_penalty:
      # Between real images and each source's translations.
      loss += self._gan.gradient_penalty * objectives.gradient_penalty(
          critic, tf.concat([view[:size]] * len(fakes), axis=0), view[size:],
          penalty_seed)
    return loss

  def _view(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Images as critics see them: in [-1, 1], shifted, with instance noise.

    Shifts: Zhao et al. 2020, https://arxiv.org/abs/2006.10738. Noise: Sonderby
    et al. 2017, section 3.1, https://arxiv.org/abs/1610.04490.
    """
    view = images_lib.to_critic(images)
    if self._config.critic_shift:
      view = images_lib.shift(
          view, self._config.critic_shift,
          tf.random.experimental.stateless_fold_in(seed, 1))
    if self._config.critic_noise:
      view += self._config.critic_noise * tf.random.stateless_normal(
          tf.shape(view), seed, dtype=view.dtype)
    return view

"""What is trained, and one step of training it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import contextlib
import functools
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from alignflow_tf import baselines
from alignflow_tf import flows
from alignflow_tf import images as images_lib
from alignflow_tf import model as model_lib
from alignflow_tf import networks
from alignflow_tf.bijectors import shared_function
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import generator_losses
from alignflow_tf.train import objectives
from alignflow_tf.train import pool as pool_lib
from alignflow_tf.train import recovery
from alignflow_tf.train import replicas
from alignflow_tf.train import tracing
from alignflow_tf.train import updates

__all__ = ['Auxiliary', 'Trainer', 'build_critics', 'build_model']

# Levels of dequantisation noise where channels are copies of one another: see
# `images.dequantize`.
COPIED_CHANNELS_NOISE = 8.


def build_model(
    config: config_lib.Config,
    domains: tuple[str, ...],
    event_shape: tuple[int, int, int],
) -> baselines.Model:
  """Builds the model of a configuration.

  Args:
    config: The configuration.
    domains: Names of the domains.
    event_shape: `(height, width, channels)`.

  Returns:
    The model, with initial weights.

  Raises:
    ConfigError: If the architecture does not fit the images.
  """
  if config.model == 'cyclegan':
    try:
      return baselines.CycleGAN(
          domains, event_shape, filters=config.width,
          num_blocks=config.num_blocks, num_halvings=config.num_scales - 1,
          seed=config.seed, network_dtype=config.precision)
    except ValueError as e:
      raise config_lib.ConfigError(
          f'`num_scales` (one more than the halvings), `image_size`: {e}'
      ) from e
  scales = config.shared_scales()
  make = {'real_nvp': flows.real_nvp, 'glow': flows.glow}[config.flow]
  network_dtype = None if config.precision == 'float32' else config.precision
  flow = functools.partial(
      make, num_scales=config.num_scales, channels=config.width,
      num_blocks=config.num_blocks, framing=config.framing,
      network_dtype=network_dtype, shared=flows.SharedScales(scales or ()),
      seed=config.seed, memory=config.memory)
  try:
    return model_lib.AlignFlow(
        domains, event_shape, flow=flow, share=scales is None)
  except ValueError as e:
    raise config_lib.ConfigError(str(e)) from e


class Auxiliary(Protocol):
  """An objective beside the model's own, with what it needs of its own.

  A `tf.Module`: checkpoints of the trainer hold its variables. Its methods
  run within the step's `tf.function`, `loss` within the gradient tape.

  Attributes:
    labels: Names of the domains whose labels it is given.
  """
  labels: tuple[str, ...]

  def loss(
      self, real: Mapping[str, tf.Tensor],
      fakes: Mapping[tuple[str, str], tf.Tensor],
      labels: Mapping[str, tf.Tensor], seed: tf.Tensor,
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """What is added to the model's loss, and scalars by name to be logged.

    Args:
      real: For each domain, images `[B, H, W, C]` in [0, 1].
      fakes: For each (source, target), translations.
      labels: For each domain of `labels`, integers `[B]`.
      seed: Stateless seed, two integers.
    """

  def update(
      self, real: Mapping[str, tf.Tensor],
      fakes: Mapping[tuple[str, str], tf.Tensor],
      labels: Mapping[str, tf.Tensor], seed: tf.Tensor,
  ) -> None:
    """Its own update, after the model's and beside the critics'; as `loss`."""


def build_critics(
    config: config_lib.Config,
    domains: tuple[str, ...],
    event_shape: tuple[int, int, int],
) -> dict[str, keras.Model]:
  """Builds the critic of each domain; see `networks.patch_critic`.

  Args:
    config: The configuration.
    domains: Names of the domains.
    event_shape: `(height, width, channels)`.

  Returns:
    The critics by domain, with initial weights.

  Raises:
    ConfigError: If the architecture does not fit the images.
  """
  try:
    return {
        d: networks.patch_critic(
            event_shape, filters=config.critic_width,
            num_layers=config.critic_layers, seed=config.seed + i,
            dtype=config.precision) for i, d in enumerate(domains)
    }
  except ValueError as e:
    raise config_lib.ConfigError(
        f'`critic_layers`, `image_size`: {e}') from e


class Trainer(tf.Module):
  """Model, critics, optimizers, averages and pools of a run; and its step.

  Attributes:
    model: The model that is trained.
    average: The model whose weights are the moving average of `model`'s; what
      is evaluated and exported.
    labels: Domains whose labels a step takes.
    step: Number of steps done.
    skipped: Number of steps of which an update was left out, because a loss or
      a gradient was not finite.
    rate_factor: Factor of both learning rates.
  """

  def __init__(
      self,
      config: config_lib.Config,
      domains: tuple[str, ...],
      event_shape: tuple[int, int, int],
      copied_channels: Mapping[str, bool] | None = None,
      auxiliary: Auxiliary | None = None,
      strategy: tf.distribute.Strategy | None = None,
  ):
    """Builds everything, with initial weights.

    Args:
      config: The configuration.
      domains: Names of the domains.
      event_shape: `(height, width, channels)`.
      copied_channels: Domains whose channels are copies of one another.
      auxiliary: An objective beside the model's own, or None.
      strategy: Devices that share each step's batch in equal parts; None for
        one device. A step then takes the part of this process.

    Raises:
      ConfigError: If the architecture does not fit the images, or an auxiliary
        objective is to be shared among devices.
    """
    super().__init__(name='trainer')
    self._strategy = strategy
    if strategy is not None and auxiliary is not None:
      raise config_lib.ConfigError(
          "`strategy` must be 'default' with an objective beside the model's "
          f'own, got {config.strategy!r}.')
    self._arguments = (config, domains, event_shape, copied_channels)
    with tracing.uncollected(), contextlib.ExitStack() as stack:
      if strategy is not None:
        stack.enter_context(strategy.scope())
      self._build(*self._arguments, auxiliary)
    step = self._train_step if strategy is None else self._shared_step
    functions = (shared_function.unshared if config.xla else
                 shared_function.not_inlined)
    self.train_step = tf.function(
        tracing.uncollected()(functions()(step)),
        jit_compile=config.xla or None, autograph=False)

  def _build(
      self,
      config: config_lib.Config,
      domains: tuple[str, ...],
      event_shape: tuple[int, int, int],
      copied_channels: Mapping[str, bool] | None,
      auxiliary: Auxiliary | None,
  ) -> None:
    self._config = config
    self._auxiliary = auxiliary
    self.labels = tuple(auxiliary.labels) if auxiliary is not None else ()
    # Without densities there is nothing to bound.
    wide = copied_channels if config.model == 'alignflow' else None
    self._noise = {d: COPIED_CHANNELS_NOISE if (wide or {}).get(d) else 1.
                   for d in domains}
    self._adversarial = config.objective != 'mle'
    self._gan = objectives.GAN_LOSSES[config.gan_loss]
    self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name='step')
    with networks.draw_once():
      self.model = build_model(config, domains, event_shape)
      self.average = build_model(config, domains, event_shape)
    self._generator_loss = generator_losses.make(
        config, self.model, self.step)
    self.skipped = tf.Variable(
        0, dtype=tf.int64, trainable=False, name='skipped')
    # float16 gradients are scaled out of its narrow range, by trial.
    self._scaled = config.precision == 'mixed_float16'
    self._loss_scale = tf.Variable(
        2.**13 if self._scaled else 1., trainable=False, name='loss_scale')
    self._good_steps = tf.Variable(
        0, dtype=tf.int64, trainable=False, name='good_steps')
    # What a run that went back has taken off its rates. Not in checkpoints:
    # the loop keeps it beside them.
    self.rate_factor = tf.Variable(1., trainable=False, name='rate_factor')

    self._critics: dict[str, keras.Model] = {}
    self._pools: dict[str, pool_lib.ImagePool] = {}
    if self._adversarial:
      critics = build_critics(config, domains, event_shape)
      # Keras 3 objects hold their variables in wrappers: track the raw ones.
      self._critics = self._no_dependency(critics)
      self._critic_variables = {
          d: [v.value for v in critic.variables]
          for d, critic in critics.items()}
      for source, target in self._directions():
        self._pools[f'{source}_to_{target}'] = pool_lib.ImagePool(
            config.pool_size, event_shape)
    self._flow_variables = list(self.model.trainable_variables)
    self._flow_averages = list(self.average.trainable_variables)
    self._critic_weights = [
        v.value for critic in self._critics.values()
        for v in critic.trainable_variables]
    self.flow_optimizer = self._adam(
        config.learning_rate, self._flow_variables)
    self.critic_optimizer = self._adam(
        config.critic_learning_rate, self._critic_weights)

  def _adam(
      self, rate: float,
      variables: list[tf.Variable]) -> tf_keras.optimizers.legacy.Optimizer:
    return updates.make_adam(
        lambda: rate * self._rate_multiplier() * self.rate_factor,
        self._config.beta_1, self._config.beta_2, variables)

  def _rate_multiplier(self) -> tf.Tensor:
    """`Config.learning_rate_multiplier` at the current step, as ops."""
    steps = float(self._config.steps)
    start = self._config.decay_from * steps
    left = (steps - tf.cast(self.step, tf.float32)) / max(steps - start, 1e-6)
    return tf.clip_by_value(left, 0., 1.)

  def _directions(self) -> list[tuple[str, str]]:
    domains = self.model.domains
    return [(s, t) for s in domains for t in domains if s != t]

  def initialize(self, images: Mapping[str, tf.Tensor]) -> None:
    """Initialises the activation normalisations from uint8 images."""
    self.model.initialize(
        self._dequantize(images, tf.constant([self._config.seed, 1])))
    for average, variable in zip(
        self.average.variables, self.model.variables, strict=True):
      average.assign(variable)

  def _dequantize(self, images: Mapping[str, tf.Tensor], seed: tf.Tensor,
                  rounds: int = 1) -> dict[str, tf.Tensor]:
    seeds = tf.random.split(seed, len(self.model.domains))
    draw = functools.partial(replicas.uniform, blocks=rounds)
    return {
        d: images_lib.dequantize(
            images[d], seeds[i], self._noise[d], draw=draw)
        for i, d in enumerate(self.model.domains)}

  def _shared_step(
      self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """As `_train_step`, of the part of the batch that this process has."""
    strategy = self._strategy
    assert strategy is not None
    number = len(strategy.extended.worker_devices)

    # Replicas are traced in threads of their own, which a `with` around this
    # does not reach.
    @shared_function.not_inlined()
    def run(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
      rounds = self._rounds()
      return self._train_step({
          name: replicas.local_part(values, rounds, number)
          for name, values in batch.items()})

    # Equal on all replicas.
    return {name: strategy.experimental_local_results(value)[0]
            for name, value in strategy.run(run, args=(batch,)).items()}

  def _rounds(self) -> int:
    return self._config.critic_steps if self._adversarial else 1

  def _train_step(
      self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """One generator update and `critic_steps` critic updates.

    Args:
      batch: uint8 images of each domain, `critic_steps * batch_size` of them,
        and for each of `labels`, under `<domain>/label`, their labels.

    Returns:
      Scalars by name.
    """
    config = self._config
    rounds = self._rounds()
    seeds = self._seeds(rounds)
    chunks = {d: tf.split(x, rounds)
              for d, x in self._dequantize(batch, seeds[-1], rounds).items()}
    last = rounds - 1
    extra = tf.constant(True)
    for i in range(last):
      real = {d: chunks[d][i] for d in chunks}
      fakes = {(s, t): self.model.translator(s, t).forward(real[s])
               for s, t in self._directions()}
      _, good = self._update_critics(
          real, fakes, seeds[2 * i], seeds[2 * i + 1], tf.constant(True))
      extra &= good
    real = {d: chunks[d][last] for d in chunks}
    known = self._labels(batch, rounds)
    fakes, gradients, metrics = self._flow_gradients(real, known, seeds[-2])
    gradients, metrics = _mean(gradients, metrics)

    norm = tf.sqrt(updates.squared_norm(gradients)) / self._loss_scale
    finite = tf.math.is_finite(norm) & tf.math.is_finite(metrics['loss'])
    metrics['gradient_norm'] = norm
    scale = 1. / self._loss_scale
    if config.clip_norm:
      # As `tf.clip_by_global_norm`.
      scale *= config.clip_norm * tf.minimum(1. / norm, 1. / config.clip_norm)
    step = tf.cast(self.step, tf.float32)
    updates.adam(
        self.flow_optimizer, self._flow_variables, gradients, finite, scale,
        self._flow_averages,
        # Quicker at first.
        1. - tf.minimum(config.ema_decay, (1. + step) / (10. + step)))
    auxiliary = self._auxiliary
    if auxiliary is not None:

      def update() -> tf.Tensor:
        # Not the seed of dequantisation: noise of one seed is the same noise.
        auxiliary.update(real, fakes, known, _fold_in(seeds[-1]))
        return tf.constant(0)

      tf.cond(finite, update, lambda: tf.constant(0))
    if self._adversarial:
      critic_metrics, finite = self._update_critics(
          real, fakes, seeds[2 * last], seeds[2 * last + 1], finite)
      metrics.update(critic_metrics)
    finite &= extra
    metrics['skipped'] = 1. - tf.cast(finite, tf.float32)
    replicas.assign(self.skipped, self.skipped + tf.cast(
        tf.logical_not(finite), tf.int64))
    if self._scaled:
      self._adjust_loss_scale(finite)
    replicas.assign(self.step, self.step + 1)
    return metrics

  def _seeds(self, rounds: int) -> tf.Tensor:
    """A step's seeds: two an update of the critics, flows, dequantisation."""
    seed = tf.random.experimental.stateless_fold_in(
        tf.constant([self._config.seed, 2], tf.int32), self.step)
    return tf.random.split(seed, 2 * rounds + 2)

  def diagnose(self, batch: Mapping[str, tf.Tensor]) -> dict[str, list[str]]:
    """Says what is not finite in the flows' update on a step's batch.

    Args:
      batch: What `train_step` was given; `step` must be as it was.

    Returns:
      Names of what is not finite: `terms` of the loss, `gradients` and
      `weights` by variable, and the first `layers`.
    """
    if self._strategy is not None:
      # On one device: what is not finite is so there as well.
      alone = Trainer(*self._arguments)
      for variable, value in zip(alone.variables, self.variables, strict=True):
        variable.assign(value)
      return alone.diagnose(batch)
    rounds = self._rounds()
    seeds = self._seeds(rounds)
    images = {d: tf.split(x, rounds)[-1]
              for d, x in self._dequantize(batch, seeds[-1]).items()}
    # A function: thousands of eager operations would take minutes.
    _, gradients, metrics = tf.function(
        self._flow_gradients, autograph=False)(
            images, self._labels(batch, rounds), seeds[-2])
    variables = [*self.model.variables, *self._critic_weights]

    def bad(values: Iterable[tuple[str, tf.Tensor]]) -> list[str]:
      return [name for name, value in values
              if not np.isfinite(np.asarray(value)).all()]

    return {
        'terms': bad(metrics.items()),
        'layers': [
            f'{d}: {name}' for d, x in images.items()
            for name in recovery.layers(self.model.flow(d), x)
        ] if isinstance(self.model, model_lib.AlignFlow) else [],
        'weights': bad((v.name, v) for v in variables),
        'gradients': bad(
            (v.name, g)
            for v, g in zip(self._flow_variables, gradients, strict=True)),
    }

  def _labels(self, batch: Mapping[str, tf.Tensor],
              rounds: int) -> dict[str, tf.Tensor]:
    """Labels of the last of a step's rounds."""
    return {d: tf.split(batch[f'{d}/label'], rounds)[-1] for d in self.labels}

  def _critic_view(self, images: tf.Tensor, seed: tf.Tensor,
                   blocks: int = 1) -> tf.Tensor:
    """What critics see of images: [-1, 1], with instance noise.

    Args:
      images: So many blocks of images, one after another.
      seed: Stateless seed.
      blocks: Number of blocks.

    Sonderby et al. 2017, section 3.1, https://arxiv.org/abs/1610.04490.
    """
    view = images_lib.to_critic(images)
    if self._config.critic_noise:
      view += self._config.critic_noise * replicas.normal(
          tf.shape(view), seed, blocks, view.dtype)
    return view

  def _flow_gradients(
      self, real: dict[str, tf.Tensor], labels: dict[str, tf.Tensor],
      seed: tf.Tensor
  ) -> tuple[dict[tuple[str, str], tf.Tensor], list[tf.Tensor],
             dict[str, tf.Tensor]]:
    """Translations, the scaled gradient of the model's loss, its parts."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(self._flow_variables)
      loss, fakes, metrics = self._generator_loss(
          real, functools.partial(self._judge, seed=seed))
      if self._auxiliary is not None:
        extra, extra_metrics = self._auxiliary.loss(
            real, fakes, labels, _fold_in(seed))
        loss += extra
        metrics |= extra_metrics
      scaled = loss * self._loss_scale if self._scaled else loss
    gradients = tape.gradient(
        scaled, self._flow_variables,
        unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return fakes, gradients, metrics | {'loss': loss}

  def _judge(self, fakes: generator_losses.Translations, seed: tf.Tensor
            ) -> generator_losses.Translations:
    """The generator's adversarial loss of each translation."""
    seeds = tf.random.split(seed, len(fakes))
    return {
        (s, t): self._gan.generator(
            self._critics[t](self._critic_view(fake, seeds[i])))
        for i, ((s, t), fake) in enumerate(fakes.items())}

  def _update_critics(
      self,
      real: dict[str, tf.Tensor],
      fakes: dict[tuple[str, str], tf.Tensor],
      pool_seed: tf.Tensor,
      penalty_seed: tf.Tensor,
      where: tf.Tensor,
  ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """One update of all critics, on real images and on the pools' images.

    Args:
      real: Images of each domain.
      fakes: Their translations, by source and target.
      pool_seed: Seed of what the pools and the instance noise draw.
      penalty_seed: Seed of the gradient penalty.
      where: Boolean scalar, without which nothing changes.

    Returns:
      Losses by name, and whether the critics were updated, which takes a finite
      gradient as well as `where`.
    """
    directions = self._directions()
    pool_seeds = tf.random.split(pool_seed, 2 * len(directions))
    pooled = {}
    for i, (s, t) in enumerate(directions):
      pooled[s, t] = self._pools[f'{s}_to_{t}'].query(
          tf.stop_gradient(fakes[s, t]), pool_seeds[i], where)
    losses = {}
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(self._critic_weights)
      for i, (t, critic) in enumerate(self._critics.items()):
        sources = [s for s in real if s != t]
        inputs = self._critic_view(
            tf.concat([real[t]] + [pooled[s, t] for s in sources], axis=0),
            pool_seeds[len(directions) + i], 1 + len(sources))
        size = tf.shape(real[t])[0]
        logits = critic(inputs)
        losses[t] = self._gan.critic(logits[:size], logits[size:])
        if self._gan.gradient_penalty:
          # Between real images and each source's translations.
          losses[t] += self._gan.gradient_penalty * objectives.gradient_penalty(
              critic, tf.concat([inputs[:size]] * len(sources), axis=0),
              inputs[size:], penalty_seed,
              functools.partial(replicas.uniform, blocks=len(sources)))
      total = tf.add_n(list(losses.values()))
      if self._scaled:
        total *= self._loss_scale
    gradients, losses = _mean(
        tape.gradient(total, self._critic_weights), losses)
    finite = where & tf.math.is_finite(updates.squared_norm(gradients))
    updates.adam(self.critic_optimizer, self._critic_weights, gradients, finite,
                 1. / self._loss_scale)
    nan = tf.constant(float('nan'))
    return {f'critic_loss/{d}': tf.where(where, value, nan)
            for d, value in losses.items()}, finite

  def _adjust_loss_scale(self, finite: tf.Tensor) -> None:
    replicas.assign(
        self._good_steps,
        tf.where(finite, self._good_steps + 1, tf.zeros([], tf.int64)))
    grow = tf.equal(self._good_steps % 1000, 999)
    factor = tf.where(finite, tf.where(grow, 2., 1.), 0.5)
    replicas.assign(self._loss_scale, tf.clip_by_value(
        self._loss_scale * factor, 1., 2.**15))

  def checkpoint(self) -> tf.train.Checkpoint:
    """What a run is saved as and goes on from."""
    parts: dict[str, Any] = {
        'model': self.model, 'average': self.average, 'step': self.step,
        'skipped': self.skipped, 'loss_scale': self._loss_scale,
        'good_steps': self._good_steps,
        'flow_optimizer': self.flow_optimizer,
    }
    if self._adversarial:
      parts |= {'critics': Holder(self._critic_variables),
                'critic_optimizer': self.critic_optimizer,
                'pools': Holder(self._pools)}
    if self._auxiliary is not None:
      parts['auxiliary'] = self._auxiliary
    return tf.train.Checkpoint(**parts)


class Holder(tf.Module):
  """Gives a dictionary of trackable things a place in a checkpoint."""

  def __init__(self, items: Mapping[str, Any]):
    super().__init__(name='holder')
    self.items = dict(items)


def _mean(
    gradients: list[tf.Tensor], scalars: Mapping[str, tf.Tensor]
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
  """Gradients and scalars of this replica's images as those of all images."""
  if replicas.count() == 1:
    return gradients, dict(scalars)
  *gradients, values = replicas.mean(
      [*gradients, tf.stack(list(scalars.values()))])
  return gradients, dict(zip(scalars, tf.unstack(values), strict=True))


def _fold_in(seed: tf.Tensor) -> tf.Tensor:
  """Another stateless seed, that hangs on one."""
  return tf.random.experimental.stateless_fold_in(seed, 1)

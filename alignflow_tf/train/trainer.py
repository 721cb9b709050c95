"""The model, critics and optimizers of a run, and one step of training them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
import functools
import gc
from typing import Any

import tensorflow as tf

from alignflow_tf import _graph
from alignflow_tf import baselines
from alignflow_tf import images as images_lib
from alignflow_tf import model as model_lib
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf import one_to_many
from alignflow_tf.train import auxiliary as auxiliary_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import critics as critics_lib
from alignflow_tf.train import directions as directions_lib
from alignflow_tf.train import optimizer
from alignflow_tf.train import replicas
from alignflow_tf.train import schedules
from alignflow_tf.train import trained

Images = dict[str, tf.Tensor]
Translations = dict[tuple[str, str], tf.Tensor]
Step = Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]

# Levels of dequantisation noise where channels are copies of one another: see
# `images.dequantize`.
COPIED_CHANNELS_NOISE = 8.


def build_model(
    config: config_lib.Config, domains: tuple[str, ...],
    event_shape: tuple[int, int, int]) -> model_lib.Translates:
  """Builds the model of a configuration, with initial weights.

  Raises:
    ConfigError: If the architecture does not fit the images.
  """
  try:
    return baselines.get(config.model).build(config, domains, event_shape)
  except ValueError as e:
    raise config_lib.ConfigError(str(e)) from e


class Trainer(tf.Module):
  """Model, critics, optimizers, averages and pools of a run; and its step.

  Attributes:
    model: The model that is trained.
    average: The model whose weights are the moving average of `model`'s; it is
      evaluated and exported.
    critics: The critics, or None where there are none (`Config.has_critics`).
    terms: Terms of the generator's loss.
    labels: Domains whose labels a step takes.
    turns: The sets of directions that steps train: see `directions.turns`.
    step: Number of steps done.
    skipped: Number of steps with an update that was left out, because a loss or
      a gradient was not finite.
    train_steps: For each turn, a `tf.function` of a step's batch: for each
      domain uint8 images, `config.images_per_step()` of them, and for each of
      `labels`, under `<domain>/label`, their labels. It gives scalars by name.
    trunk_step: One of the first `config.trunk_steps`, which train the trunk
      alone; arguments and results are as those of `train_steps`.
  """

  def __init__(
      self,
      config: config_lib.Config,
      domains: tuple[str, ...],
      event_shape: tuple[int, int, int],
      copied_channels: Mapping[str, bool] | None = None,
      auxiliary: auxiliary_lib.Auxiliary | None = None,
      strategy: tf.distribute.Strategy | None = None,
  ):
    """Builds everything, with initial weights.

    Args:
      config: The configuration.
      domains: Names of the domains.
      event_shape: `(height, width, channels)`.
      copied_channels: Domains whose channels are copies of one another.
      auxiliary: An additional objective, or None.
      strategy: Devices that share each step's batch in equal parts; None for
        one device. A step then takes the part of this process.

    Raises:
      ConfigError: If the architecture does not fit the images, or an auxiliary
        objective is to be shared among devices.
    """
    super().__init__(name='trainer')
    if strategy is not None and auxiliary is not None:
      raise config_lib.ConfigError(
          "`strategy` must be 'default' with an auxiliary objective, got "
          f'{config.strategy!r}.')
    self._config = config
    self._strategy = strategy
    self._auxiliary = auxiliary
    self.labels = tuple(auxiliary.labels) if auxiliary is not None else ()
    with _no_collection(), contextlib.ExitStack() as stack:
      if strategy is not None:
        stack.enter_context(strategy.scope())
      self._build(domains, event_shape, copied_channels or {})
    self.train_steps = self._no_dependency([
        self._compiled(functools.partial(self._train_step, turn))
        for turn in self.turns])
    self.trunk_step = self._compiled(self._trunk_step)

  def _compiled(self, step: Step) -> Any:
    shared = step if self._strategy is None else functools.partial(
        self._shared_step, step)
    functions = _graph.unshared if self._config.xla else _graph.not_inlined
    return tf.function(
        _no_collection()(functions()(shared)),
        jit_compile=self._config.xla or None, autograph=False)

  def _build(self, domains: tuple[str, ...], event_shape: tuple[int, int, int],
             copied_channels: Mapping[str, bool]) -> None:
    config = self._config
    self.step = _counter('step')
    self.skipped = _counter('skipped')
    self.model = build_model(config, domains, event_shape)
    self.average = build_model(config, domains, event_shape)
    self.terms = self._no_dependency(
        baselines.get(config.model).terms(config, self.model))
    # Wide noise bounds a density; other models have nothing to bound.
    wide = isinstance(self.model, model_lib.HasDensity)
    self._noise = {
        d: COPIED_CHANNELS_NOISE if wide and copied_channels.get(d) else 1.
        for d in domains}
    # float16 gradients are scaled out of its narrow range, by trial.
    self._scaled = config.precision == 'mixed_float16'
    self._loss_scale = tf.Variable(
        2.**13 if self._scaled else 1., trainable=False, name='loss_scale')
    self._good_steps = _counter('good_steps')
    # Critics train what translates, likelihoods also the trunk.
    self._weights, averages = trained.weights(config, self.model, self.average)
    self.flow_optimizer = optimizer.Adam(
        self._weights, config.beta_1, config.beta_2, averages)
    self._trunk, averages = ([], []) if (
        config.trunk == 'none' or config.train_domains) else (
            trained.trunk(self.model), trained.trunk(self.average))
    self.trunk_optimizer = optimizer.Adam(
        self._trunk, 0.9, 0.999, averages) if self._trunk else None
    classes = self._auxiliary.critic_classes if self._auxiliary else 0
    self.critics = critics_lib.Critics(
        config, domains, event_shape, classes) if config.has_critics else None
    self.turns: list[directions_lib.Directions] = self._no_dependency(
        directions_lib.turns(config, domains) if self.critics else [[]])

  def initialize(self, images: Mapping[str, tf.Tensor]) -> None:
    """Sets data-dependent weights from uint8 images of each domain."""
    self.model.initialize(
        self._dequantize(images, tf.constant([self._config.seed, 1])))
    for average, variable in zip(
        self.average.variables, self.model.variables, strict=True):
      average.assign(variable)

  @property
  def train_step(self) -> Any:
    """The first of `train_steps`; the only one of two domains."""
    return self.train_steps[0]

  def _train_step(
      self, turn: directions_lib.Directions, batch: Mapping[str, tf.Tensor]
  ) -> dict[str, tf.Tensor]:
    """One update of the generators, and `critic_steps` of the critics."""
    config, critics, auxiliary = self._config, self.critics, self._auxiliary
    translate = functools.partial(self._translate, directions=turn)
    rounds = config.images_per_step() // config.batch_size
    seeds = tf.random.split(tf.random.experimental.stateless_fold_in(
        tf.constant([config.seed, 2], tf.int32), self.step), rounds + 3)
    noise_seed, flow_seed, update_seed, *critic_seeds = tf.unstack(seeds)
    rate, critic_rate = (
        schedules.learning_rate(config, value, self.step)
        for value in (config.learning_rate, config.critic_learning_rate))

    # Dequantise. The last of the critics' images are the generators' too.
    images = {d: tf.split(x, rounds) for d, x in self._dequantize(
        batch, replicas.fold_in(noise_seed)).items()}
    classes = {d: tf.split(batch[f'{d}/label'], rounds) for d in self.labels}
    (*earlier, real), (*others, labels) = (
        [{d: x[i] for d, x in found.items()} for i in range(rounds)]
        for found in (images, classes))

    # Critics alone.
    all_finite = tf.constant(True)
    for chunk, other, seed in zip(earlier, others, critic_seeds, strict=False):
      assert critics is not None
      _, finite = critics.update(
          *critics.seen(chunk, translate(chunk, seed), other), seed,
          critic_rate, tf.constant(True), self._loss_scale)
      all_finite &= finite

    # Translate, and the generators' terms. Critics have nothing to tell a
    # trunk, which no translation evaluates.
    own = len(self._weights)
    weights = self._weights + (self._trunk if config.trunk_later else [])
    seed = replicas.fold_in(flow_seed)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(weights)
      with networks.normalize_once(self.model):
        fakes = translate(real, seed)
        scores = critics.scores(
            critics.seen(real, fakes, labels)[1], seed) if critics else {}
        loss, metrics = objectives.total(self.terms, objectives.State(
            real, fakes, scores, tf.cast(self.step, tf.float32), seed))
      if auxiliary is not None:
        extra, logged = auxiliary.loss(real, fakes, labels, _other(seed))
        loss, metrics = loss + extra, metrics | logged
      scaled = loss * self._loss_scale
    gradients, metrics = replicas.mean(
        tape.gradient(scaled, weights,
                      unconnected_gradients=tf.UnconnectedGradients.ZERO),
        metrics | {'loss': loss})

    # Update the generators, and the moving average of their weights.
    metrics['learning_rate'] = rate
    metrics['gradient_norm'] = norm = self._norm(gradients[:own])
    finite = tf.math.is_finite(norm) & tf.math.is_finite(metrics['loss'])
    self._update(self.flow_optimizer, gradients[:own], rate, norm, finite)
    if len(gradients) > own:
      self._update(
          self.trunk_optimizer, gradients[own:],
          schedules.trunk_rate(config, self.step), norm, finite)
    if auxiliary is not None:
      tf.cond(finite, _then_zero(functools.partial(
          auxiliary.update, real, fakes, labels, update_seed)),
              lambda: tf.constant(0))

    # Update the critics.
    if critics:
      critic_metrics, finite = critics.update(
          *critics.seen(real, fakes, labels), critic_seeds[-1], critic_rate,
          finite, self._loss_scale)
      metrics |= critic_metrics

    all_finite &= finite
    metrics['skipped'] = 1. - tf.cast(all_finite, tf.float32)
    self._count(all_finite)
    return metrics

  def _trunk_step(
      self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """One update of the trunk alone, by likelihood."""
    config: config_lib.Config = self._config
    model: Any = self.model  # An `AlignFlow`: others have no trunk.
    seed = tf.random.experimental.stateless_fold_in(
        tf.constant([config.seed, 3], tf.int32), self.step)
    real = self._dequantize(batch, replicas.fold_in(seed))
    trained = model.domains[-1:] if config.hub else model.domains
    rate = schedules.trunk_rate(config, self.step)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(self._trunk)
      bits = {f'bits_per_dim/{d}': tf.reduce_mean(
          model.bits_per_dim(real[d], d)) for d in trained}
      loss = tf.add_n(list(bits.values()))
      scaled = loss * self._loss_scale
    gradients, metrics = replicas.mean(
        tape.gradient(scaled, self._trunk), bits | {'loss': loss})
    metrics['learning_rate'] = rate
    metrics['gradient_norm'] = norm = self._norm(gradients)
    finite = tf.math.is_finite(norm) & tf.math.is_finite(metrics['loss'])
    self._update(self.trunk_optimizer, gradients, rate, norm, finite)
    metrics['skipped'] = 1. - tf.cast(finite, tf.float32)
    self._count(finite)
    return metrics

  def _norm(self, gradients: list[tf.Tensor]) -> tf.Tensor:
    """Global norm of the gradients of a loss that was scaled."""
    return tf.sqrt(optimizer.squared_norm(gradients)) / self._loss_scale

  def _update(self, adam: Any, gradients: list[tf.Tensor], rate: tf.Tensor,
              norm: tf.Tensor, finite: tf.Tensor) -> None:
    """Updates weights and averages, with gradients clipped by their norm."""
    largest = self._config.clip_norm
    clipping = largest * tf.minimum(1. / norm, 1. / largest) if largest else 1.
    adam.apply(gradients, rate, finite, clipping / self._loss_scale,
               schedules.average_rate(self._config, self.step))

  def _shared_step(
      self, step: Step,
      batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """A step on each device, for its part of this process's batch."""
    strategy = self._strategy
    assert strategy is not None
    number = len(strategy.extended.worker_devices)

    # Replicas are traced in threads of their own, which a `with` around this
    # does not reach.
    @_graph.not_inlined()
    def run(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
      return step({
          name: replicas.part(values, number)
          for name, values in batch.items()})

    # Equal on all replicas.
    return {name: strategy.experimental_local_results(value)[0]
            for name, value in strategy.run(run, args=(batch,)).items()}

  def _dequantize(self, images: Mapping[str, tf.Tensor],
                  seed: tf.Tensor) -> Images:
    seeds = tf.random.split(seed, len(self.model.domains))
    return {d: images_lib.dequantize(images[d], seeds[i], self._noise[d])
            for i, d in enumerate(self.model.domains)}

  def _translate(self, real: Images, seed: tf.Tensor,
                 directions: directions_lib.Directions) -> Translations:
    config = self._config
    model: Any = self.model  # With latents, where there are `many`.
    return {
        (s, t): one_to_many.translate(
            model, real[s], s, t, _other(seed, 2 + i), config.many_every)
        if t in config.many else model.translator(s, t).forward(real[s])
        for i, (s, t) in enumerate(directions)}

  def _count(self, finite: tf.Tensor) -> None:
    """Counts the step, and adjusts the loss's scale."""
    replicas.assign(self.step, self.step + 1)
    replicas.assign(
        self.skipped, self.skipped + tf.cast(tf.logical_not(finite), tf.int64))
    if not self._scaled:
      return
    replicas.assign(
        self._good_steps,
        tf.where(finite, self._good_steps + 1, tf.zeros([], tf.int64)))
    grow = tf.equal(self._good_steps % 1000, 999)
    factor = tf.where(finite, tf.where(grow, 2., 1.), 0.5)
    replicas.assign(self._loss_scale, tf.clip_by_value(
        self._loss_scale * factor, 1., 2.**15))

  def checkpoint(self) -> tf.train.Checkpoint:
    """The parts of a run that are saved, and from which it goes on."""
    parts: dict[str, Any] = {
        'model': self.model, 'average': self.average, 'step': self.step,
        'skipped': self.skipped, 'loss_scale': self._loss_scale,
        'good_steps': self._good_steps, 'flow_optimizer': self.flow_optimizer}
    if self.trunk_optimizer is not None:
      parts['trunk_optimizer'] = self.trunk_optimizer
    if self.critics is not None:
      parts['critics'] = self.critics
    if self._auxiliary is not None:
      parts['auxiliary'] = self._auxiliary
    return tf.train.Checkpoint(**parts)


def _counter(name: str) -> tf.Variable:
  return tf.Variable(0, dtype=tf.int64, trainable=False, name=name)


def _other(seed: tf.Tensor, number: int = 1) -> tf.Tensor:
  """Another stateless seed: noise of one seed is the same noise."""
  return tf.random.experimental.stateless_fold_in(seed, number)


def _then_zero(function: Any) -> Any:
  """A function for `tf.cond`, whose branches must return equal types."""

  def call() -> tf.Tensor:
    function()
    return tf.constant(0)

  return call


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
  """Pauses Python's collector of cyclic garbage, for building and tracing.

  Both make a million objects that stay; looking through them again and again
  is a fifth of the time.
  """
  enabled = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if enabled:
      gc.enable()

"""What the generator of each model minimises, in a step of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from alignflow_tf import baselines
from alignflow_tf import bijectors
from alignflow_tf import images as images_lib
from alignflow_tf import model as model_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import objectives

__all__ = [
    'AlignFlowLoss', 'CycleGANLoss', 'Generated', 'GeneratorLoss', 'Images',
    'Judge', 'Translations', 'make'
]

Images = Mapping[str, tf.Tensor]
Translations = dict[tuple[str, str], tf.Tensor]
Judge = Callable[[Translations], Translations]


class Generated(NamedTuple):
  """What a generator's loss gives.

  Attributes:
    loss: What is minimised, a scalar.
    translations: For each (source, target), `[B, H, W, C]`; empty where there
      is no adversarial term.
    metrics: Scalars by name, to be logged.
  """
  loss: tf.Tensor
  translations: Translations
  metrics: dict[str, tf.Tensor]


class GeneratorLoss(Protocol):
  """A model's part of a step: called with images, within a gradient tape."""

  def __call__(self, real: Images, judge: Judge) -> Generated:
    """Translates, and weighs.

    Args:
      real: For each domain, dequantised images `[B, H, W, C]` in [0, 1].
      judge: Gives the generator's adversarial loss of each translation.
    """


def make(config: config_lib.Config, model: Any,
         step: tf.Variable) -> GeneratorLoss:
  """The loss of a model under a configuration, at a step of training."""
  if isinstance(model, baselines.CycleGAN):
    return CycleGANLoss(config, model)
  return AlignFlowLoss(config, model, step)


class AlignFlowLoss:
  """Equation 7, the penalty on pixels out of range, and that on magnitudes.

  Attributes:
    magnitudes: The weight-norm magnitudes of all conditioners.
  """

  def __init__(self, config: config_lib.Config, model: model_lib.AlignFlow,
               step: tf.Variable):
    self._config = config
    self._model = model
    self._step = step
    self._adversarial = config.objective != 'mle'
    # lambda -> infinity: only the ratio counts, and nats a dimension keep the
    # gradient's norm within `clip_norm` at any image size.
    self._weights = (
        config.likelihood_weights(model.domains) if self._adversarial else
        dict.fromkeys(model.domains, 1. / model.event_size))
    self.magnitudes = _magnitudes(model)

  def __call__(self, real: Images, judge: Judge) -> Generated:
    with bijectors.weights_once():
      return self._loss(real, judge)

  def _loss(self, real: Images, judge: Judge) -> Generated:
    config, model = self._config, self._model
    latents = {d: model.flow(d).inverse(x) for d, x in real.items()}
    # The log-determinants come out of TFP's cache: one pass a network.
    nll = {d: objectives.negative_log_likelihood(model[d].log_prob(x))
           for d, x in real.items()}
    fakes: Translations = {}
    if self._adversarial:
      fakes = {(s, t): model.flow(t).forward(z)
               for s, z in latents.items() for t in model.domains if s != t}
    adversarial = judge(fakes) if fakes else {}
    weighed = nll
    metrics = _named(adversarial)
    if config.lambda_until:
      factor = self._multiplier()
      # Once let go, a likelihood may be as small as it likes.
      weighed = {d: tf.math.multiply_no_nan(value, factor)
                 for d, value in nll.items()}
      metrics['lambda_factor'] = factor
    loss = objectives.alignflow_loss(adversarial, weighed, self._weights)
    if fakes and config.range_weight:
      outside = tf.add_n([objectives.out_of_range(x) for x in fakes.values()])
      metrics['range_loss'] = outside
      loss += config.range_weight * outside
    if config.magnitude_l2:
      loss += config.magnitude_l2 * _l2_loss(self.magnitudes)
    for d, value in nll.items():
      metrics[f'bits_per_dim/{d}'] = images_lib.bits_per_dim(
          -value, model.event_size)
    return Generated(loss, fakes, metrics)

  def _multiplier(self) -> tf.Tensor:
    """`Config.likelihood_multiplier` at the current step, as ops."""
    steps = self._config.lambda_until * self._config.steps
    return tf.maximum(0., 1. - tf.cast(self._step, tf.float32) / steps)


class CycleGANLoss:
  """Adversarial losses, cycle consistency, and identity where asked for.

  #### References

  [1]: Jun-Yan Zhu et al. Unpaired Image-to-Image Translation using
       Cycle-Consistent Adversarial Networks. In _ICCV_, 2017, equation 3 and
       section 5.2. https://arxiv.org/abs/1703.10593
  """

  def __init__(self, config: config_lib.Config, model: baselines.CycleGAN):
    self._config = config
    self._model = model

  def __call__(self, real: Images, judge: Judge) -> Generated:
    config, model = self._config, self._model
    fakes = {
        (s, t): model.translator(s, t).forward(x)
        for s, x in real.items() for t in model.domains if s != t}
    adversarial = judge(fakes)
    metrics = _named(adversarial)
    cycle = {
        (s, t): objectives.mean_absolute_difference(
            model.translator(t, s).forward(fake), real[s])
        for (s, t), fake in fakes.items()}
    loss = tf.add_n([
        *adversarial.values(),
        *(config.cycle_weight * value for value in cycle.values())])
    for (s, t), value in cycle.items():
      metrics[f'cycle_loss/{s}_to_{t}'] = value
    if config.identity_weight:
      # In parts of the cycle's weight, as in the published code.
      identity = tf.add_n([
          objectives.mean_absolute_difference(
              model.translator(s, t).forward(real[t]), real[t])
          for s, t in fakes])
      metrics['identity_loss'] = identity
      loss += config.identity_weight * config.cycle_weight * identity
    return Generated(loss, fakes, metrics)


def _named(adversarial: Translations) -> dict[str, tf.Tensor]:
  return {f'adversarial_loss/{s}_to_{t}': value
          for (s, t), value in adversarial.items()}


def _l2_loss(variables: list[tf.Variable]) -> tf.Tensor:
  """Half the sum of squares; those of one shape together, in fewer ops."""
  groups: dict[tuple[int, ...], list[tf.Variable]] = {}
  for variable in variables:
    groups.setdefault(tuple(variable.shape), []).append(variable)
  return tf.add_n([tf.nn.l2_loss(tf.stack(g)) for g in groups.values()])


def _magnitudes(model: model_lib.AlignFlow) -> list[tf.Variable]:
  """The weight-norm magnitudes of all conditioners of a model."""
  found = {}
  for module in model.submodules:
    network = getattr(module, 'network', None)
    for variable in getattr(network, 'magnitudes', ()):
      found[id(variable)] = variable
  return list(found.values())

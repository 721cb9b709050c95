"""AlignFlow as the training loop builds it, and its loss: equation 7."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from alignflow_tf import flows
from alignflow_tf import images as images_lib
from alignflow_tf import model as model_lib
from alignflow_tf import objectives

__all__ = ['build', 'terms']


def build(config: Any, domains: tuple[str, ...],
          event_shape: tuple[int, int, int]) -> model_lib.AlignFlow:
  """Builds the model of a configuration, with initial weights.

  Raises:
    ValueError: If the architecture does not fit the images.
  """
  network_dtype = None if config.precision == 'float32' else config.precision
  options: dict[str, Any] = {
      'num_blocks': config.num_blocks, 'network_dtype': network_dtype,
      'seed': config.seed, 'memory': config.memory}
  view = {'framing': config.framing, 'match_colours': config.match_colours}
  flow = functools.partial(
      flows.FLOWS[config.flow], num_scales=config.num_scales,
      channels=config.width, **view, **options)
  if config.share == 'all':
    return model_lib.AlignFlow(domains, event_shape, adapter=None, trunk=flow)
  if config.trunk == 'none':
    return model_lib.AlignFlow(domains, event_shape, flow)
  adapters = {d: flow(event_shape) for d in domains}
  if config.hub:
    adapters[domains[-1]] = flows.view(event_shape, **view)
  trunk = functools.partial(
      flows.FLOWS[config.trunk], num_scales=config.trunk_scales,
      channels=config.trunk_width, alpha=None, **options)
  return model_lib.AlignFlow(domains, event_shape, adapters, trunk)


def terms(config: Any, model: model_lib.AlignFlow) -> list[objectives.Term]:
  """Equation 7, a penalty on pixels out of range, and weight decay.

  For domains A and B, equation 7 is

  ```
  L_GAN(C_B, G_{A->B}) + L_GAN(C_A, G_{B->A})
    - lambda_A L_MLE(G_{Z->A}) - lambda_B L_MLE(G_{Z->B})
  ```

  Args:
    config: The configuration.
    model: The model.

  Returns:
    The terms.

  #### References

  [1]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, equation 7.
       https://arxiv.org/abs/1905.12892
  """
  found = []
  trained = config.train_domains or model.domains
  if config.objective == 'mle':
    # Equation 7 as lambda goes to infinity. Only the ratio of the lambdas
    # counts, and in nats a dimension the gradient's norm stays within
    # `clip_norm` for images of any size.
    weights: dict[str, Any] = dict.fromkeys(trained, 1. / model.event_size)
  else:
    found += objectives.adversarial_terms(model.domains)
    weights = config.likelihood_weights(model.domains)
    weights = {d: weights[d] for d in trained}
    found += [
        objectives.Term(name, weight, functools.partial(
            _out_of_range, absolute=absolute))
        for name, weight, absolute in (
            ('range_loss', config.range_weight, False),
            ('range_l1_loss', config.range_l1_weight, True)) if weight]
  if config.lambda_until:
    factor = functools.partial(
        objectives.linear_decay, start=0.,
        end=config.lambda_until * config.steps)
    weights = {d: functools.partial(_scaled, factor, weight)
               for d, weight in weights.items()}
    found.append(objectives.Term(
        'lambda_factor', 0., lambda state: factor(state.step)))
  found += [_likelihood(model, d, weight) for d, weight in weights.items()]
  if config.eight_bit_weight:
    found.append(objectives.Term(
        'eight_bit_loss', config.eight_bit_weight, functools.partial(
            _eight_bit_loss, model)))
  # A trunk is trained by likelihoods alone.
  magnitudes = flows.magnitudes(model) if (
      config.trunk == 'none' and not config.train_domains) else [
          g for d in trained for g in flows.magnitudes(model.adapter(d))]
  if config.magnitude_l2 and magnitudes:
    found.append(objectives.Term(
        'magnitude_l2', config.magnitude_l2,
        lambda state: _half_squared_norm(magnitudes)))
  return found


def _likelihood(model: model_lib.AlignFlow, domain: str,
                weight: Any) -> objectives.Term:
  """-L_MLE of a domain, in nats an image; logged in bits per dimension."""
  return objectives.Term(
      f'bits_per_dim/{domain}', weight,
      # TFP's cache holds the latents of translations and log-determinants, so
      # each network is evaluated once.
      lambda state: objectives.negative_log_likelihood(
          model[domain].log_prob(state.real[domain])),
      lambda nll: images_lib.bits_per_dim(-nll, model.event_size))


def _out_of_range(state: objectives.State, absolute: bool) -> tf.Tensor:
  return tf.add_n([objectives.out_of_range(x, absolute)
                   for x in state.fakes.values()])


def _eight_bit_loss(model: model_lib.AlignFlow,
                    state: objectives.State) -> tf.Tensor:
  """Mean absolute error of the way back from pictures, over directions."""
  return tf.add_n([
      tf.reduce_mean(tf.abs(model.translator(t, s).forward(
          images_lib.as_picture(x)) - state.real[s]))
      for (s, t), x in state.fakes.items()])


def _scaled(factor: Any, weight: float, step: tf.Tensor) -> tf.Tensor:
  return weight * factor(step)


def _half_squared_norm(variables: list[tf.Variable]) -> tf.Tensor:
  """Half the sum of squares; variables of one shape are stacked."""
  groups: dict[tuple[int, ...], list[tf.Variable]] = {}
  for variable in variables:
    groups.setdefault(tuple(variable.shape), []).append(variable)
  return tf.add_n([tf.nn.l2_loss(tf.stack(g)) for g in groups.values()])

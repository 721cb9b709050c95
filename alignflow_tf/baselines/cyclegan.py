"""CycleGAN: a generator for each direction, held together by a loss."""

from __future__ import annotations

from collections.abc import Sequence
import functools
import itertools
from typing import Any, NamedTuple

import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf.baselines import base

__all__ = ['CycleGAN', 'Generator', 'PRESETS', 'build', 'terms']


class Generator(NamedTuple):
  """G_{source->target}, with the one method it shares with a bijector.

  Attributes:
    model: The model, which brings images into their frame and back.
    source: Name of the domain that `forward` takes images of.
    target: Name of the domain that `forward` gives images of.
    network: Network from [-1, 1] to [-1, 1].
  """
  model: CycleGAN
  source: str
  target: str
  network: networks.Tracked

  def forward(self, images: tf.Tensor) -> tf.Tensor:
    """Translates images `[B, H, W, C]` in [0, 1]; the result is in [0, 1]."""
    framed = images_lib.to_critic(self.model.frame(images, self.source))
    return self.model.unframe(0.5 * (self.network(framed) + 1.), self.target)


class CycleGAN(base.Baseline):
  """Domains joined by a generator for each direction.

  It is a `protocols.Translates`, as an `AlignFlow` is. It has no densities, no
  latents and no inverses. Training asks for cycle consistency by a loss; the
  model does not guarantee it.

  ```python
  model = baselines.CycleGAN(('maps', 'aerial'), (64, 64, 3))
  photographs = model.translator('maps', 'aerial').forward(maps)
  ```

  Images are NHWC with pixels in [0, 1], and so are translations (`tanh`
  bounds them).

  #### References

  [1]: Jun-Yan Zhu, Taesung Park, Phillip Isola, Alexei A. Efros. Unpaired
       Image-to-Image Translation using Cycle-Consistent Adversarial Networks.
       In _ICCV_, 2017. https://arxiv.org/abs/1703.10593
  """

  def __init__(
      self,
      domains: Sequence[str],
      event_shape: tuple[int, int, int],
      filters: int = 64,
      num_blocks: int = 9,
      num_halvings: int = 2,
      seed: int = 0,
      network_dtype: Any = 'float32',
      framing: bool = False,
      name: str = 'cyclegan',
  ):
    """Builds the model.

    Args:
      domains: Names of the domains, two or more different strings.
      event_shape: `(height, width, channels)` of the images of all domains.
      filters: See `networks.resnet_generator`, as the next three.
      num_blocks: Residual blocks a generator.
      num_halvings: How often a generator halves the image.
      seed: Non-negative integer that fixes the initial weights.
      network_dtype: Keras dtype or policy of the generators.
      framing: See `base.Baseline`.
      name: Name of the module.

    Raises:
      ValueError: If the domains are not two or more different names, or the
        images do not fit the generators.
    """
    super().__init__(domains, event_shape, name, framing)
    generators: dict[tuple[str, str], Generator] = {}
    for source in self.domains:
      for target in self.domains:
        if source != target:
          name = f'{source}_to_{target}'
          network = networks.resnet_generator(
              self.event_shape, filters, num_blocks, num_halvings,
              seed=seed * 997 + len(generators), dtype=network_dtype, name=name)
          generators[source, target] = Generator(
              self, source, target, networks.Tracked(network, name=name))
    self._generators = self._no_dependency(generators)
    self._networks = {
        f'{s}_to_{t}': g.network for (s, t), g in generators.items()}

  def translator(self, source: str, target: str) -> Generator:
    """G_{source->target}.

    Args:
      source: Name of the domain that `forward` takes images of.
      target: Name of the domain that `forward` gives images of.

    Returns:
      The generator.

    Raises:
      KeyError: If there is no such pair of domains.
    """
    self.check_pair(source, target)
    return self._generators[source, target]


def build(config: Any, domains: tuple[str, ...],
          event_shape: tuple[int, int, int]) -> CycleGAN:
  """Builds the model of a configuration, with initial weights.

  Raises:
    ValueError: If the architecture does not fit the images.
  """
  return base.build(
      functools.partial(CycleGAN, framing=config.framing), config, domains,
      event_shape)


def terms(config: Any, model: CycleGAN) -> list[objectives.Term]:
  """Adversarial losses, cycle consistency, and the identity loss.

  #### References

  [1]: Jun-Yan Zhu et al. Unpaired Image-to-Image Translation using
       Cycle-Consistent Adversarial Networks. In _ICCV_, 2017, equation 3 and
       section 5.2. https://arxiv.org/abs/1703.10593
  """

  def cycle(s: str, t: str) -> Any:
    return lambda state: objectives.mean_absolute_difference(
        model.translator(t, s).forward(state.fakes[s, t]), state.real[s])

  def identity(state: objectives.State) -> tf.Tensor:
    # Of images of the target, which are brought to the frame from their own.
    return tf.add_n([
        objectives.mean_absolute_difference(
            model.translator(s, t)._replace(source=t).forward(state.real[t]),
            state.real[t])
        for s, t in state.fakes])

  found = objectives.adversarial_terms(model.domains)
  found += [
      objectives.Term(f'cycle_loss/{s}_to_{t}', config.cycle_weight,
                      cycle(s, t), direction=(s, t))
      for s, t in itertools.permutations(model.domains, 2)]
  if config.identity_weight:
    # Relative to the cycle's weight, as in the published code.
    found.append(objectives.Term(
        'identity_loss', config.identity_weight * config.cycle_weight,
        identity))
  return found


# `cyclegan` is sections 4 and 7 of the paper, with AlignFlow's batches.
PRESETS: dict[str, dict[str, Any]] = {
    'cyclegan': {
        'num_scales': 3, 'width': 64, 'num_blocks': 9, 'steps': 13_800,
        'clip_norm': 0., 'cycle_weight': 10.,
    },
    'cyclegan_cpu': {
        'num_scales': 3, 'width': 16, 'num_blocks': 6, 'batch_size': 16,
        'critic_width': 32, 'critic_layers': 3, 'critic_noise': 0.15,
        'steps': 4_000, 'ema_decay': 0.998, 'clip_norm': 0.,
        'cycle_weight': 10., 'checkpoint_every': 250, 'eval_every': 500,
    },
    'cyclegan_digits': {
        'num_scales': 2, 'width': 16, 'num_blocks': 4, 'batch_size': 16,
        'critic_width': 32, 'critic_layers': 2, 'critic_noise': 0.15,
        'steps': 1_200, 'ema_decay': 0.995, 'clip_norm': 0.,
        'cycle_weight': 10., 'checkpoint_every': 200, 'eval_every': 400,
    },
}

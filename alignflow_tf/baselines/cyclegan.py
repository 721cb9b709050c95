"""CycleGAN: a generator for each direction, held together by a loss."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import tensorflow as tf

from alignflow_tf import objectives
from alignflow_tf.baselines import base

__all__ = ['CycleGAN', 'PRESETS', 'build', 'terms']


class CycleGAN(base.Generators):
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


build = functools.partial(base.build, CycleGAN)


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

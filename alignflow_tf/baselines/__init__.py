"""Systems that the training loop trains: AlignFlow and its baselines.

A system is one file of this package and one line of `MODELS`. The file has

- `build(config, domains, event_shape)`, which makes the model, a
  `model.Translates`. It raises ValueError where the configuration does not fit
  the images.
- `terms(config, model)`, the list of `objectives.Term` that the generator
  minimises.
- `critics(config, domains, event_shape)`, a Keras model for each domain, from
  images in [-1, 1] to logits. Without it, the system has patch critics.
- `PRESETS`, settings by the preset's name. (AlignFlow's are in
  `train.presets`, which does not load TensorFlow.)

The registry itself does not load TensorFlow, so that the command line answers
mistakes at once.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple, TYPE_CHECKING

from alignflow_tf import _lazy

if TYPE_CHECKING:
  from alignflow_tf.baselines.cut import CUT as CUT
  from alignflow_tf.baselines.cyclegan import CycleGAN as CycleGAN
  from alignflow_tf.baselines.ot_cfm import OTCFM as OTCFM
  from alignflow_tf.baselines.unit import UNIT as UNIT

__all__ = [
    'CUT', 'CycleGAN', 'MODELS', 'OTCFM', 'System', 'UNIT', 'critics', 'get']


class System(NamedTuple):
  """A line of the registry.

  Attributes:
    settings: Settings of `train.Config` that not all systems have, of which
      this one uses these. The others are refused.
    digits: Name of the preset for the embedded digits.
    pictures: Name of the preset for other data.
    presets: Names of its presets.
    critics: Whether critics train it.
    svhn: Name of the preset for `svhn_mnist`, where it has one.
  """
  settings: tuple[str, ...]
  digits: str
  pictures: str
  presets: tuple[str, ...]
  critics: bool = True
  svhn: str = ''


MODELS: dict[str, System] = {
    'alignflow': System(
        ('flow', 'framing', 'match_colours', 'share', 'trunk', 'trunk_scales',
         'trunk_width', 'trunk_steps', 'trunk_learning_rate', 'trunk_later',
         'hub', 'train_domains', 'eight_bit_weight', 'many', 'many_every',
         'memory', 'objective',
         'lambda_a', 'lambda_b', 'lambda_until', 'range_weight',
         'range_l1_weight', 'magnitude_l2'),
        'cpu', 'cpu_pictures',
        ('paper', 'paper_facades', 'cpu', 'cpu_trunk', 'cpu_pictures',
         'cpu_svhn', 'cpu_glow'), svhn='cpu_svhn'),
    'cyclegan': System(
        ('cycle_weight', 'framing', 'identity_weight'), 'cyclegan_digits',
        'cyclegan_cpu',
        ('cyclegan', 'cyclegan_cpu', 'cyclegan_digits')),
    'cut': System(
        ('nce_weight', 'framing', 'identity_weight'), 'cut_digits', 'cut',
        ('cut', 'cut_digits')),
    'unit': System(
        ('cycle_weight', 'framing', 'kl_weight'), 'unit_digits', 'unit',
        ('unit', 'unit_digits')),
    'ot_cfm': System(
        ('ode_steps', 'path_noise'), 'ot_cfm_digits', 'ot_cfm',
        ('ot_cfm', 'ot_cfm_digits'), critics=False),
}


def get(name: str) -> Any:
  """The module of a system.

  Args:
    name: A name of `MODELS`.

  Returns:
    The module `alignflow_tf.baselines.<name>`; see above for its functions.

  Raises:
    KeyError: If there is no such system.
  """
  if name not in MODELS:
    raise KeyError(f'`name` must be one of {", ".join(MODELS)}, got {name!r}.')
  return importlib.import_module(f'{__name__}.{name}')


def critics(config: Any, domains: tuple[str, ...],
            event_shape: tuple[int, int, int]) -> dict[str, Any]:
  """The critics of a configuration: its system's, or patch critics.

  Args:
    config: The configuration.
    domains: Names of the domains.
    event_shape: `(height, width, channels)`.

  Returns:
    A Keras model for each domain, with initial weights.

  Raises:
    ValueError: If the architecture does not fit the images.
  """
  from alignflow_tf import networks
  own = getattr(get(config.model), 'critics', None)
  if own is not None:
    return own(config, domains, event_shape)
  return {
      d: networks.patch_critic(
          event_shape, filters=config.critic_width,
          num_layers=config.critic_layers, seed=config.seed + i,
          dtype=config.precision) for i, d in enumerate(domains)}


__getattr__, *_ = _lazy.attach(
    __name__, {'CUT': 'cut', 'CycleGAN': 'cyclegan', 'OTCFM': 'ot_cfm',
               'UNIT': 'unit'})


def __dir__() -> list[str]:
  return __all__

"""Presets: settings by name, as starting points of a configuration.

AlignFlow's are here; those of another system are in its file in `baselines`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alignflow_tf import baselines

# For two cores and half an hour to an hour, at about 32x32 in colour.
_PICTURES: dict[str, Any] = {
    'num_scales': 3, 'width': 16, 'num_blocks': 1, 'batch_size': 16,
    'learning_rate': 3e-4, 'critic_learning_rate': 3e-4,
    'lambda_a': 3e-5, 'lambda_b': 3e-5,
    'critic_width': 32, 'critic_layers': 3, 'critic_noise': 0.15,
    'steps': 4_000, 'ema_decay': 0.998,
    'checkpoint_every': 250, 'eval_every': 500,
}

_ALIGNFLOW: dict[str, dict[str, Any]] = {
    # Appendix B.1 of https://arxiv.org/abs/1905.12892, which the defaults of
    # `Config` follow: Adam 2e-4 (0.5, 0.999), batches of 16, clipping at 10,
    # 5e-5 on weight norms, four scales from width 32, four blocks, and 200
    # epochs (here of Maps), the second half of them with falling rates.
    'paper': {'steps': 13_800, 'image_size': None},
    'paper_facades': {'steps': 5_000, 'image_size': 128},
    # For two cores and a few minutes, on 16x16 digits.
    'cpu': {
        'num_scales': 2, 'width': 16, 'num_blocks': 1, 'framing': True,
        'batch_size': 32, 'learning_rate': 5e-4, 'critic_learning_rate': 5e-4,
        'critic_width': 32, 'critic_layers': 2, 'critic_noise': 0.15,
        'steps': 1_200, 'decay_from': 0.3, 'ema_decay': 0.995,
        'checkpoint_every': 200, 'eval_every': 400,
    },
    # As `cpu`, in about the same time: a trunk that is trained on both domains
    # first, under adapters that start as the identity.
    'cpu_trunk': {
        'flow': 'couplings', 'num_scales': 2, 'width': 24, 'num_blocks': 1,
        'framing': True, 'trunk': 'glow', 'trunk_steps': 1_200,
        'lambda_a': 1e-3, 'lambda_b': 1e-3, 'range_weight': 0.,
        'range_l1_weight': 50., 'batch_size': 16, 'learning_rate': 1e-3,
        'critic_width': 32, 'critic_layers': 2, 'critic_noise': 0.15,
        'critic_shift': 2, 'steps': 2_000, 'decay_from': 0.3,
        'ema_decay': 0.995, 'checkpoint_every': 400, 'eval_every': 1_000,
    },
    'cpu_pictures': _PICTURES,
    # House numbers and written digits, 32x32: adapters that start as the
    # identity keep the digit, once both are light on dark.
    'cpu_svhn': _PICTURES | {
        'standard_levels': True, 'flow': 'couplings', 'num_scales': 2,
        'trunk': 'glow', 'trunk_steps': 250, 'lambda_a': 1e-4,
        'lambda_b': 1e-4, 'range_weight': 0., 'range_l1_weight': 50.,
        'learning_rate': 1e-3, 'critic_learning_rate': 5e-4, 'steps': 1_250,
        'eval_every': 250,
    },
    # `cpu_pictures` with Glow's flows, https://arxiv.org/abs/1807.03039.
    'cpu_glow': _PICTURES | {'flow': 'glow', 'width': 32},
}


class _Presets(Mapping[str, dict[str, Any]]):
  """Settings by a preset's name; loads a system's file when it is asked for."""

  def _models(self) -> dict[str, str]:
    return {name: model for model, system in baselines.MODELS.items()
            for name in system.presets}

  def __getitem__(self, name: str) -> dict[str, Any]:
    model = self._models()[name]
    values = (_ALIGNFLOW if model == 'alignflow' else
              baselines.get(model).PRESETS)[name]
    return {**values, 'model': model}

  def __iter__(self) -> Iterator[str]:
    return iter(self._models())

  def __len__(self) -> int:
    return len(self._models())


PRESETS: Mapping[str, dict[str, Any]] = _Presets()


def default(model: str, dataset: str) -> str:
  """Name of the preset of a model for a data set."""
  system = baselines.MODELS[model]
  if dataset in ('digits', 'digits3'):
    return system.digits
  if dataset == 'svhn_mnist' and system.svhn:
    return system.svhn
  return system.pictures

"""The configuration of a training run, and its presets."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import json
import math
import os
import re
from typing import Any

from alignflow_tf.train import objectives

__all__ = ['Config', 'ConfigError', 'PRESETS', 'check_type', 'resolve']


class ConfigError(ValueError):
  """A configuration that cannot be trained; says which argument and why."""


@dataclasses.dataclass(frozen=True)
class Config:
  """All that a run depends on. Checked when made; saved as `config.json`.

  Attributes:
    dataset: Name of the pair or set of domains; see `--list_datasets`.
    data_dir: Directory of TFDS data, or None for TFDS's own.
    domain: `name:DIR` for each domain of `--dataset=folders`.
    image_size: Height and width of the images; None for the dataset's own.
    channels: 1 (grey) or 3 (colour); None for the dataset's own.
    fit: How a picture meets the image size: 'crop' (the largest middle part),
      'stretch' or 'pad'; None for the dataset's own. Pictures only.
    load_size: Size to resize to before a crop of `image_size`, random in
      training; None for no crop. Pictures only.
    flip: Whether training images are mirrored at random. Pictures only.
    label_by_folder: Whether the first sub-folder is the class, for
      `dataset=folders`.
    download: Whether data that are missing may be downloaded.
    cache: Where decoded images stay: 'memory', 'file' or 'none'.
    cache_dir: Folder for `cache=file`; None for `~/.cache/alignflow_tf`.
    max_pixels: Largest width times height of a picture that is read.
    skip_unreadable: Whether unreadable pictures are counted and left out.
    data_service: Address of a tf.data service that reads in place of this
      process, or None.
    preset: Name of the preset that the rest started from.
    model: 'alignflow' or 'cyclegan', the baseline.
    flow: 'real_nvp' or 'glow'.
    num_scales: Scales of the flow, or of CycleGAN's generators (3 in its
      paper: they halve the image twice).
    width: Hidden channels of the networks at the finest scale.
    num_blocks: Residual blocks a network; CycleGAN's paper has 6 or 9.
    framing: Whether each flow brings its domain's images into one frame, see
      `bijectors.Framing`: for things on a plain background.
    share: Parameters that the flows share: 'none', 'all', or scales such as
      '2,3' (0 is the finest).
    objective: 'hybrid' (equation 7), 'adversarial' (lambda 0) or 'mle'.
    gan_loss: One of `objectives.GAN_LOSSES`.
    cycle_weight: Weight of CycleGAN's cycle consistency, in L1 on [-1, 1].
    identity_weight: Weight of CycleGAN's identity loss, in parts of
      `cycle_weight`: 0.5 in its paper where colours are to be kept.
    lambda_a: Weight of the first domain's likelihood in nats an image.
    lambda_b: Weight of the other domains' likelihoods.
    lambda_until: Share of the steps over which both lambdas fall linearly to
      0, for a likelihood that leads at first; 0 for lambdas that stay.
    range_weight: Weight of the mean squared distance of translated pixels from
      [0, 1].
    steps: Number of generator updates.
    batch_size: Images a domain a step.
    learning_rate: Adam's rate for the flows.
    critic_learning_rate: Adam's rate for the critics.
    beta_1: Adam's first decay.
    beta_2: Adam's second decay.
    decay_from: Share of the steps after which rates fall linearly to 0.
    clip_norm: Largest global norm of the flows' gradient; 0 for none.
    magnitude_l2: L2 penalty on the weight-norm magnitudes.
    ema_decay: Decay of the moving average of the flows' weights.
    critic_steps: Critic updates a generator update.
    critic_width: Channels of the critics' first layer.
    critic_layers: Strided convolutions of the critics.
    critic_noise: Standard deviation of the noise on what critics see, in
      [-1, 1]. A flow cannot drop what its target domain has no place for, and
      hides it in small differences; noise keeps critics from living on those.
    pool_size: Past translations kept for the critics; 0 for none.
    precision: 'float32', 'mixed_bfloat16' or 'mixed_float16', of the networks;
      flows and log-determinants stay float32.
    memory: What is stored for gradients: 'standard', or with less memory and
      more time 'recompute' or 'reversible', which does not grow with depth.
    xla: Whether steps are compiled with XLA.
    strategy: Devices of a step: 'default' (one), 'mirrored' (all GPUs of this
      machine) or 'multi_worker' (those of all processes that `TF_CONFIG`
      names). They share each batch in equal parts.
    deterministic: Whether a run gives bit for bit the same weights again.
    seed: Non-negative integer that all randomness comes from.
    log_every: Steps between lines of `metrics.jsonl`.
    eval_every: Steps between evaluations on validation data and picture sheets.
    checkpoint_every: Steps between checkpoints.
    keep_checkpoints: How many of the newest checkpoints are kept, beside the
      best on validation data.
    skip_limit: So many of the last twice as many steps left out, as they were
      not finite, make the run go back to its last good checkpoint and halve
      its rates.
    max_rollbacks: How often a run goes back before it ends with a report.
  """
  dataset: str = 'digits'
  data_dir: str | None = None
  domain: tuple[str, ...] = ()
  image_size: int | None = None
  channels: int | None = None
  fit: str | None = None
  load_size: int | None = None
  flip: bool = False
  label_by_folder: bool = False
  download: bool = True
  cache: str = 'memory'
  cache_dir: str | None = None
  max_pixels: int = 64_000_000
  skip_unreadable: bool = False
  data_service: str | None = None
  preset: str = 'cpu'
  model: str = 'alignflow'
  flow: str = 'real_nvp'
  num_scales: int = 4
  width: int = 32
  num_blocks: int = 4
  framing: bool = False
  share: str = 'none'
  objective: str = 'hybrid'
  gan_loss: str = 'least_squares'
  cycle_weight: float = 10.
  identity_weight: float = 0.
  lambda_a: float = 1e-5
  lambda_b: float = 1e-5
  lambda_until: float = 0.
  range_weight: float = 10.
  steps: int = 14_000
  batch_size: int = 16
  learning_rate: float = 2e-4
  critic_learning_rate: float = 2e-4
  beta_1: float = 0.5
  beta_2: float = 0.999
  decay_from: float = 0.5
  clip_norm: float = 10.
  magnitude_l2: float = 5e-5
  ema_decay: float = 0.999
  critic_steps: int = 1
  critic_width: int = 64
  critic_layers: int = 3
  critic_noise: float = 0.
  pool_size: int = 50
  precision: str = 'float32'
  memory: str = 'standard'
  xla: bool = False
  strategy: str = 'default'
  deterministic: bool = False
  seed: int = 0
  log_every: int = 50
  eval_every: int = 1000
  checkpoint_every: int = 500
  keep_checkpoints: int = 3
  skip_limit: int = 20
  max_rollbacks: int = 3

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      check_type(field.name, field.type, getattr(self, field.name))
    positive = ('num_scales', 'width', 'num_blocks', 'steps', 'batch_size',
                'critic_steps', 'critic_width', 'critic_layers', 'log_every',
                'eval_every', 'checkpoint_every', 'keep_checkpoints',
                'max_pixels', 'skip_limit')
    for name in positive:
      _check(getattr(self, name) >= 1, name, getattr(self, name),
             'a positive integer')
    for name in ('pool_size', 'seed', 'max_rollbacks'):
      _check(getattr(self, name) >= 0, name, getattr(self, name),
             'a non-negative integer')
    _check(self.seed < 2**31, 'seed', self.seed, 'below 2**31')
    for name in ('learning_rate', 'critic_learning_rate'):
      value = getattr(self, name)
      _check(0. < value <= 1., name, value, 'above 0 and at most 1')
    for name in ('lambda_a', 'lambda_b', 'clip_norm', 'magnitude_l2',
                 'critic_noise', 'range_weight', 'cycle_weight',
                 'identity_weight'):
      value = getattr(self, name)
      _check(0. <= value < math.inf, name, value, 'finite and not negative')
    for name in ('beta_1', 'beta_2', 'ema_decay'):
      value = getattr(self, name)
      _check(0. <= value < 1., name, value, 'at least 0 and below 1')
    for name in ('decay_from', 'lambda_until'):
      value = getattr(self, name)
      _check(0. <= value <= 1., name, value, 'between 0 and 1')
    for name in ('image_size', 'load_size'):
      value = getattr(self, name)
      _check(value is None or 8 <= value <= 4096, name, value,
             'between 8 and 4096 pixels')
    for item in self.domain:
      _check(re.fullmatch(r'[A-Za-z0-9_]+:.+', item) is not None, 'domain',
             item, 'name:DIR with a name of letters, digits and _')
    _check(self.channels in (None, 1, 3), 'channels', self.channels, '1 or 3')
    choices: dict[str, tuple[str | None, ...]] = {
        'objective': ('hybrid', 'adversarial', 'mle'),
        'gan_loss': tuple(objectives.GAN_LOSSES),
        'fit': (None, 'crop', 'stretch', 'pad'),
        'memory': ('standard', 'recompute', 'reversible'),
        'precision': ('float32', 'mixed_bfloat16', 'mixed_float16'),
        'cache': ('memory', 'file', 'none'),
        'flow': ('real_nvp', 'glow'),
        'model': ('alignflow', 'cyclegan'),
        'preset': tuple(PRESETS),
        'strategy': ('default', 'mirrored', 'multi_worker'),
    }
    for name, allowed in choices.items():
      value = getattr(self, name)
      _check(value in allowed, name, value,
             'one of ' + ', '.join(a for a in allowed if a))
    self.shared_scales()
    if self.objective == 'hybrid' and not self.lambda_a + self.lambda_b:
      raise ConfigError(
          '`objective=hybrid` needs `lambda_a` or `lambda_b` above 0, got 0 for'
          ' both: use `objective=adversarial`.')
    _check(self.objective == 'hybrid' or not self.lambda_until, 'lambda_until',
           self.lambda_until, '0 where `objective` is not hybrid')

    _check(self.strategy == 'default' or not self.xla, 'strategy',
           self.strategy, "'default' where steps are compiled with `xla`")
    if self.model == 'cyclegan':
      _check(self.objective == 'adversarial', 'objective', self.objective,
             "'adversarial' where `model=cyclegan`: it has no likelihood")
      _check(self.share == 'none', 'share', self.share,
             "'none' where `model=cyclegan`: it has no flows")
      _check(self.memory == 'standard', 'memory', self.memory,
             "'standard' where `model=cyclegan`: it has no flows")
      _check(not self.framing, 'framing', self.framing,
             'False where `model=cyclegan`: it has no flows')

  def shared_scales(self) -> tuple[int, ...] | None:
    """The scales to share: all for None, by index otherwise."""
    if self.share in ('none', ''):
      return ()
    if self.share == 'all':
      return None
    try:
      scales = tuple(int(s) for s in self.share.split(','))
    except ValueError:
      scales = (-1,)
    _check(all(0 <= s < self.num_scales for s in scales), 'share', self.share,
           "'none', 'all', or scales below `num_scales` such as '1,2'")
    return scales

  def likelihood_weights(self, domains: tuple[str, ...]) -> dict[str, float]:
    """Lambda for each domain (equation 7)."""
    if self.objective == 'adversarial':
      return dict.fromkeys(domains, 0.)
    return {d: self.lambda_a if i == 0 else self.lambda_b
            for i, d in enumerate(domains)}

  @property
  def keeps_likelihood(self) -> bool:
    """Whether likelihoods are trained until the end, and may be judged by."""
    return self.objective != 'adversarial' and not self.lambda_until

  def likelihood_multiplier(self, step: int) -> float:
    """The factor of both lambdas at a step: linear to 0, or 1."""
    if not self.lambda_until:
      return 1.
    return max(0., 1. - step / (self.lambda_until * self.steps))

  def images_per_step(self) -> int:
    """Images of a domain that a step takes."""
    critics = 1 if self.objective == 'mle' else self.critic_steps
    return self.batch_size * critics

  def learning_rate_multiplier(self, step: int) -> float:
    """The factor of both rates at a step: constant, then linear to 0."""
    start = self.decay_from * self.steps
    if step <= start:
      return 1.
    return max(0., (self.steps - step) / (self.steps - start))

  def to_json(self) -> dict[str, Any]:
    """The configuration as JSON values."""
    return dataclasses.asdict(self) | {'domain': list(self.domain)}

  @classmethod
  def from_json(cls, values: dict[str, Any]) -> Config:
    """The configuration of `to_json`.

    Raises:
      ConfigError: If a name is unknown or a value is out of range.
    """
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
      raise ConfigError(
          f'`{unknown[0]}` is no setting of this version of alignflow_tf; the '
          'run was made by another one.')
    values = dict(values)
    if isinstance(values.get('domain'), list):
      values['domain'] = tuple(values['domain'])
    return cls(**values)

  def flag_lines(self) -> str:
    """The configuration as a file for `--flagfile`."""
    lines = []
    for name, value in self.to_json().items():
      if value is None:
        continue
      for item in value if isinstance(value, list) else [value]:
        if isinstance(item, bool):
          lines.append(f'--{name}' if item else f'--no{name}')
        else:
          lines.append(f'--{name}={item}')
    return '\n'.join(lines) + '\n'


def _check(good: bool, name: str, value: Any, expected: str) -> None:
  if not good:
    raise ConfigError(f'`{name}` must be {expected}, got {value!r}.')


def check_type(name: str, annotation: Any, value: Any,
               check: Callable[[bool, str, Any, str], None] = _check) -> None:
  """Checks a value against the simple annotations of a dataclass.

  Args:
    name: Name of the attribute.
    annotation: Its annotation, as text.
    value: What was given for it.
    check: Takes whether it is good, the name, the value and what would do, and
      raises if it is not.
  """
  if value is None and 'None' in annotation:
    return
  if annotation.startswith('tuple'):
    good = isinstance(value, tuple) and all(isinstance(v, str) for v in value)
    check(good, name, value, 'a tuple of strings')
  elif annotation.startswith('bool'):
    check(isinstance(value, bool), name, value, 'True or False')
  elif annotation.startswith('int'):
    check(isinstance(value, int) and not isinstance(value, bool), name, value,
           'an integer')
  elif annotation.startswith('float'):
    check(isinstance(value, (int, float)) and not isinstance(value, bool),
           name, value, 'a number')
  else:
    check(isinstance(value, str), name, value, 'a string')


# What two cores train in half an hour or an hour, at about 32x32 in colour.
_PICTURES: dict[str, Any] = {
    'num_scales': 3, 'width': 16, 'num_blocks': 1, 'batch_size': 16,
    'learning_rate': 3e-4, 'critic_learning_rate': 3e-4,
    'lambda_a': 3e-5, 'lambda_b': 3e-5,
    'critic_width': 32, 'critic_layers': 3, 'critic_noise': 0.15,
    'steps': 4_000, 'ema_decay': 0.998,
    'checkpoint_every': 250, 'eval_every': 500,
}

# Names of presets and what they change. `paper` is appendix B.1: Adam 2e-4
# (0.5, 0.999), 200 epochs, the second half of them decaying, batches of 16,
# clipping at 10, 5e-5 on weight norms, four scales from width 32, four blocks.
# The released code trains with least squares. Steps are 200 epochs of Maps.
# `cpu_glow` is `cpu_pictures` with Glow's flows
# (https://arxiv.org/abs/1807.03039).
# `cyclegan` is CycleGAN's paper, sections 4 and 7, at AlignFlow's batches.
PRESETS: dict[str, dict[str, Any]] = {
    'paper': {'steps': 13_800, 'image_size': None},
    'paper_facades': {'steps': 4_100, 'image_size': 128},
    'cpu': {
        'num_scales': 2, 'width': 16, 'num_blocks': 1, 'framing': True,
        'batch_size': 32, 'learning_rate': 5e-4, 'critic_learning_rate': 5e-4,
        'critic_width': 32, 'critic_layers': 2, 'critic_noise': 0.15,
        'steps': 1_200, 'decay_from': 0.3, 'ema_decay': 0.995,
        'checkpoint_every': 200, 'eval_every': 400,
    },
    'cpu_pictures': _PICTURES,
    'cpu_glow': _PICTURES | {'flow': 'glow', 'width': 32},
    'cyclegan': {
        'model': 'cyclegan', 'num_scales': 3, 'width': 64, 'num_blocks': 9,
        'steps': 13_800, 'clip_norm': 0.,
    },
    'cyclegan_cpu': {
        'model': 'cyclegan', 'num_scales': 3, 'width': 16, 'num_blocks': 6,
        'batch_size': 16, 'critic_width': 32, 'critic_layers': 3,
        'critic_noise': 0.15, 'steps': 4_000, 'ema_decay': 0.998,
        'clip_norm': 0., 'checkpoint_every': 250, 'eval_every': 500,
    },
}


def resolve(preset: str | None = None, **overrides: Any) -> Config:
  """Makes a configuration from a preset and what is given beside it.

  Args:
    preset: A name of `PRESETS`; None for `cyclegan_cpu` if that is the model,
      else for `cpu` if the dataset is `digits`, and `cpu_pictures` otherwise.
    **overrides: Attributes of `Config`; those that are None are left alone.

  Returns:
    The configuration.

  Raises:
    ConfigError: If the preset is unknown or a value is out of range.
  """
  if preset is None:
    dataset = overrides.get('dataset') or Config.dataset
    if overrides.get('model') == 'cyclegan':
      preset = 'cyclegan_cpu'
    else:
      preset = 'cpu' if dataset == 'digits' else 'cpu_pictures'
  if preset not in PRESETS:
    raise ConfigError(
        f'`preset` must be one of {", ".join(PRESETS)}, got {preset!r}.')
  values = dict(PRESETS[preset], preset=preset)
  values.update({k: v for k, v in overrides.items() if v is not None})
  if values.get('model') == 'cyclegan':
    values.setdefault('objective', 'adversarial')
    if overrides.get('framing') is None:
      values['framing'] = False  # A preset's framings belong to its flows.
  if values.get('objective') == 'adversarial':
    # A preset's lambda belongs to its hybrid objective.
    for name in ('lambda_a', 'lambda_b'):
      if overrides.get(name) is None:
        values[name] = 0.
  for name in ('learning_rate', 'critic_learning_rate', 'lambda_a', 'lambda_b',
               'lambda_until', 'clip_norm', 'magnitude_l2', 'beta_1', 'beta_2',
               'decay_from', 'ema_decay', 'critic_noise', 'range_weight',
               'cycle_weight', 'identity_weight'):
    if isinstance(values.get(name), int):
      values[name] = float(values[name])
  if isinstance(values.get('data_dir'), str):
    values['data_dir'] = os.path.expanduser(values['data_dir'])
  return Config(**values)


def write_aside(path: str, text: str) -> None:
  """Writes a file aside, then renames."""
  partial = f'{path}.partial'
  with open(partial, 'w', encoding='utf-8') as f:
    f.write(text)
  os.replace(partial, path)


def dump(path: str, values: dict[str, Any]) -> None:
  """Writes JSON aside, then renames; numbers that are not finite are null."""
  write_aside(path, json.dumps(_finite(values), indent=2) + '\n')


def _finite(value: Any) -> Any:
  if isinstance(value, dict):
    return {k: _finite(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_finite(v) for v in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value

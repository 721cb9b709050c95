"""The configuration of a training run.

Each field of `Config` carries its range and its help, from which the check of
its value, its command-line flag and the text of `--help` follow.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from alignflow_tf import baselines
from alignflow_tf import objectives
from alignflow_tf.train import contradictions
from alignflow_tf.train import presets
from alignflow_tf.train import settings

PRESETS = presets.PRESETS
ConfigError = settings.ConfigError
# Settings that a run may change as it goes on, and in which the processes of a
# run may differ.
FREE = frozenset({
    'data_dir', 'cache', 'cache_dir', 'download', 'max_pixels',
    'skip_unreadable', 'memory', 'strategy', 'log_every',
    'eval_every', 'checkpoint_every', 'keep_checkpoints'})

_check, _field, _one_of = settings.check, settings.field, settings.one_of
_COUNT, _DECAY, _DOMAINS = settings.COUNT, settings.DECAY, settings.DOMAINS
_POSITIVE, _RATE, _SEED = settings.POSITIVE, settings.RATE, settings.SEED
_SHARE, _WEIGHT = settings.SHARE, settings.WEIGHT


def _is_flow(value: str) -> bool:
  """Whether `flows.FLOWS`, which may grow, has a flow of this name.

  `flows` loads TensorFlow, which the library's own names need not wait for.
  """
  if value in ('real_nvp', 'glow', 'couplings', 'spline', 'flowpp'):
    return True
  from alignflow_tf import flows
  return value in flows.FLOWS


_FLOWS = 'real_nvp, glow, couplings, spline, flowpp'


@dataclasses.dataclass(frozen=True)
class Config(settings.Reading):
  """All settings of a run, checked when made and saved as `config.json`.

  `python -m alignflow_tf.train --help` prints each field with its meaning, and
  `resolve` makes a configuration from a preset:

  ```python
  config = resolve('paper', dataset='maps', image_size=64)
  ```
  """
  dataset: str = _field(
      'digits', 'Name of the data set; --list_datasets prints the names.')
  data_dir: str | None = _field(
      None, "Directory of TFDS data; TFDS's own by default.")
  domain: tuple[str, ...] = _field(
      (), 'name:DIR of one domain of --dataset=folders; repeat the flag.',
      _DOMAINS)
  label_by_folder: bool = _field(
      False, 'Whether the first sub-folder of a picture of --dataset=folders '
      'is its class.')
  download: bool = _field(True, 'Whether missing data may be downloaded.')
  cache: str = _field('memory', 'Where decoded images are kept.',
                      _one_of('memory', 'file', 'none'))
  cache_dir: str | None = _field(
      None, 'Folder for --cache=file; ~/.cache/alignflow_tf by default.')
  preset: str = _field(
      'cpu', 'Starting point, whose settings other flags replace.',
      settings.key_of(PRESETS))
  model: str = _field('alignflow', 'System that is trained.',
                      settings.key_of(baselines.MODELS))
  flow: str = _field('real_nvp', 'Family of the flows.',
                     (_is_flow, 'one of ' + _FLOWS), unused='real_nvp')
  num_scales: int = _field(
      4, "Number of scales of a flow, or of a baseline's networks: 3 in the "
      'papers of CycleGAN, CUT and UNIT, which halve the image twice.',
      _POSITIVE)
  width: int = _field(
      32, "Networks' number of hidden channels at the finest scale.", _POSITIVE)
  num_blocks: int = _field(
      4, "Number of residual blocks of a network; 6 or 9 in CycleGAN's paper.",
      _POSITIVE)
  framing: bool = _field(
      False, 'Whether images are brought into a frame that all domains share '
      '(bijectors.Framing), for things on a plain background.', unused=False)
  match_colours: bool = _field(
      False, "Whether each flow begins with an ActNorm of its domain's "
      'colours.', unused=False)
  share: str = _field(
      'none', "Parameters that all flows share: 'none' or 'all'.",
      (lambda value: value in ('none', 'all'),
       "'none' or 'all': single scales are no longer shared"), unused='none')
  trunk: str = _field(
      'none', 'Family of a flow that all domains share, between the latent and '
      "their own flows, which are then its adapters; 'none' is the paper's "
      'model. Critics train the adapters, likelihoods also the trunk.',
      (lambda value: value == 'none' or _is_flow(value),
       'none, or one of ' + _FLOWS), unused='none')
  trunk_scales: int = _field(
      3, 'Number of scales of the trunk.', _POSITIVE, unused=3)
  trunk_width: int = _field(
      32, "Number of hidden channels of the trunk's networks.", _POSITIVE,
      unused=32)
  trunk_steps: int = _field(
      0, 'Number of first steps, of `steps`, that train the trunk alone, by '
      'likelihood.', _COUNT, unused=0)
  trunk_learning_rate: float = _field(
      2e-3, "Adam's rate for the trunk in the first `trunk_steps`, over whose "
      'second half it falls linearly to `trunk_later` of it.', _RATE,
      unused=2e-3)
  trunk_later: float = _field(
      0., "Share of the trunk's rate that it keeps after `trunk_steps`; with 0 "
      'it stays as it is.', _SHARE, unused=0.)
  hub: bool = _field(
      False, 'Whether the last domain has no adapter but the pre-processing, '
      'so that the trunk models its images; `trunk_steps` then train on these '
      'alone.', unused=False)
  eight_bit_weight: float = _field(
      0., 'Weight of the mean absolute error of the way back from a '
      'translation that is clipped and rounded to 8 bits.', _WEIGHT, unused=0.)
  many: tuple[str, ...] = _field(
      (), 'Domain whose images others do not determine, so that each has many '
      'translations to it, drawn at random; repeat the flag. Needs '
      'eight_bit_weight, for the way back.', unused=())
  many_every: int = _field(
      4, 'Of the latents, the pixels at multiples of this on both axes are '
      'drawn anew for `many`.', _POSITIVE, unused=4)
  directions: str = _field(
      'in_turns', "Directions that a step trains where there are more than two "
      "domains: with 'in_turns' one from and one to each domain, and others at "
      "the next step; with 'all' every one, at a cost that grows with the "
      'square of the number of domains.',
      _one_of('in_turns', 'all'))
  objective: str = _field(
      'hybrid', "'hybrid' is equation 7, 'adversarial' has lambda 0, and 'mle' "
      'has no critics.', _one_of('hybrid', 'adversarial', 'mle'),
      unused='adversarial')
  gan_loss: str = _field('least_squares', 'Adversarial loss.',
                         settings.key_of(objectives.GAN_LOSSES))
  cycle_weight: float = _field(
      0., "Weight of CycleGAN's cycle consistency, and of UNIT's "
      'reconstructions, in L1 on [-1, 1].', _WEIGHT, unused=0.)
  kl_weight: float = _field(
      0., "Weight of the mean square of UNIT's latents, which is twice the "
      'divergence from the prior a dimension.', _WEIGHT, unused=0.)
  nce_weight: float = _field(
      0., "Weight of CUT's PatchNCE, which holds patches of a translation to "
      'those of its input.', _WEIGHT, unused=0.)
  identity_weight: float = _field(
      0., "Weight of the identity loss, relative to CycleGAN's cycle_weight "
      "(0.5 in its paper where colours are to be kept) or to CUT's nce_weight "
      '(1 in its paper).', _WEIGHT, unused=0.)
  ode_steps: int = _field(
      10, "Number of steps that solve OT-CFM's equation; each evaluates the "
      'network twice.', _POSITIVE, unused=10)
  path_noise: float = _field(
      0., "Standard deviation of the noise on OT-CFM's paths between images, "
      'which are in [-1, 1].', _WEIGHT, unused=0.)
  lambda_a: float = _field(
      1e-5, "Weight of the first domain's likelihood, in nats an image.",
      _WEIGHT, unused=0.)
  lambda_b: float = _field(
      1e-5, "Weight of each other domain's likelihood, in nats an image.",
      _WEIGHT, unused=0.)
  lambda_until: float = _field(
      0., 'Share of the steps over which both lambdas fall linearly to 0, for '
      'example 0.3; with 0 they are constant.', _SHARE, unused=0.)
  range_weight: float = _field(
      10., 'Weight of the mean squared distance of translated pixels from '
      '[0, 1].', _WEIGHT, unused=0.)
  range_l1_weight: float = _field(
      0., 'Weight of their mean absolute distance, which pulls on pixels just '
      'outside as well.', _WEIGHT, unused=0.)
  steps: int = _field(14_000, 'Number of generator updates.', _POSITIVE)
  batch_size: int = _field(16, 'Images of each domain in a batch.', _POSITIVE)
  learning_rate: float = _field(2e-4, "Adam's rate for the generators.", _RATE)
  critic_learning_rate: float = _field(
      2e-4, "Adam's rate for the critics.", _RATE)
  beta_1: float = _field(0.5, "Adam's decay of the first moment.", _DECAY)
  beta_2: float = _field(0.999, "Adam's decay of the second moment.", _DECAY)
  decay_from: float = _field(
      0.5, 'Share of the steps after which both rates fall linearly to 0.',
      _SHARE)
  clip_norm: float = _field(
      10., "Largest global norm of the generators' gradient; 0 for no limit.",
      _WEIGHT)
  magnitude_l2: float = _field(
      5e-5, 'Weight of half the squared L2 norm of all weight-norm magnitudes.',
      _WEIGHT, unused=0.)
  ema_decay: float = _field(
      0.999, "Decay of the moving average of the generators' weights.", _DECAY)
  critic_steps: int = _field(
      1, 'Number of critic updates for each generator update.', _POSITIVE)
  critic_width: int = _field(
      64, "Number of channels of the critics' first layer.", _POSITIVE)
  critic_layers: int = _field(
      3, 'Number of strided convolutions of the critics.', _POSITIVE)
  critic_noise: float = _field(
      0., "Standard deviation of the noise on the critics' inputs, which are "
      'in [-1, 1]; it hides small differences from them.', _WEIGHT)
  critic_shift: int = _field(
      0, 'Largest number of pixels by which images that critics see are '
      'shifted at random along each axis.', _COUNT)
  pool_size: int = _field(
      50, 'Number of past translations kept for critics; 0 for none.', _COUNT)
  precision: str = _field(
      'float32', 'Type in which the networks compute; flows and '
      'log-determinants stay float32.',
      _one_of('float32', 'mixed_bfloat16', 'mixed_float16'))
  memory: str = _field(
      'standard', "What gradients need of the forward pass: 'standard' stores "
      "it, 'reversible' computes it again from the output, for memory that "
      'does not grow with depth.',
      _one_of('standard', 'reversible'), unused='standard')
  xla: bool = _field(False, 'Whether steps are compiled with XLA.')
  strategy: str = _field(
      'default', "Devices of a step, which share each batch: 'default' is one, "
      "'mirrored' all GPUs of this machine, and 'multi_worker' those of all "
      'processes that TF_CONFIG names.',
      _one_of('default', 'mirrored', 'multi_worker'))
  deterministic: bool = _field(
      False, 'Whether the same run gives the same weights again, bit for bit.')
  seed: int = _field(0, 'Seed of all randomness.', _SEED)
  init_from: str | None = _field(
      None, 'Run directory whose weights a new run starts from, as far as they '
      'fit.')
  train_domains: tuple[str, ...] = _field(
      (), 'Domain whose adapter is trained, while all else stays as in '
      '`init_from`; repeat the flag. All are trained by default.', unused=())
  log_every: int = _field(
      50, 'Number of steps between lines of metrics.jsonl.', _POSITIVE)
  eval_every: int = _field(
      1000, 'Number of steps between validations, with sheets.', _POSITIVE)
  checkpoint_every: int = _field(
      500, 'Number of steps between checkpoints.', _POSITIVE)
  keep_checkpoints: int = _field(
      3, 'Number of newest checkpoints kept, and the best.', _POSITIVE)
  skip_limit: int = _field(
      20, 'Number of skipped steps (a loss or a gradient is not finite) that '
      'ends the run, among the last 2 * skip_limit.', _POSITIVE)

  def __post_init__(self) -> None:
    settings.check_fields(self)
    for field in unused_settings(self.model):
      value, wanted = getattr(self, field.name), field.metadata['unused']
      _check(value == wanted, field.name, value,
             f'{wanted!r} where `model={self.model}`, which does not use it')
    contradictions.check(self)

  def likelihood_weights(self, domains: tuple[str, ...]) -> dict[str, float]:
    """Lambda of each domain (equation 7)."""
    return {d: self.lambda_b if i else self.lambda_a
            for i, d in enumerate(domains)}

  @property
  def trains_trunk(self) -> bool:
    """Whether a trunk, where there is one, is trained at any step."""
    return bool(self.trunk_steps or
                self.trunk_later and self.objective != 'adversarial')

  @property
  def keeps_likelihood(self) -> bool:
    """Whether likelihoods are trained until the end, and may be judged by."""
    return self.objective != 'adversarial' and not self.lambda_until

  @property
  def has_critics(self) -> bool:
    """Whether critics are trained; without them steps translate nothing."""
    return self.objective != 'mle' and baselines.MODELS[self.model].critics

  def images_per_step(self) -> int:
    """Number of images of a domain in a step."""
    return self.batch_size * (self.critic_steps if self.has_critics else 1)

  def to_json(self) -> dict[str, Any]:
    """The configuration as JSON values."""
    return {name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()}

  @classmethod
  def from_json(cls, values: dict[str, Any]) -> Config:
    """The configuration of `to_json`.

    Raises:
      ConfigError: If a name is unknown or a value is out of range.
    """
    known = {f.name for f in dataclasses.fields(cls)}
    # A setting that is gone and was not used does not matter.
    unknown = sorted(name for name in set(values) - known
                     if values[name] is not None)
    if unknown:
      raise ConfigError(
          f'`{unknown[0]}` is no setting of this version of alignflow_tf; the '
          'run was made by another one.')
    made: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items() if name in known}
    return cls(**made)

  def flag_lines(self) -> str:
    """The configuration as a file for `--flagfile`."""
    lines = []
    for name, value in self.to_json().items():
      if value is None:
        continue
      if name == 'image_size' and isinstance(value, list):
        value = 'x'.join(map(str, value))
      for item in value if isinstance(value, list) else [value]:
        if isinstance(item, bool):
          lines.append(f'--{name}' if item else f'--no{name}')
        else:
          lines.append(f'--{name}={item}')
    return '\n'.join(lines) + '\n'


def unused_settings(model: str) -> list[dataclasses.Field[Any]]:
  """Fields of `Config` that a system does not use."""
  used = baselines.MODELS[model].settings
  return [field for field in dataclasses.fields(Config)
          if field.metadata['unused'] is not None and field.name not in used]


def resolve(preset: str | None = None, **overrides: Any) -> Config:
  """Makes a configuration from a preset and other settings.

  Args:
    preset: A name of `PRESETS`. None is the model's preset for the data set:
      `cpu` for AlignFlow on `digits`, for example, and `cpu_pictures` on other
      data.
    **overrides: Attributes of `Config`; those that are None are ignored.

  Returns:
    The configuration.

  Raises:
    ConfigError: If the preset is unknown, a value is out of range, or a setting
      does nothing for the model or the objective.
  """
  given = {name: v for name, v in overrides.items() if v is not None}
  if preset is None:
    model = given.get('model', Config.model)
    _check(model in baselines.MODELS, 'model', model,
           'one of ' + ', '.join(baselines.MODELS))
    preset = presets.default(model, given.get('dataset', Config.dataset))
  _check(preset in PRESETS, 'preset', preset,
         'one of ' + ', '.join(PRESETS))
  values = {**PRESETS[preset], **given, 'preset': preset}
  model = values['model']
  if model in baselines.MODELS:
    if model != PRESETS[preset]['model']:
      # The rest of the preset is another model's.
      own = PRESETS[presets.default(model, '')]
      for name in baselines.MODELS[model].settings:
        values[name] = given.get(name, own.get(name, getattr(Config, name)))
    for field in unused_settings(model):
      values[field.name] = given.get(field.name, field.metadata['unused'])
  zero = (('lambda_a', 'lambda_b') if (
      values.get('objective') == 'adversarial') else ()) + (
          ('trunk_steps', 'trunk_later') if values.get('train_domains') else ())
  values |= {name: given.get(name, 0) for name in zero}
  for field in dataclasses.fields(Config):
    value = values.get(field.name)
    if str(field.type).startswith('float') and type(value) is int:
      values[field.name] = float(value)
  if isinstance(values.get('data_dir'), str):
    values['data_dir'] = os.path.expanduser(values['data_dir'])
  config = Config(**values)
  # Of new runs alone: those of before are still read.
  if config.trunk != 'none' and not (config.init_from or config.trains_trunk):
    raise ConfigError(
        f'`trunk` must be none where nothing trains it, got {config.trunk!r}: '
        'give `trunk_steps`; or `trunk_later` and an `objective` other than '
        'adversarial; or `init_from`, a run that has a trained one.')
  return config

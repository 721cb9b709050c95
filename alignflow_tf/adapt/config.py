"""Settings of domain adaptation, and the paper's figures."""

from __future__ import annotations

import dataclasses
from typing import Any

from alignflow_tf import _errors
from alignflow_tf import data
from alignflow_tf.train import config as train_config
from alignflow_tf.train import settings as settings_lib

TASKS = ('mnist_usps', 'usps_mnist', 'svhn_mnist')
# Accuracy on the target's test images, percent, and its spread in the paper:
# table 2 of https://arxiv.org/abs/1905.12892.
PAPER: dict[tuple[str, str], tuple[float, float | None]] = {
    ('mnist_usps', 'source_only'): (82.2, 0.8),
    ('mnist_usps', 'adda'): (89.4, 0.2),
    ('mnist_usps', 'cycada'): (95.6, 0.2),
    ('mnist_usps', 'alignflow'): (96.2, 0.2),
    ('mnist_usps', 'target_only'): (96.3, 0.1),
    ('usps_mnist', 'source_only'): (69.6, 3.8),
    ('usps_mnist', 'adda'): (90.1, 0.8),
    ('usps_mnist', 'cycada'): (96.5, 0.1),
    ('usps_mnist', 'alignflow'): (96.7, 0.1),
    ('usps_mnist', 'target_only'): (99.2, 0.1),
    ('svhn_mnist', 'source_only'): (67.1, 0.6),
    ('svhn_mnist', 'adda'): (76.0, 1.8),
    ('svhn_mnist', 'cycada'): (90.4, 0.4),
    ('svhn_mnist', 'alignflow'): (91.0, 0.3),
    ('svhn_mnist', 'target_only'): (99.2, 0.1),
}
# The aim of `alignflow+`: SHOT, https://arxiv.org/abs/2002.08546, with the
# same classifiers (`results.md` of its code).
SHOT: dict[str, float] = {
    'mnist_usps': 97.9, 'usps_mnist': 98.0, 'svhn_mnist': 98.9}


# How pictures are read: settings of the adaptation, and of its translators.
_READING = ('fit', 'load_size', 'flip', 'standard_levels', 'skip_unreadable',
            'max_pixels')
# Settings of all translators, and of each kind.
_TRANSLATORS = ('translator', 'alignflow', 'cyclegan', 'unit')
# Settings of a translator's training that follow from the adaptation's, or that
# have no use since the images are read already.
_OWN = frozenset({
    'cache', 'cache_dir', 'channels', 'data_dir', 'dataset', 'domain',
    'download', 'image_size', 'label_by_folder', 'model', 'seed',
    *_READING})


_field = settings_lib.field
_DECAY, _POSITIVE, _RATE = (
    settings_lib.DECAY, settings_lib.POSITIVE, settings_lib.RATE)
_WEIGHT = settings_lib.WEIGHT


class AdaptError(_errors.UserError, ValueError):
  """Unusable settings or directory; names the argument and the reason."""


@dataclasses.dataclass(frozen=True)
class Settings(settings_lib.Reading):
  """Settings of an adaptation, other than the data, the method and the seed.

  `python -m alignflow_tf.adapt --help` prints each field with its meaning.
  """
  preset: str = _field(
      'cpu', 'Starting point, whose settings other flags replace.')
  network: str = _field(
      'lenet', "Classifier: 'lenet', 'dtn', or 'strided' for any size.",
      settings_lib.one_of('lenet', 'dtn', 'strided'))
  classifier_size: int = _field(
      0, 'Size to resize images to before classification, bilinearly; 0 keeps '
      'their size.', settings_lib.COUNT)
  translator: tuple[str, ...] = _field(
      (), 'name=value of `train.Config` for all kinds of translators, for '
      'example steps=700; repeat the flag.')
  alignflow: tuple[str, ...] = _field((), 'The same for AlignFlow only.')
  cyclegan: tuple[str, ...] = _field((), 'The same for CycleGAN only.')
  unit: tuple[str, ...] = _field((), 'The same for UNIT only.')
  semantic_weight: float = _field(
      1., 'Weight of the semantic term from source labels.', _WEIGHT)
  semantic_target_weight: float = _field(
      1., 'Weight of the semantic term from predictions.', _WEIGHT)
  semantic_on_translations: bool = _field(
      True, 'Whether the semantic classifier is trained on translations as '
      'well as on source images; with semantic_guide it never is.')
  semantic_noise: float = _field(
      0.15, "Standard deviation of the noise on the semantic classifier's "
      'images, in [-1, 1].', _WEIGHT)
  semantic_augment: bool = _field(
      False, 'Whether its images are warped at random, so that it demands the '
      "class of a translation rather than the source's style.")
  semantic_guide: bool = _field(
      False, 'Whether target images have labels in the training of a '
      'translator: predictions of a classifier that is adapted before, without '
      'a translator, by the stages classifier, feature and target.')
  semantic_critics: bool = _field(
      False, 'Whether critics see the classes of images; with semantic_guide '
      'alone.')
  translated_images: int | None = _field(
      None, 'Largest number of source images that are translated, the first '
      'ones of a fixed shuffle; all by default.', _POSITIVE)
  few_labels: int = _field(
      0, 'Number of images of each class of the target whose labels '
      'classifiers learn from: the first ones of its training split. With 0, '
      'no label of the target is used.', settings_lib.COUNT)
  batch_size: int = _field(
      128, 'Images per update in all stages but the translator.',
      (lambda value: value >= 2, 'an integer of 2 or more'))
  classifier_steps: int = _field(
      2_000, 'Updates of the classifier stage.', _POSITIVE)
  classifier_rate: float = _field(
      1e-3, "Adam's rate, falling to 0 by a cosine.", _RATE)
  classifier_augment: bool = _field(
      False, 'Whether its images are warped at random.')
  feature_steps: int = _field(
      1_000, 'Updates of the feature stage (ADDA).', _POSITIVE)
  feature_rate: float = _field(
      1e-4, "Adam's rate for target network and discriminator.", _RATE)
  feature_beta_1: float = _field(0.9, "Adam's first decay.", _DECAY)
  feature_gate: float = _field(
      0.6, "The target network learns only while the discriminator's accuracy "
      'is above this.', _DECAY)
  feature_source_weight: float = _field(
      0., 'Weight of the cross-entropy on the (translated) source, in addition '
      'to the adversarial term; 0 in ADDA.', _WEIGHT)
  feature_average: float = _field(
      0., "Decay of the moving average of the target network's weights; 0 "
      'keeps the last weights.', _DECAY)
  class_priors: bool = _field(
      False, 'Whether the feature and target stages expect the class '
      'frequencies that the classifier finds in the target, in place of those '
      'of the source (feature) or equal ones (target). Use it where '
      'frequencies differ, since matching distributions would then move images '
      'to other classes; do not use it where the classifier misses classes.')
  target_steps: int = _field(800, 'Updates of the target stage.', _POSITIVE)
  target_rate: float = _field(1e-3, "Adam's rate.", _RATE)
  target_source_weight: float = _field(
      1., 'Weight of the cross-entropy on translated source images.', _WEIGHT)
  target_information_weight: float = _field(
      1., 'Weight of information maximisation.', _WEIGHT)
  target_pseudo_weight: float = _field(
      0.3, "Weight of the cross-entropy with the averaged network's labels.",
      _WEIGHT)
  target_confidence: float = _field(
      0., 'Smallest probability of a label that is used.', _DECAY)
  target_average: float = _field(
      0.99, 'Decay of the averaged network.', _DECAY)
  augment_scale: float = _field(
      0.1, 'Standard deviation of the linear part of random warps, in the '
      'target stage and wherever `*_augment` is set.', _WEIGHT)
  augment_shift: float = _field(
      0.1, 'Largest random shift of these warps, as a share of the width of '
      'the image.', _WEIGHT)

  def __post_init__(self) -> None:
    settings_lib.check_fields(self, check)
    check(self.semantic_guide or not self.semantic_critics, 'semantic_critics',
          self.semantic_critics, 'False without `semantic_guide`')
    for name in _TRANSLATORS:
      for item in getattr(self, name):
        check('=' in item, name, item, 'name=value of a training setting')
        key = item.split('=', 1)[0]
        check(key not in _READING, name, item,
               f'a setting of the translator alone: `{key}` is one of the '
               f'whole adaptation (--{key})')
        check(key not in _OWN, name, item,
               'a setting of the translator alone: images, model and seed are '
               'those of the adaptation')

  def reading(self) -> dict[str, Any]:
    """How pictures are read, for `data.load` and `train.Config`."""
    return {name: getattr(self, name) for name in _READING}

  def of_translator(self, kind: str) -> dict[str, Any]:
    """The settings of training that a kind of translator is given, by name.

    Args:
      kind: 'alignflow', 'cyclegan' or 'unit'.

    Raises:
      AdaptError: If one is unknown or does not parse.
    """
    given = {}
    for name in ('translator', kind):
      for item in getattr(self, name):
        try:
          key, value = settings_lib.parse(item, train_config.Config)
        except ValueError as e:
          raise AdaptError(f'`{name}` {e}') from e
        given[key] = value
    return given

  def to_json(self) -> dict[str, Any]:
    """The settings as JSON values."""
    return {k: list(v) if isinstance(v, tuple) else v
            for k, v in dataclasses.asdict(self).items()}


def check(good: bool, name: str, value: Any, expected: str) -> None:
  """Raises AdaptError, which names the argument, unless it is good."""
  if not good:
    raise AdaptError(f'`{name}` must be {expected}, got {value!r}.')


# `cpu` is for two cores. Its digits are warped at random wherever a classifier
# learns, and translators have framings, since USPS's digits fill the picture
# and MNIST's do not. `cpu_pictures` is for a user's own pictures, of which
# nothing is known: no framings, no warps, and a classifier for any size.
#
# `paper` and `paper_svhn` are as near to table 2 as can be said: AlignFlow of
# appendix B, trained adversarially (section 5.2) for the 200 epochs of
# appendix B.1, in the place of CyCADA's CycleGAN, whose code has 200 epochs
# too, then 100 of the classifier and 200 of the feature stage.
# docs/results/adaptation_details.md lists where they leave that code. An epoch
# of a translator is one of the larger set and one of the feature stage one of
# the smaller, in the images there are here, where validation images are held
# out (in training 54,000 of MNIST, 6,562 of USPS, 65,932 of SVHN).
_CPU = ('preset=cpu', 'batch_size=16', 'steps=700', 'eval_every=700',
        'learning_rate=5e-4', 'critic_learning_rate=5e-4', 'framing=True')
# A LeNet of grey images, warped at random; the feature stage with the source's
# labels, an average and priors.
_LENET: dict[str, Any] = {
    'channels': 1, 'semantic_augment': True, 'classifier_steps': 1_500,
    'classifier_augment': True, 'feature_rate': 5e-4, 'feature_beta_1': 0.5,
    'feature_source_weight': 1., 'feature_average': 0.99, 'class_priors': True,
}
PRESETS: dict[str, dict[str, Any]] = {
    'cpu': _LENET | {
        'image_size': 16, 'classifier_size': 28, 'translator': _CPU,
        'cyclegan': ('num_scales=2', 'width=30', 'num_blocks=2',
                     'cycle_weight=1.', 'clip_norm=0.'),
        'unit': ('num_scales=2', 'width=16', 'num_blocks=5',
                 'cycle_weight=1.', 'kl_weight=0.01', 'clip_norm=0.'),
        'translated_images': 30_000, 'target_steps': 4_000,
    },
    'cpu_svhn': _LENET | {
        'image_size': 32, 'standard_levels': True,
        'translator': ('preset=cpu_pictures', 'steps=5000', 'eval_every=1000',
                       'learning_rate=1e-3', 'critic_learning_rate=5e-4',
                       'critic_width=16'),
        'alignflow': ('flow=couplings', 'num_scales=2', 'width=24',
                      'objective=adversarial'),
        'cyclegan': ('num_scales=3', 'width=10', 'num_blocks=3',
                     'cycle_weight=1.', 'clip_norm=0.'),
        'unit': ('num_scales=3', 'width=8', 'num_blocks=3', 'cycle_weight=1.',
                 'kl_weight=0.01', 'clip_norm=0.'),
        'semantic_guide': True, 'semantic_critics': True,
        'semantic_weight': 5., 'target_steps': 3_000,
    },
    'cpu_pictures': {
        'image_size': 32, 'network': 'strided',
        'alignflow': ('preset=cpu_pictures',),
        'cyclegan': ('preset=cyclegan_cpu', 'cycle_weight=1.'),
        'unit': ('preset=cyclegan_cpu', 'cycle_weight=1.', 'kl_weight=0.01'),
        'translated_images': 10_000,
    },
    'paper': {
        'image_size': 32, 'channels': 1, 'classifier_size': 28,
        'semantic_on_translations': False, 'semantic_noise': 0.,
        'alignflow': ('preset=paper', 'objective=adversarial',
                      'batch_size=16', 'steps=675000'),
        'cyclegan': ('preset=cyclegan', 'cycle_weight=1.', 'batch_size=100',
                     'steps=108000'),
        'unit': ('preset=unit', 'cycle_weight=1.', 'batch_size=100',
                 'steps=108000'),
        'classifier_steps': 42_200, 'classifier_rate': 1e-4,
        'feature_steps': 11_400, 'feature_rate': 1e-5, 'feature_beta_1': 0.9,
    },
    'paper_svhn': {
        'image_size': 32, 'channels': 3, 'network': 'dtn',
        'semantic_on_translations': False, 'semantic_noise': 0.,
        'alignflow': ('preset=paper', 'objective=adversarial',
                      'batch_size=16', 'steps=824200'),
        'cyclegan': ('preset=cyclegan', 'cycle_weight=1.', 'batch_size=100',
                     'steps=132000'),
        'unit': ('preset=unit', 'cycle_weight=1.', 'batch_size=100',
                 'steps=132000'),
        'classifier_steps': 51_600, 'classifier_rate': 1e-4,
        'feature_steps': 93_800, 'feature_rate': 1e-5, 'feature_beta_1': 0.9,
    },
}
# Changes of a preset for a data set: the epochs of another source.
_OF_DATASET: dict[tuple[str, str], dict[str, Any]] = {
    ('paper', 'usps_mnist'): {
        'classifier_steps': 5_200, 'feature_steps': 10_400},
}


def _preset_of(dataset: str | None) -> str:
  """The preset for a data set: by its name, as its images are not read yet."""
  info = data.DATASETS.get(dataset or '')
  if info is None or info.kind not in ('digits', 'embedded'):
    return 'cpu_pictures'
  return 'cpu_svhn' if 'svhn' in info.domains else 'cpu'


def resolve(preset: str | None = None, dataset: str | None = None,
            **overrides: Any) -> Settings:
  """Settings from a preset and overrides.

  Args:
    preset: A name of `PRESETS`; None for `cpu_svhn` if the data set is one of
      digits with SVHN in it, `cpu` for other digits, and `cpu_pictures` for
      all others.
    dataset: Name of the data set, for example one of `TASKS`, or None for a
      user's own data.
    **overrides: Attributes of `Settings`; those that are None are left alone.
      `translator`, `alignflow`, `cyclegan` and `unit` are appended to the
      preset's.

  Returns:
    The settings.

  Raises:
    AdaptError: If the preset is unknown or a value is out of range.
  """
  if preset is None:
    preset = _preset_of(dataset)
  if preset not in PRESETS:
    raise AdaptError(
        f'`preset` must be one of {", ".join(PRESETS)}, got {preset!r}.')
  values = PRESETS[preset] | _OF_DATASET.get((preset, dataset or ''), {}) | {
      'preset': preset}
  for name, value in overrides.items():
    if value is None:
      continue
    if name in _TRANSLATORS:
      value = (*values.get(name, ()), *value)
    values[name] = value
  return Settings(**values)

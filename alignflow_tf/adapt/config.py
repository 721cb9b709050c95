"""Settings of domain adaptation, and the paper's figures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from alignflow_tf import data
from alignflow_tf.train import assignment
from alignflow_tf.train import config as train_config

__all__ = [
    'PAPER', 'PRESETS', 'SHOT', 'TASKS', 'AdaptError', 'Settings', 'check',
    'resolve'
]

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
_READING = ('fit', 'load_size', 'flip', 'skip_unreadable', 'max_pixels')
# Settings of a translator's training that follow from the adaptation's, or that
# have no use since the images are read already.
_OWN = frozenset({
    'cache', 'cache_dir', 'channels', 'data_dir', 'data_service', 'dataset',
    'domain', 'download', 'image_size', 'label_by_folder', 'model', 'seed',
    *_READING})


class AdaptError(ValueError):
  """Unusable settings or directory; names the argument and the reason."""


@dataclasses.dataclass(frozen=True)
class Settings:
  """Settings of an adaptation, besides the data, the method and the seed.

  Attributes:
    preset: Name of the preset that the rest started from.
    image_size: Height and width of all images; None for the data set's own.
    channels: 1 (grey) or 3 (colour); None for the data set's own.
    fit: How a picture is brought to the image size: 'crop' (the largest middle
      part), 'stretch' or 'pad'; None for the data set's own. Pictures only.
    load_size: Size to resize to before a crop of `image_size`, random where a
      translator is trained, the middle elsewhere; None for no crop. Pictures
      only.
    flip: Whether the images a translator is trained on are mirrored at random.
      Pictures only.
    skip_unreadable: Whether unreadable pictures are counted and left out.
    max_pixels: Largest width times height of a picture that is read.
    network: Classifier: 'lenet', 'dtn', or 'strided' for any size.
    classifier_size: Size to resize images to before classification, bilinearly;
      0 keeps their size.
    translator: `name=value` of `train.Config` for both kinds of translators,
      for example 'steps=700'.
    alignflow: The same for AlignFlow only.
    cyclegan: The same for CycleGAN only.
    semantic_weight: Weight of the semantic term from source labels.
    semantic_target_weight: Weight of the semantic term from predictions.
    semantic_on_translations: Whether the semantic classifier is trained on
      translations as well as on source images.
    semantic_noise: Standard deviation of the noise on the semantic classifier's
      images, in [-1, 1].
    semantic_augment: Whether its images are warped at random, so that it
      demands the class of a translation rather than the source's style.
    translated_images: Largest number of source images that are translated, the
      first ones of a fixed shuffle; None for all.
    batch_size: Images per update in all stages but the translator.
    classifier_steps: Updates of the classifier stage.
    classifier_rate: Adam's rate, falling to 0 by a cosine.
    classifier_augment: Whether its images are warped at random.
    feature_steps: Updates of the feature stage (ADDA).
    feature_rate: Adam's rate for target network and discriminator.
    feature_beta_1: Adam's first decay.
    feature_gate: The target network learns only while the discriminator's
      accuracy is above this.
    feature_source_weight: Weight of the cross-entropy on the (translated)
      source, in addition to the adversarial term; 0 in ADDA.
    feature_average: Decay of the moving average of the target network's
      weights; 0 keeps the last weights.
    class_priors: Whether the feature and target stages expect the class
      frequencies that the classifier finds in the target, in place of those of
      the source (feature) or equal ones (target). Use it where frequencies
      differ, since matching distributions would then move images to other
      classes; do not use it where the classifier misses classes.
    target_steps: Updates of the target stage.
    target_rate: Adam's rate.
    target_source_weight: Weight of the cross-entropy on translated source
      images.
    target_information_weight: Weight of information maximisation.
    target_pseudo_weight: Weight of the cross-entropy with the averaged
      network's labels.
    target_confidence: Smallest probability of a label that is used.
    target_average: Decay of the averaged network.
    augment_scale: Standard deviation of the linear part of random warps, in the
      target stage and wherever `*_augment` is set.
    augment_shift: Largest random shift of these warps, as a share of the
      image's width.
  """
  preset: str = 'cpu'
  image_size: int | None = None
  channels: int | None = None
  fit: str | None = None
  load_size: int | None = None
  flip: bool = False
  skip_unreadable: bool = False
  max_pixels: int = train_config.Config.max_pixels
  network: str = 'lenet'
  classifier_size: int = 0
  translator: tuple[str, ...] = ()
  alignflow: tuple[str, ...] = ()
  cyclegan: tuple[str, ...] = ()
  semantic_weight: float = 1.
  semantic_target_weight: float = 1.
  semantic_on_translations: bool = True
  semantic_noise: float = 0.15
  semantic_augment: bool = False
  translated_images: int | None = None
  batch_size: int = 128
  classifier_steps: int = 2_000
  classifier_rate: float = 1e-3
  classifier_augment: bool = False
  feature_steps: int = 1_000
  feature_rate: float = 1e-4
  feature_beta_1: float = 0.9
  feature_gate: float = 0.6
  feature_source_weight: float = 0.
  feature_average: float = 0.
  class_priors: bool = False
  target_steps: int = 800
  target_rate: float = 1e-3
  target_source_weight: float = 1.
  target_information_weight: float = 1.
  target_pseudo_weight: float = 0.3
  target_confidence: float = 0.
  target_average: float = 0.99
  augment_scale: float = 0.1
  augment_shift: float = 0.1

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      train_config.check_type(
          field.name, field.type, getattr(self, field.name), check)
    for name in ('image_size', 'load_size'):
      value = getattr(self, name)
      check(value is None or 8 <= value <= 4096, name, value,
             'between 8 and 4096 pixels')
    check(self.fit in (None, 'crop', 'stretch', 'pad'), 'fit', self.fit,
           "'crop', 'stretch' or 'pad'")
    check(self.channels in (None, 1, 3), 'channels', self.channels, '1 or 3')
    for name, least in (('batch_size', 2), ('classifier_steps', 1),
                        ('feature_steps', 1), ('target_steps', 1),
                        ('classifier_size', 0), ('max_pixels', 1)):
      check(getattr(self, name) >= least, name, getattr(self, name),
             f'an integer of {least} or more')
    check(self.translated_images is None or self.translated_images >= 1,
           'translated_images', self.translated_images, 'None or positive')
    for name in ('classifier_rate', 'feature_rate', 'target_rate'):
      check(0. < getattr(self, name) <= 1., name, getattr(self, name),
             'above 0 and at most 1')
    for name in ('semantic_weight', 'semantic_target_weight', 'semantic_noise',
                 'feature_source_weight', 'target_source_weight',
                 'target_information_weight', 'target_pseudo_weight',
                 'augment_scale', 'augment_shift'):
      check(0. <= getattr(self, name) < math.inf, name, getattr(self, name),
             'finite and not negative')
    for name in ('feature_beta_1', 'feature_gate', 'feature_average',
                 'target_confidence', 'target_average'):
      check(0. <= getattr(self, name) < 1., name, getattr(self, name),
             'at least 0 and below 1')
    check(self.network in ('lenet', 'dtn', 'strided'), 'network',
           self.network, "'lenet', 'dtn' or 'strided'")
    for name in ('translator', 'alignflow', 'cyclegan'):
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
      kind: 'alignflow' or 'cyclegan'.

    Raises:
      AdaptError: If one is unknown or does not parse.
    """
    given = {}
    for name in ('translator', kind):
      for item in getattr(self, name):
        try:
          key, value = assignment.parse(item)
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
# learns, and its flows have framings, since USPS's digits fill the picture and
# MNIST's do not. `cpu_pictures` is for a user's own pictures, of which nothing
# is known: no framings, no warps, and a classifier for any size.
#
# `paper` and `paper_svhn` are as near to table 2 as can be said: AlignFlow of
# appendix B, trained adversarially (section 5.2) for the 200 epochs of
# appendix B.1, in the place of CyCADA's CycleGAN, whose code has 200 epochs
# too, then 100 of the classifier and 200 of the feature stage.
# docs/adaptation.md lists where they leave that code. An epoch of a translator
# is one of the larger set and one of the feature stage one of the smaller, in
# the images there are here, where validation images are held out (in training
# 54,000 of MNIST, 6,562 of USPS, 65,932 of SVHN).
_CPU = ('preset=cpu', 'batch_size=16', 'steps=700', 'eval_every=700',
        'learning_rate=5e-4', 'critic_learning_rate=5e-4')
PRESETS: dict[str, dict[str, Any]] = {
    'cpu': {
        'image_size': 16, 'channels': 1, 'classifier_size': 28,
        'translator': _CPU, 'alignflow': ('framing=True',),
        'cyclegan': ('num_scales=2', 'width=32', 'num_blocks=2',
                     'cycle_weight=1.', 'clip_norm=0.'),
        'semantic_augment': True,
        'translated_images': 30_000,
        'classifier_steps': 1_500, 'classifier_augment': True,
        'feature_rate': 5e-4, 'feature_beta_1': 0.5,
        'feature_source_weight': 1., 'feature_average': 0.99,
        'class_priors': True, 'target_steps': 4_000,
    },
    'cpu_svhn': {
        'image_size': 32, 'channels': 1, 'network': 'dtn',
        'translator': ('preset=cpu_pictures', 'steps=1500'),
        'translated_images': 10_000,
        'cyclegan': ('num_blocks=4', 'cycle_weight=1.', 'clip_norm=0.'),
    },
    'cpu_pictures': {
        'image_size': 32, 'network': 'strided',
        'alignflow': ('preset=cpu_pictures',),
        'cyclegan': ('preset=cyclegan_cpu', 'cycle_weight=1.'),
        'translated_images': 10_000,
    },
    'paper': {
        'image_size': 32, 'channels': 1, 'classifier_size': 28,
        'semantic_on_translations': False, 'semantic_noise': 0.,
        'alignflow': ('preset=paper', 'objective=adversarial',
                      'batch_size=16', 'steps=675000'),
        'cyclegan': ('preset=cyclegan', 'cycle_weight=1.', 'batch_size=100',
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
      `translator`, `alignflow` and `cyclegan` are appended to the preset's.

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
    if name in ('translator', 'alignflow', 'cyclegan'):
      value = (*values.get(name, ()), *value)
    values[name] = value
  return Settings(**values)

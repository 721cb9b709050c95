"""`tfds:NAME[/CONFIG][#FEATURE]`: any image set of TensorFlow Datasets.

For example, `tfds:kmnist`, `tfds:cycle_gan/maps` or `tfds:voc#image`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Any

import numpy as np

from alignflow_tf import _io
from alignflow_tf.data import network
from alignflow_tf.data import records
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data.domain import check_batch
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.recipe import Recipe
from alignflow_tf.data.source import Reading
from alignflow_tf.data.stores import Store

PREFIX = 'tfds:'
_URL = 'https://storage.googleapis.com/tfds-data/'


@dataclasses.dataclass
class TfdsSet:
  """A TFDS set that was found, before its images are read.

  Attributes:
    name: Name of the domain.
    spec: The name that the user gave, without the prefix.
    found: The records.
    image: Name of the feature that holds the image.
    shape: Its shape; None where it differs from image to image.
    label: Name of the feature that holds the label, or None.
    classes: Names of the classes; empty without labels.
    parts: Keys of the images of each split.
    rule: The rule of the splits, in words.
  """

  name: str
  spec: str
  found: records.Records
  image: str
  shape: tuple[int | None, ...]
  label: str | None
  classes: list[str]
  parts: dict[str, list[str]]
  rule: str

  @property
  def grey(self) -> bool:
    """Whether its images have one channel."""
    return self.shape[-1] == 1

  @property
  def size(self) -> int:
    """Number of training images."""
    return len(self.parts['train'])


def open_set(name: str, spec: str, reading: Reading) -> TfdsSet:
  """Finds, or downloads, a TFDS set.

  Args:
    name: Name of the domain.
    spec: 'tfds:NAME[/CONFIG][#FEATURE]'.
    reading: How it is to be read.

  Returns:
    The set.

  Raises:
    DataError: If there is no such set, it cannot be had, or it has no images
      of 8 bits.
  """
  tfds_name, _, feature = spec[len(PREFIX):].partition('#')
  if not re.fullmatch(r'[a-z][a-z0-9_]*(/[\w.-]+)?', tfds_name):
    raise DataError(
        f'`domain` gives {spec!r} for domain {name!r}; a TFDS set is named as '
        'tfds:NAME, tfds:NAME/CONFIG or tfds:NAME#FEATURE.')
  if not records.find(reading.data_dir, tfds_name):
    config = getattr(
        _builder(tfds_name, network.data_dir(reading.data_dir)),
        'builder_config', None)
    if config is not None and '/' not in tfds_name:
      tfds_name = f'{tfds_name}/{config.name}'
  folder = records.ensure(
      tfds_name, reading.data_dir, reading.download, _URL,
      lambda data_dir: _builder(tfds_name, data_dir))
  records.refuse_streaming(reading.cache, folder)
  found = records.Records(folder)
  image, shape, label, classes = _features(found.features(), spec, feature)
  groups = {
      splits_lib.NAMES[s]: [splits_lib.Named(f'{s}/{i}') for i in range(n)]
      for s, n in found.counts.items() if s in splits_lib.NAMES}
  if 'train' not in groups:
    raise DataError(
        f'{spec!r} has no training split; it has {found.counts}.')
  parts, rule = splits_lib.complete(groups, folder)
  result = TfdsSet(
      name, spec[len(PREFIX):], found, image, shape, label, classes,
      {s: [p.key for p in ps] for s, ps in parts.items()}, rule)
  check_batch(name, result.size, reading.batch_size)
  return result


def _builder(tfds_name: str, data_dir: str) -> Any:
  import tensorflow_datasets as tfds  # pylint: disable=import-outside-toplevel
  try:
    return tfds.builder(tfds_name, data_dir=data_dir)
  except Exception as error:  # TFDS prints its whole catalogue.
    name = tfds_name.split('/')[0]
    close = difflib.get_close_matches(name, tfds.list_builders(), 3, 0.5)
    raise DataError(
        f"`domain` gives 'tfds:{tfds_name}', which TFDS does not know "
        f'({_io.first_line(error, 100)}).'
        + (f' Did you mean {", ".join(close)}?' if close else '')) from error


def _features(
    features: Any, spec: str, wanted: str
) -> tuple[str, tuple[int | None, ...], str | None, list[str]]:
  """Image feature, its shape, label feature and names of the classes."""
  import tensorflow_datasets as tfds  # pylint: disable=import-outside-toplevel
  images = [k for k, f in features.items()
            if isinstance(f, tfds.features.Image)]
  name = wanted or ('image' if 'image' in images else '')
  if not name and len(images) == 1:
    name = images[0]
  if name not in images:
    raise DataError(
        f'{spec!r} must name one feature that is an image, as '
        f"'{spec.split('#')[0]}#FEATURE'; images in it: {images}.")
  image = features[name]
  if np.dtype(image.np_dtype) != np.uint8:
    raise DataError(
        f'{spec!r} holds images of {np.dtype(image.np_dtype)}; those of uint8 '
        'are read.')
  labels = [k for k, f in features.items()
            if isinstance(f, tfds.features.ClassLabel)]
  label = 'label' if 'label' in labels else (
      labels[0] if len(labels) == 1 else None)
  classes = list(features[label].names) if label else []
  return name, tuple(image.shape), label, classes


def to_domain(
    given: TfdsSet, recipe: Recipe, reading: Reading, labelled: bool
) -> Domain:
  """The domain of a set.

  Args:
    given: The set.
    recipe: How its images become images of the domain.
    reading: How it is to be read.
    labelled: Whether the domain has labels.

  Returns:
    The domain; its images are read when they are first used.
  """
  height, width, channels = given.shape
  # Images of one size are resized many at a time.
  whole = bool(height and width) and channels in (1, 3) and (
      recipe.fit == 'stretch'
      or (height or 0) * recipe.size[1] == (width or 0) * recipe.size[0])

  def open_split(split: str) -> Store:
    keys = given.parts[split]
    places = [key.split('/') for key in keys]
    held = given.found.cached(
        places[0][0], recipe, reading, given.image, given.label, whole)
    if not labelled:
      held = dataclasses.replace(held, labels=None)
    return held.store(np.array([int(place[1]) for place in places]), keys)

  return Domain(
      name=given.name, sizes={s: len(k) for s, k in given.parts.items()},
      open_split=open_split, labelled=labelled,
      grey_copied=recipe.channels == 3 and given.grey,
      info={'source': f'TFDS {given.spec}', 'place': PREFIX + given.spec,
            'licence': "the set's own, see its page in TFDS's catalogue",
            'read_from': given.found.folder, 'splits': given.rule,
            'resizing': recipe.rule(),
            'channels': 'grey copied to 3' if (
                recipe.channels == 3 and given.grey) else (
                    'RGB' if recipe.channels == 3 else 'grey')})

"""The unpaired sets of CycleGAN: TFDS's records, or the unpacked archive."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from alignflow_tf.data import caching
from alignflow_tf.data import network
from alignflow_tf.data import pictures as pictures_lib
from alignflow_tf.data import records
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data.domain import check_batch
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.recipe import Recipe
from alignflow_tf.data.source import DatasetInfo
from alignflow_tf.data.source import Opened
from alignflow_tf.data.source import Reading
from alignflow_tf.data.sources import folders

URL = 'https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/'
# Domain names and published counts, trainA/trainB/testA/testB.
SETS = {
    'apple2orange': (('apple', 'orange'), (995, 1019, 266, 248)),
    'summer2winter_yosemite': (('summer', 'winter'), (1231, 962, 309, 238)),
    'horse2zebra': (('horse', 'zebra'), (1067, 1334, 120, 140)),
    'monet2photo': (('monet', 'photo'), (1072, 6287, 121, 751)),
    'cezanne2photo': (('cezanne', 'photo'), (525, 6287, 58, 751)),
    'ukiyoe2photo': (('ukiyoe', 'photo'), (562, 6287, 263, 751)),
    'vangogh2photo': (('vangogh', 'photo'), (400, 6287, 400, 751)),
    'iphone2dslr_flower': (('iphone', 'dslr'), (1812, 3325, 569, 480)),
}
LICENCE = 'ImageNet, Flickr and WikiArt pictures; research use'


def find(name: str, data_dir: str | None) -> str | None:
  """The folder with trainA, trainB, testA and testB of a set, or None."""
  root = network.data_dir(data_dir)
  for folder in (
      os.path.join(root, 'cycle_gan', name),
      os.path.join(root, name),
      os.path.join(root, 'downloads', 'manual', name),
  ):
    if all(os.path.isdir(os.path.join(folder, s + side))
           for s in ('train', 'test') for side in 'AB'):
      return folder
  return None


@dataclasses.dataclass(frozen=True)
class Unpaired:
  """Both domains of an unpaired set; a `Source`."""

  name: str

  @property
  def info(self) -> DatasetInfo:
    """The facts about the set."""
    names, counts = SETS[self.name]
    return DatasetInfo(
        self.name, names, 64, 3,
        f'{names[0]} {counts[0]:,} / {counts[2]:,}; {names[1]} {counts[1]:,} '
        f'/ {counts[3]:,}',
        f'TFDS cycle_gan/{self.name}', LICENCE, 'unpaired', pictures=True)

  def open(self, reading: Reading) -> Opened:
    channels = reading.channels or 3
    return Opened(
        _domains(self.name, reading, reading.recipe(channels)), channels)


def _domains(name: str, reading: Reading, recipe: Recipe) -> list[Domain]:
  names, published = SETS[name]
  data_dir = reading.data_dir
  info: dict[str, Any] = {
      'source': f'TFDS cycle_gan/{name} ({URL})',
      'licence': LICENCE,
  }
  folder = find(name, data_dir)
  if folder and not records.find(data_dir, f'cycle_gan/{name}'):
    opened = [_open_folder(d, folder, side, reading)
              for d, side in zip(names, 'AB', strict=True)]
    for f in opened:
      check_batch(f.name, len(f.parts['train']), reading.batch_size)
    return [folders.to_domain(f, recipe, reading, info) for f in opened]

  def make_builder(root: str) -> Any:
    import tensorflow_datasets as tfds  # pylint: disable=import-outside-toplevel
    return tfds.builder(f'cycle_gan/{name}', data_dir=root)

  folder = records.ensure(
      f'cycle_gan/{name}', data_dir, reading.download, URL, make_builder,
      also=f' (or the unpacked archive, {name}/trainA and so on, in it)')
  records.refuse_streaming(reading.cache, folder)
  found = records.Records(folder)
  return [
      _from_records(d, found, side, recipe, reading, {
          **info, 'published': {
              'train': published[i], 'test': published[i + 2]}})
      for i, (d, side) in enumerate(zip(names, 'AB', strict=True))
  ]


def _from_records(
    name: str,
    found: records.Records,
    side: str,
    recipe: Recipe,
    reading: Reading,
    info: dict[str, Any],
) -> Domain:
  splits = ('train' + side, 'test' + side)
  if not all(found.counts.get(s) for s in splits):
    raise DataError(
        f'{found.folder} should hold the splits {splits}; it holds '
        f'{found.counts}. Remove it and prepare it again.')

  def read(split: str) -> caching.Cached:
    # TFDS labels these images with the letter of their domain, no class.
    return found.cached(split, recipe, reading, label_key=None)

  return records.held_out_domain(
      name, found.counts, read, labelled=False, grey_copied=False,
      source_splits=splits, info={
          **info, 'read_from': found.folder, 'resizing': recipe.rule(),
          'channels': 'RGB' if recipe.channels == 3 else 'grey (luma)'})


def _open_folder(
    name: str,
    folder: str,
    side: str,
    reading: Reading,
) -> folders.Folder:
  groups, skipped, others = {}, [], []
  what = f'Domain {name!r} ({folder}/{{train,test}}{side})'
  for split in ('train', 'test'):
    sub = split + side
    files, other = pictures_lib.find(os.path.join(folder, sub))
    result = pictures_lib.scan(
        folder, [f'{sub}/{f}' for f in files], what=what,
        skip_unreadable=reading.skip_unreadable,
        max_pixels=reading.max_pixels)
    groups[split] = result.pictures
    skipped += result.skipped
    others += other
  parts, rule = splits_lib.complete(groups, what)
  assert set(parts) == set(splits_lib.SPLITS)
  ignored = pictures_lib.count_ignored(others)
  folders.warn_ignored(what, sum(map(len, groups.values())), ignored)
  return folders.Folder(name, folder, parts, rule, skipped, ignored)

"""`maps`, `facades` and `cityscapes`: trained unpaired, evaluated in pairs."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

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
from alignflow_tf.data.stores import Store

URL = 'http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/'
_SIDES = ('left', 'right')
_FOLDERS = {'train': 'train', 'val': 'validation', 'test': 'test'}


@dataclasses.dataclass(frozen=True)
class _Archive:
  """A set of the pix2pix archives: A is the left half, B the right."""

  domains: tuple[str, str]
  image_size: int
  published: str
  licence: str


ARCHIVES = {
    'maps': _Archive(
        ('aerial', 'map'), 64, '1,096 train / 1,098 val',
        "imagery and maps are Google's; research use"),
    'facades': _Archive(
        ('photo', 'label'), 128, '400 train / 100 val / 106 test',
        "CMP Facade Database: see its authors' page; research use"),
    'cityscapes': _Archive(
        ('photo', 'label'), 64, '2,975 train / 500 val',
        'Cityscapes: non-commercial, registration at cityscapes-dataset.com'),
}


def find(name: str, data_dir: str | None) -> str | None:
  """The folder that holds `train` of a set in the pix2pix layout, or None.

  Looked for in data_dir/pix2pix/NAME, data_dir/NAME, data_dir/../pix2pix/NAME
  and data_dir/downloads/manual/NAME.
  """
  root = os.path.abspath(network.data_dir(data_dir))
  for folder in (
      os.path.join(root, 'pix2pix', name),
      os.path.join(root, name),
      os.path.join(os.path.dirname(root), 'pix2pix', name),
      os.path.join(root, 'downloads', 'manual', name),
  ):
    if os.path.isdir(os.path.join(folder, 'train')):
      return folder
  return None


@dataclasses.dataclass(frozen=True)
class Paired:
  """The domains A and B of an archive; images of equal keys are a pair."""

  name: str

  @property
  def info(self) -> DatasetInfo:
    """The facts about the set."""
    archive = ARCHIVES[self.name]
    return DatasetInfo(
        self.name, archive.domains, archive.image_size, 3, archive.published,
        f'pix2pix archive, paired ({URL}{self.name}.tar.gz)', archive.licence,
        'paired', pictures=True, paired=True)

  def open(self, reading: Reading) -> Opened:
    channels = reading.channels or 3
    recipe = reading.recipe(channels, 'stretch')
    return Opened(_domains(self.name, reading, recipe), channels)


def _domains(name: str, reading: Reading, recipe: Recipe) -> list[Domain]:
  source, data_dir = ARCHIVES[name], reading.data_dir
  info: dict[str, Any] = {
      'source': f'pix2pix archive {name}.tar.gz ({URL})',
      'published': source.published,
      'licence': source.licence,
  }
  folder = None if records.find(data_dir, f'pix2pix/{name}') else (
      find(name, data_dir))
  if folder is None:
    return _from_records(name, reading, recipe, info)
  what = f'{name} ({folder})'
  groups, skipped = {}, []
  for sub, split in _FOLDERS.items():
    if not os.path.isdir(os.path.join(folder, sub)):
      continue
    names, _ = pictures_lib.find(os.path.join(folder, sub))
    result = pictures_lib.scan(
        folder, [f'{sub}/{n}' for n in names], what=what,
        skip_unreadable=reading.skip_unreadable,
        max_pixels=reading.max_pixels, halves=True)
    groups[split] = result.pictures
    skipped += result.skipped
  if not groups.get('train'):
    raise DataError(
        f'{what}: no usable picture in {os.path.join(folder, "train")}; '
        '`data_dir` must lead to side-by-side A|B pictures in '
        f'{name}/train and {name}/val or {name}/test.')
  parts, rule = splits_lib.complete(groups, what)
  check_batch(source.domains[0], len(parts['train']), reading.batch_size)
  info.update(read_from=folder, splits=rule)
  if skipped:
    info.update(skipped_unreadable=len(skipped), skipped_first=skipped[:5])
  return [
      pictures_lib.domain(
          d, parts, dataclasses.replace(recipe, side=side),
          cache=reading.cache, cache_dir=reading.cache_dir,
          info={**info, 'side': side}, what=what)
      for d, side in zip(source.domains, _SIDES, strict=True)
  ]


def _make_builder(name: str, data_dir: str) -> Any:
  from alignflow_tf.data.builders import pix2pix  # pylint: disable=import-outside-toplevel
  return pix2pix.Pix2pix(config=name, data_dir=data_dir)


def _from_records(
    name: str,
    reading: Reading,
    recipe: Recipe,
    info: dict[str, Any],
) -> list[Domain]:
  """The same from records of our TFDS builder."""
  folder = records.ensure(
      f'pix2pix/{name}', reading.data_dir, reading.download,
      f'{URL}{name}.tar.gz',
      lambda root: _make_builder(name, root),
      also=(f' (or side-by-side pictures in pix2pix/{name}/train and '
            f'pix2pix/{name}/val or test, in it or next to it)'))
  records.refuse_streaming(reading.cache, folder)
  found = records.Records(folder)
  # The sizes need no names, which TensorFlow would have to read.
  sizes, _ = splits_lib.complete(
      {s: [splits_lib.Named(f'{s}/{i}') for i in range(n)]
       for s, n in found.counts.items()}, folder)
  check_batch(
      ARCHIVES[name].domains[0], len(sizes['train']), reading.batch_size)
  keys = {s: found.column(s, 'id') for s in found.counts}
  located = {k: (s, i) for s, ks in keys.items() for i, k in enumerate(ks)}
  parts, rule = splits_lib.complete(
      {s: [splits_lib.Named(k) for k in ks] for s, ks in keys.items()}, folder)

  def make(index: int) -> Domain:
    feature = ('image_a', 'image_b')[index]

    def open_split(split: str) -> Store:
      members = [p.key for p in parts[split]]
      rows = np.array([located[k][1] for k in members])
      return found.cached(
          located[members[0]][0], recipe, reading, feature).store(rows, members)

    return Domain(
        name=ARCHIVES[name].domains[index],
        sizes={s: len(parts[s]) for s in splits_lib.SPLITS},
        open_split=open_split, labelled=False, grey_copied=False,
        info={**info, 'read_from': folder, 'splits': rule,
              'side': _SIDES[index], 'resizing': recipe.rule(),
              'channels': 'RGB' if recipe.channels == 3 else 'grey (luma)'})

  return [make(0), make(1)]

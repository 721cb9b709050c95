"""`SOURCES`, the data sets by name, and `load`."""

from __future__ import annotations

from collections.abc import Mapping
import difflib
import os
from typing import Any

from alignflow_tf.data import caching
from alignflow_tf.data import decoding
from alignflow_tf.data import pixels
from alignflow_tf.data.domain import check_batch
from alignflow_tf.data.domain_set import DomainSet
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.errors import not_negative
from alignflow_tf.data.errors import positive
from alignflow_tf.data.recipe import FITS
from alignflow_tf.data.source import DatasetInfo
from alignflow_tf.data.source import Reading
from alignflow_tf.data.source import Source
from alignflow_tf.data.sources import cycle_gan
from alignflow_tf.data.sources import digits
from alignflow_tf.data.sources import embedded
from alignflow_tf.data.sources import folders
from alignflow_tf.data.sources import paired
from alignflow_tf.data.sources import tfds

_SOURCES: tuple[Source, ...] = (
    embedded.Embedded('digits', ('optical', 'mnist')),
    embedded.Embedded('digits3', ('optical', 'mnist', 'printed')),
    *digits.sources(),
    *map(paired.Paired, paired.ARCHIVES),
    *map(cycle_gan.Unpaired, cycle_gan.SETS),
    folders.Folders(),
)
SOURCES: dict[str, Source] = {s.info.name: s for s in _SOURCES}
DATASETS: dict[str, DatasetInfo] = {n: s.info for n, s in SOURCES.items()}


def list_datasets() -> str:
  """The table that `--list_datasets` prints: sizes, sources and licences.

  Names that differ by the order of their domains only share an entry.
  """
  groups: dict[tuple[Any, ...], list[DatasetInfo]] = {}
  for info in (s.info for s in SOURCES.values()):
    key: tuple[Any, ...] = (
        info.kind, tuple(sorted(info.domains)), info.image_size)
    if info.kind in ('paired', 'unpaired'):
      key = (info.name,)
    groups.setdefault(key, []).append(info)
  lines = []
  for members in groups.values():
    info = members[0]
    channels = {1: 'grey', 3: 'RGB', None: 'colour as found'}[info.channels]
    lines += [
        ', '.join(m.name for m in members),
        f'    domains  {", ".join(info.domains) or "as you name them"}; '
        f'{info.image_size}x{info.image_size} {channels} unless told'
        + ('; paired evaluation' if info.kind == 'paired' else ''),
        f'    images   {info.sizes}'
        + ('' if '(' in info.sizes or info.kind in ('paired', 'folders')
           else ' (train / test)'),
        f'    source   {info.source}',
        f'    licence  {info.licence}',
    ]
  return '\n'.join(lines)


def load(
    name: str = 'digits',
    data_dir: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    seed: int = 0,
    download: bool = True,
    domain_dirs: Mapping[str, str] | None = None,
    *,
    cache: str = 'memory',
    cache_dir: str | None = None,
    skip_unreadable: bool = False,
    max_pixels: int = decoding.MAX_PIXELS,
    fit: str | None = None,
    load_size: int | tuple[int, int] | None = None,
    flip: bool = False,
    standard_levels: bool = False,
    label_by_folder: bool | str = False,
    batch_size: int = 1,
) -> DomainSet:
  """Opens a set of domains.

  Args:
    name: One of `DATASETS`.
    data_dir: Folder with the data (a TFDS data folder, or one with the
      published files; docs/data.md says where each is looked for), or None
      for TFDS's default.
    image_size: Height and width in pixels, or a pair; None for the set's own.
    channels: 1 or 3; None for the set's own.
    seed: Seed of the training order, where `train_batches` is given none. The
      splits do not depend on it.
    download: Whether what is missing may be downloaded.
    domain_dirs: For 'folders': `{domain: folder}`, two or more, in order.
    cache: 'memory' (decode once, keep uint8 images), 'file' (decode once into
      an uncompressed file, for sets larger than memory) or 'none' (decode
      each time; pictures only).
    cache_dir: Folder for `cache='file'`; None for `~/.cache/alignflow_tf`.
    skip_unreadable: Leave out bad pictures, count and log them.
    max_pixels: Largest accepted width * height of a picture.
    fit: How a picture meets the shape: 'crop', 'stretch' or 'pad'; None for
      the set's own. Pictures only.
    load_size: Size to resize to before a crop of `image_size`: random in
      training, the middle in evaluation. None for no crop. Pictures only.
    flip: Mirror training images at random. Pictures only: a mirrored digit is
      no digit.
    standard_levels: Stretch the levels of each image to 0..255, and invert
      those that are dark on light; see `levels.standard`.
    label_by_folder: For 'folders': the first sub-folder is the class. With the
      name of a domain, that one must have classes so, and others have labels
      only where each of their pictures lies in a folder of its classes.
    batch_size: Images of a domain that a batch will have. Too few training
      images are refused before one of them is decoded.

  Returns:
    The set.

  Raises:
    DataError: If the arguments do not fit, or the data cannot be had.
  """
  source = _source(name)
  info = source.info
  positive('batch_size', batch_size)
  not_negative('seed', seed)
  size = pixels.parse_size(
      info.image_size if image_size is None else image_size, 'image_size',
      DataError)
  assert size is not None
  loaded = pixels.parse_size(load_size, 'load_size', DataError) or size
  reading = Reading(
      size=loaded, channels=info.channels if channels is None else channels,
      data_dir=data_dir, download=download, domain_dirs=domain_dirs,
      cache=cache, cache_dir=cache_dir, skip_unreadable=skip_unreadable,
      max_pixels=max_pixels, fit=fit, label_by_folder=label_by_folder,
      batch_size=batch_size)
  _check(info, reading)
  _check_augmentation(info, size, loaded, fit, flip, load_size)
  opened = source.open(reading)
  for d in opened.domains:
    check_batch(d.name, d.sizes['train'], batch_size)
  return DomainSet(
      name, opened.domains, (*size, opened.channels),
      num_classes=opened.num_classes, paired=info.paired, seed=seed,
      load_shape=loaded, flip=flip, standard_levels=standard_levels,
      info=opened.facts)


def _source(name: str) -> Source:
  if name in SOURCES:
    return SOURCES[name]
  close = difflib.get_close_matches(str(name), SOURCES, 3, 0.5)
  raise DataError(
      f'`dataset` is {name!r}, which is not known.'
      + (f' Did you mean {", ".join(map(repr, close))}?' if close else '')
      + (f' TFDS sets are domains: --domain=a:{name} --domain=b:...'
         if str(name).startswith(tfds.PREFIX) else '')
      + f' Known: {", ".join(SOURCES)}.')


def _check(info: DatasetInfo, reading: Reading) -> None:
  """Checks what does not depend on the data.

  Raises:
    DataError: Naming the first argument that does not fit.
  """
  if reading.channels not in (None, 1, 3) or isinstance(
      reading.channels, bool):
    raise DataError(
        f'`channels` is {reading.channels!r}; it must be 1 (grey), 3 (RGB), or '
        'None for that of the set.')
  if reading.cache not in caching.CACHES:
    raise DataError(
        f'`cache` is {reading.cache!r}; it must be one of {caching.CACHES}.')
  if reading.fit is not None and reading.fit not in FITS:
    raise DataError(
        f'`fit` is {reading.fit!r}; it must be one of {tuple(FITS)}.')
  positive('max_pixels', reading.max_pixels)
  if reading.data_dir is not None and os.path.isfile(
      os.path.expanduser(reading.data_dir)):
    raise DataError(
        f'`data_dir` is {reading.data_dir!r}, a file; give a folder.')
  if reading.label_by_folder and info.kind != 'folders':
    raise DataError(
        f"`label_by_folder` goes with `dataset='folders'`, not {info.name!r}.")
  if reading.domain_dirs and info.domains:
    raise DataError(
        f'`domain_dirs` is given, but `dataset` is {info.name!r}; folders of '
        "your own go with `dataset='folders'`.")


def _check_augmentation(
    info: DatasetInfo,
    size: tuple[int, int],
    loaded: tuple[int, int],
    fit: str | None,
    flip: bool,
    load_size: Any,
) -> None:
  given = {'flip': flip, 'fit': fit, 'load_size': load_size}
  for argument, value in given.items():
    if value and not info.pictures:
      raise DataError(
          f'`{argument}` is {value!r}, but `dataset` {info.name!r} holds '
          'digits: they are taken whole, and a mirrored or cropped digit is no '
          f'digit. Leave `{argument}` out.')
  if loaded[0] < size[0] or loaded[1] < size[1]:
    raise DataError(
        f'`load_size` is {loaded}, smaller than `image_size` {size}; a crop '
        'is cut from a larger image.')

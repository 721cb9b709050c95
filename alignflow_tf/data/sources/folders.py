"""`folders`: the user's own domains, each a folder or a `tfds:` set.

For example, `--domain=photo:DIR --domain=digit:tfds:mnist`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import logging
import os
import re
from typing import Any

from alignflow_tf.data import decoding
from alignflow_tf.data import pictures as pictures_lib
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data.domain import check_batch
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.pictures import Picture
from alignflow_tf.data.recipe import Recipe
from alignflow_tf.data.source import DatasetInfo
from alignflow_tf.data.source import Opened
from alignflow_tf.data.source import Reading
from alignflow_tf.data.sources import tfds

_INFO = {'source': 'pictures in a folder', 'licence': "the user's"}
_logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Folder:
  """Pictures of one domain, per split, before they are decoded."""

  name: str
  path: str
  parts: dict[str, list[Picture]]
  rule: str
  skipped: list[str]
  ignored: dict[str, int]
  cut: bool = False  # Whether the first part of a key is a split's name.

  def every(self) -> list[Picture]:
    return [p for s in splits_lib.SPLITS for p in self.parts[s]]

  @property
  def grey(self) -> bool:
    """Whether all pictures are grey."""
    return all(p.header.grey for p in self.every())

  @property
  def size(self) -> int:
    """Number of training pictures."""
    return len(self.parts['train'])


class Folders:
  """The source 'folders'; a `Source`."""

  info = DatasetInfo(
      'folders', (), 64, None, 'yours',
      'your pictures or TFDS sets: --domain_a=DIR --domain_b=DIR, or '
      '--domain=NAME:DIR or --domain=NAME:tfds:SET for each of two or more',
      'yours', 'folders', pictures=True)

  def open(self, reading: Reading) -> Opened:
    found: list[Folder | tfds.TfdsSet] = []
    for name, place in check_dirs(reading.domain_dirs).items():
      if place.startswith(tfds.PREFIX):
        found.append(tfds.open_set(name, place, reading))
      else:
        found.append(open_folder(
            name, place, skip_unreadable=reading.skip_unreadable,
            max_pixels=reading.max_pixels))
      check_batch(name, found[-1].size, reading.batch_size)
    channels = common_channels(found, reading.channels)
    recipe = reading.recipe(channels)
    sets = [f for f in found if isinstance(f, tfds.TfdsSet)]
    if sets:
      return _with_sets(found, sets, recipe, reading)
    folders = [f for f in found if isinstance(f, Folder)]
    classes: list[str] = []
    if reading.label_by_folder:
      folders, classes = with_labels(
          folders, None if reading.label_by_folder is True
          else reading.label_by_folder)
    return Opened(
        [to_domain(f, recipe, reading, _INFO) for f in folders], channels,
        len(classes) or None, {'classes': classes} if classes else {})


def _with_sets(
    found: list[Folder | tfds.TfdsSet],
    sets: list[tfds.TfdsSet],
    recipe: Recipe,
    reading: Reading,
) -> Opened:
  """Domains of folders and TFDS sets; the sets have labels of their own.

  Labels are kept where all labelled sets have equally many classes.
  """
  if reading.label_by_folder:
    raise DataError(
        '`label_by_folder` is set, but these domains are TFDS sets with labels '
        f'of their own: {[s.name for s in sets]}. Leave it out.')
  counts = {len(s.classes) for s in sets if s.classes}
  num_classes = counts.pop() if len(counts) == 1 else None
  domains = [
      tfds.to_domain(f, recipe, reading, bool(num_classes and f.classes))
      if isinstance(f, tfds.TfdsSet) else to_domain(f, recipe, reading, _INFO)
      for f in found]
  facts = {'classes': {s.name: s.classes for s in sets if s.classes}}
  return Opened(
      domains, recipe.channels, num_classes, facts if num_classes else {})


def check_dirs(domain_dirs: Mapping[str, str] | None) -> dict[str, str]:
  """Checks `{domain: folder}` before anything is read.

  Raises:
    DataError: If there are fewer than two domains, a name will not do, or a
      folder does not exist, is a file, or is given twice.
  """
  given = dict(domain_dirs or {})
  if len(given) < 2:
    raise DataError(
        f"`domain_dirs` is {given!r}; the dataset 'folders' needs two or "
        "more, as {'a': DIR, 'b': DIR} (--domain_a=DIR --domain_b=DIR, "
        'or --domain=NAME:DIR once for each).')
  real: dict[str, str] = {}
  for name, folder in given.items():
    if not re.fullmatch(r'[A-Za-z][A-Za-z0-9_]*', str(name)):
      raise DataError(
          f'`domain_dirs` names a domain {name!r}; a name is a letter, then '
          'letters, digits or underscores.')
    if str(folder).startswith(tfds.PREFIX):
      continue
    path = os.path.expanduser(os.fspath(folder))
    if not os.path.isdir(path):
      state = 'is a file' if os.path.exists(path) else 'does not exist'
      raise DataError(
          f'`domain_dirs` gives {path!r} for domain {name!r}, which {state}. '
          'Give a folder of pictures.')
    given[name] = path
    for other, known in real.items():
      mine = os.path.realpath(path)
      if os.path.commonpath([mine, known]) in (mine, known):
        raise DataError(
            f'`domain_dirs` gives {path!r} for domain {name!r}, which '
            f'{"is" if mine == known else "overlaps"} the folder of domain '
            f'{other!r} ({given[other]!r}). Give each domain its own folder.')
    real[name] = os.path.realpath(path)
  return given


def open_folder(
    name: str,
    path: str,
    *,
    skip_unreadable: bool,
    max_pixels: int,
) -> Folder:
  """Finds and splits the pictures of one domain.

  A folder whose only entries are `train` and any of `val` and `test` is taken
  as it is cut there; everything else is cut by a hash of the file names.

  Raises:
    DataError: If there are no or too few pictures, or bad ones.
  """
  what = f'Domain {name!r} ({path})'
  found, other = pictures_lib.find(path)
  ignored = pictures_lib.count_ignored(other)
  if not found:
    raise DataError(
        f'{what}: no picture in it or below it '
        f'({", ".join(decoding.formats())}, by extension). '
        + (f'There are other files: {pictures_lib.say_ignored(ignored)}. '
           if other else 'It is empty. ')
        + '`domain_dirs` (--domain_a, --domain_b) must name folders of '
        'pictures.')
  warn_ignored(what, len(found), ignored)
  tops = {n.split('/')[0] for n in found}
  cut = all('/' in n for n in found) and tops <= set(splits_lib.NAMES) and any(
      splits_lib.NAMES[t] == 'train' for t in tops)
  result = pictures_lib.scan(
      path, found, what=what, skip_unreadable=skip_unreadable,
      max_pixels=max_pixels)
  groups: dict[str, list[Picture]] = {}
  for picture in result.pictures:
    split = splits_lib.NAMES[picture.key.split('/')[0]] if cut else 'train'
    groups.setdefault(split, []).append(picture)
  parts, rule = splits_lib.complete(groups, what)
  return Folder(name, path, parts, rule, result.skipped, ignored, cut)


def warn_ignored(what: str, found: int, ignored: dict[str, int]) -> None:
  """Logs which files of a folder are not read, and what to do about them."""
  if ignored:
    count = sum(ignored.values())
    _logger.warning(
        '%s: %d of %d files are not read: %s. Save pictures among them as PNG '
        'or JPEG.', what, count, found + count,
        pictures_lib.say_ignored(ignored))


def common_channels(
    found: Sequence[Folder | tfds.TfdsSet], channels: int | None
) -> int:
  """Channels for all domains: what the user says, or what all agree on.

  Raises:
    DataError: If one domain is all grey, another is not, and the user did not
      say which it is to be.
  """
  if channels is not None:
    return channels
  grey = {f.name: f.grey for f in found}
  if len(set(grey.values())) > 1:
    ones = [n for n, g in grey.items() if g]
    threes = [n for n, g in grey.items() if not g]
    raise DataError(
        f'`channels` is not given and the domains differ: {ones} hold grey '
        f'pictures (1 channel), {threes} colour ones (3 channels). Give '
        '`channels=1` (colours become grey) or `channels=3` (grey is copied '
        'to three channels; such a domain has no density of its own, see '
        'docs/data.md).')
  return 1 if all(grey.values()) else 3


def with_labels(
    found: list[Folder], needed: str | None = None
) -> tuple[list[Folder], list[str]]:
  """Labels every picture by the folder it lies in, over all domains.

  Args:
    found: The domains.
    needed: The one domain that must have labels and that gives the classes;
      others have labels only where each of their pictures lies in a folder of
      one of its classes. None: all must have labels.

  Returns:
    The domains with labels, and the names of the classes.

  Raises:
    DataError: If a picture lies in no sub-folder, or there is one class only,
      or no such domain.
  """
  def folder_of(picture: Picture, folder: Folder) -> str | None:
    names = picture.key.split('/')[:-1]
    if folder.cut:
      names = names[1:]
    return names[0] if names else None

  if needed is not None and needed not in {f.name for f in found}:
    raise DataError(
        f'`label_by_folder` is {needed!r}, which is no domain of '
        f'{[f.name for f in found]}.')
  giving = [f for f in found if needed in (None, f.name)]
  for f in giving:
    for p in f.every():
      if folder_of(p, f) is None:
        raise DataError(
            '`label_by_folder` is set, but this picture of domain '
            f'{f.name!r} lies in no sub-folder: {p.path}. Put each '
            'class in a folder of its own, or leave `label_by_folder` out.')
  classes = sorted({str(folder_of(p, f)) for f in giving for p in f.every()})
  if len(classes) < 2:
    raise DataError(
        f'`label_by_folder` is set, but there is one class only: {classes}.')
  index: dict[str | None, int] = {c: i for i, c in enumerate(classes)}
  labelled = [
      dataclasses.replace(f, parts={
          s: [dataclasses.replace(p, label=index[folder_of(p, f)]) for p in ps]
          for s, ps in f.parts.items()})
      if all(folder_of(p, f) in index for p in f.every()) else f
      for f in found
  ]
  return labelled, classes


def to_domain(
    found: Folder, recipe: Recipe, reading: Reading, info: dict[str, Any]
) -> Domain:
  """Decodes a folder's pictures; see `pictures.domain`."""
  facts = {**info, 'read_from': found.path, 'splits': found.rule}
  if found.skipped:
    facts['skipped_unreadable'] = len(found.skipped)
    facts['skipped_first'] = found.skipped[:5]
  if found.ignored:
    facts['ignored_files'] = found.ignored
  return pictures_lib.domain(
      found.name, found.parts, recipe, cache=reading.cache,
      cache_dir=reading.cache_dir, info=facts,
      what=f'Domain {found.name!r} ({found.path})')

"""`folders`: the user's own pictures, one folder a domain."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import logging
import os
import re
from typing import Any, Protocol, TypeVar

from alignflow_tf.data import decoding
from alignflow_tf.data import pictures as pictures_lib
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.pictures import Picture
from alignflow_tf.data.recipe import Recipe

_SPLIT_NAMES = {
    'train': 'train', 'training': 'train',
    'val': 'validation', 'valid': 'validation', 'validation': 'validation',
    'test': 'test', 'testing': 'test',
}
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

  Args:
    name: Name of the domain.
    path: Its folder.
    skip_unreadable: Leave out bad files.
    max_pixels: Largest accepted width * height.

  Returns:
    The folder.

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
  cut = all('/' in n for n in found) and tops <= set(_SPLIT_NAMES) and any(
      _SPLIT_NAMES[t] == 'train' for t in tops)
  result = pictures_lib.scan(
      path, found, what=what, skip_unreadable=skip_unreadable,
      max_pixels=max_pixels)
  groups: dict[str, list[Picture]] = {}
  for picture in result.pictures:
    split = _SPLIT_NAMES[picture.key.split('/')[0]] if cut else 'train'
    groups.setdefault(split, []).append(picture)
  parts, rule = complete_splits(groups, what)
  return Folder(name, path, parts, rule, result.skipped, ignored, cut)


def warn_ignored(what: str, found: int, ignored: dict[str, int]) -> None:
  """Logs which files of a folder are not read, and what to do about them."""
  if ignored:
    count = sum(ignored.values())
    _logger.warning(
        '%s: %d of %d files are not read: %s. Save pictures among them as PNG '
        'or JPEG.', what, count, found + count,
        pictures_lib.say_ignored(ignored))


class Keyed(Protocol):
  """Whatever has a key to be split by."""

  @property
  def key(self) -> str:
    """Its name in the set."""


_K = TypeVar('_K', bound=Keyed)


def complete_splits(
    groups: Mapping[str, list[_K]], what: str
) -> tuple[dict[str, list[_K]], str]:
  """Cuts the splits that a source lacks out of its training split.

  Args:
    groups: Pictures per split, as the source has them: train, and perhaps
      validation and test.
    what: The source, for messages.

  Returns:
    Pictures of train, validation and test, each in the order of the hash of
    their keys, and the rule in words.

  Raises:
    DataError: If there are fewer than three training pictures to cut.
  """
  parts = {}
  for split in splits_lib.SPLITS:
    members = groups.get(split, [])
    order = splits_lib.by_hash([p.key for p in members])
    parts[split] = [members[i] for i in order]
  rules = [f'{s} as the source has it' for s in ('test', 'validation')
           if parts[s]]
  if not parts['test'] and parts['validation']:
    parts['test'], parts['validation'] = parts['validation'], []
    rules = ["test is the source's validation split, as it has no other"]
  need = 1 + (not parts['test']) + (not parts['validation'])
  count = len(parts['train'])
  if count < need:
    raise DataError(
        f'{what}: {count} usable training picture{"s" * (count != 1)}; at '
        f'least {need} are needed to cut train, validation and test, and in '
        'all as many training pictures as a batch has.')
  if not parts['test']:
    held = max(1, count // 10)
    parts['test'] = parts['train'][:held]
    parts['train'] = parts['train'][held:]
    rules.append(
        f'test is held out from train: a tenth ({held} of {count}), those '
        'with the lowest SHA-256 of their name')
  if not parts['validation']:
    count = len(parts['train'])
    held = splits_lib.held_out_size(count, len(parts['test']))
    parts['validation'] = parts['train'][:held]
    parts['train'] = parts['train'][held:]
    rules.append(
        f'{splits_lib.HELD_OUT_RULE} ({held} of {count}), those with the '
        'lowest SHA-256 of their name')
  return parts, '; '.join(rules)


def common_channels(found: list[Folder], channels: int | None) -> int:
  """Channels for all domains: what the user says, or what all agree on.

  Raises:
    DataError: If one domain is all grey, another is not, and the user did not
      say which it is to be.
  """
  if channels is not None:
    return channels
  grey = {f.name: all(p.header.grey for p in f.every()) for f in found}
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
    found: Folder,
    recipe: Recipe,
    *,
    cache: str,
    cache_dir: str | None,
    info: dict[str, Any],
) -> Domain:
  """Decodes a folder's pictures; see `pictures.domain`."""
  facts = {**info, 'read_from': found.path, 'splits': found.rule}
  if found.skipped:
    facts['skipped_unreadable'] = len(found.skipped)
    facts['skipped_first'] = found.skipped[:5]
  if found.ignored:
    facts['ignored_files'] = found.ignored
  return pictures_lib.domain(
      found.name, found.parts, recipe, cache=cache, cache_dir=cache_dir,
      info=facts, what=f'Domain {found.name!r} ({found.path})')

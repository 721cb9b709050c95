"""Domains of picture files: find, inspect, decode in parallel, resize."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import dataclasses
import functools
import hashlib
import json
import logging
import os
from typing import Any

import numpy as np

from alignflow_tf import _io
from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import caching
from alignflow_tf.data import decoding
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data import streams
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.recipe import Recipe
from alignflow_tf.data.stores import Store

# Pillow's decoders run outside of Python's lock, so threads are enough. Each
# holds a whole decoded picture, which limits their number.
_THREADS = min(16, os.cpu_count() or 4)
_BATCH = 64
# Part of a cache file's name; raised when the same file gives other pixels.
_READER = 'Pillow 1'
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture file.

  Attributes:
    path: Its path.
    key: Its name in the set.
    header: The facts in its header.
    label: Its class, or None.
  """

  path: str
  key: str
  header: decoding.Header
  label: int | None = None


class PathStore(Store):
  """Pictures that are decoded each time they are used.

  The decoder is Pillow's, in this process, so the store does not travel to
  another one.
  """

  def __init__(self, pictures: Sequence[Picture], recipe: Recipe):
    super().__init__(
        (*recipe.size, recipe.channels), _labels(pictures),
        [p.key for p in pictures])
    self._recipe = recipe
    self._paths = [p.path for p in pictures]

  def images(self, indices: tf.Tensor) -> tf.Tensor:
    def decode(index: np.ndarray) -> np.ndarray:
      path = self._paths[int(index)]
      try:
        return decoding.decode(path)
      except decoding.UnreadableError as error:
        raise DataError(
            f'this picture can no longer be read: {path}: {error}. Remove it, '
            'or load with `skip_unreadable=True`') from error

    def image(index: tf.Tensor) -> tf.Tensor:
      picture = tf.numpy_function(decode, [index], tf.uint8, stateful=False)
      return self._recipe.apply(tf.ensure_shape(picture, [None, None, None]))

    batch = tf.map_fn(
        streams.plain(image), indices, parallel_iterations=_THREADS,
        fn_output_signature=tf.TensorSpec(self.shape, tf.uint8))
    return tf.ensure_shape(batch, (*indices.shape, *self.shape))


def _labels(pictures: Sequence[Picture]) -> np.ndarray | None:
  if not pictures or pictures[0].label is None:
    return None
  return np.array([p.label for p in pictures], np.int64)


def find(folder: str) -> tuple[list[str], list[str]]:
  """Lists the files in a folder and below it.

  Hidden files and folders (for example `.git` and `._a.jpg`) are left out;
  links are followed.

  Returns:
    The pictures, by extension, and all other files: paths relative to the
    folder, with `/`, sorted.
  """
  found: list[str] = []
  other: list[str] = []
  seen: set[str] = set()
  for root, dirs, files in os.walk(folder, followlinks=True):
    real = os.path.realpath(root)
    if real in seen:  # A link to a folder above.
      dirs[:] = []
      continue
    seen.add(real)
    dirs[:] = sorted(d for d in dirs if not d.startswith('.'))
    for file in files:
      if file.startswith('.'):
        continue
      name = os.path.relpath(os.path.join(root, file), folder)
      name = name.replace(os.sep, '/')
      known = _extension(file) in decoding.extensions()
      (found if known else other).append(name)
  return sorted(found), sorted(other)


def _extension(name: str) -> str:
  return os.path.splitext(name)[1].lower()


def count_ignored(other: Sequence[str]) -> dict[str, int]:
  """Counts files that are not read, by extension, the most frequent first."""
  counts = collections.Counter(_extension(n) or 'no extension' for n in other)
  return dict(counts.most_common())


def say_ignored(ignored: dict[str, int]) -> str:
  """Files that are not read, in words.

  For example, `{'.heic': 28, '.txt': 2}` gives "28 .heic (pip install
  'alignflow_tf[heif]'), 2 .txt".
  """
  return ', '.join(
      f'{count} {extension}'
      + (f' ({way_out})' if (way_out := decoding.way_out(extension)) else '')
      for extension, count in ignored.items())


@dataclasses.dataclass
class Scan:
  """Result of `scan`: pictures, and messages about files left out."""

  pictures: list[Picture]
  skipped: list[str]


def scan(
    folder: str,
    names: Sequence[str],
    *,
    what: str,
    skip_unreadable: bool,
    max_pixels: int,
    halves: bool = False,
) -> Scan:
  """Reads the headers of pictures.

  Args:
    folder: The folder.
    names: Paths in it; they become the keys.
    what: The source, for messages.
    skip_unreadable: Whether to leave out bad files. Every file is then decoded
      once, so that all bad ones are known.
    max_pixels: Largest accepted width * height.
    halves: Whether they are side-by-side pictures.

  Returns:
    The good pictures, in the order of `names`.

  Raises:
    DataError: If there are bad files and `skip_unreadable` is off.
  """
  def look(name: str) -> Picture | str:
    path = os.path.join(folder, *name.split('/'))
    raw = os.fsencode(path)
    try:
      raw.decode('utf-8')
    except UnicodeDecodeError:
      # TensorFlow's paths, the keys and our files are all UTF-8.
      return f'{raw.decode("utf-8", "backslashreplace")}: its name is not UTF-8'
    try:
      header = decoding.inspect(path, max_pixels)
      if halves and (header.width % 2 or header.width < 2):
        return (f'{path}: it is {header.width} pixels wide; two pictures side '
                'by side need an even width')
      if skip_unreadable:
        decoding.decode(path)
    except decoding.UnreadableError as error:
      return f'{path}: {error}'
    return Picture(path, name, header)

  decoding.formats()  # Pillow loads its decoders here, and not in threads.
  with futures.ThreadPoolExecutor(_THREADS) as pool:
    results = list(pool.map(look, names))
  bad = [r for r in results if isinstance(r, str)]
  if bad and not skip_unreadable:
    raise DataError(_unreadable(what, bad, len(names)))
  for text in bad[:20]:
    _logger.warning('Skipped: %s', text)
  if bad:
    _logger.warning('%s: skipped %d unreadable of %d pictures.', what,
                    len(bad), len(names))
  return Scan([r for r in results if isinstance(r, Picture)], bad)


def _unreadable(what: str, bad: Sequence[str], total: int) -> str:
  more = f' (and {len(bad) - 5} more)' if len(bad) > 5 else ''
  return (
      f'{what}: {len(bad)} of {total} pictures cannot be used: '
      f'{"; ".join(bad[:5])}{more}. Remove or mend them, or go on without '
      'them with `skip_unreadable=True` (--skip_unreadable); the largest '
      'number of pixels is set with `max_pixels` (--max_pixels).')


@functools.lru_cache(8)
def _function(prepare: Callable[[tf.Tensor], tf.Tensor]) -> Any:
  return tf.function(
      prepare, autograph=False,
      input_signature=[tf.TensorSpec([None, None, None], tf.uint8)])


def read_batches(
    pictures: Sequence[Picture], apply: Callable[[tf.Tensor], tf.Tensor],
    what: str,
) -> caching.Batches:
  """Decodes pictures in parallel, in order, and applies a graph function.

  Yields:
    (uint8 [b, H, W, C], labels [b] or None).

  Raises:
    DataError: Naming all pictures that cannot be decoded.
  """
  prepare = _function(apply)

  def read(picture: Picture) -> np.ndarray | str:
    try:
      with tf.device('/CPU:0'):
        return prepare(decoding.decode(picture.path)).numpy()
    except decoding.UnreadableError as error:
      return f'{picture.path}: {error}'
    except tf.errors.OpError as error:  # For example, memory does not suffice.
      return f'{picture.path}: {_io.first_line(error)}'

  bad: list[str] = []
  start = 0
  with futures.ThreadPoolExecutor(_THREADS) as pool:
    for results in ahead(pool, read, pictures, _BATCH):
      bad += [r for r in results if isinstance(r, str)]
      if not bad:
        labels = _labels(pictures[start:start + len(results)])
        yield np.stack(results), labels
      start += len(results)
  if bad:
    raise DataError(_unreadable(what, bad, len(pictures)))


def ahead(
    pool: futures.Executor, read: Any, pictures: Sequence[Any], batch: int
) -> Iterator[list[Any]]:
  """Results of `read` in batches, the next of which is read meanwhile."""
  waiting: list[futures.Future[Any]] = []
  for start in range(0, len(pictures), batch):
    done, waiting = waiting, [
        pool.submit(read, p) for p in pictures[start:start + batch]]
    if done:
      yield [f.result() for f in done]
  if waiting:
    yield [f.result() for f in waiting]


def _fingerprint(parts: dict[str, list[Picture]]) -> str:
  """Hash of the file names and sizes of each split, not of the location."""
  rows = [[split, p.key, os.path.getsize(p.path)]
          for split in splits_lib.SPLITS for p in parts[split]]
  return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def domain(
    name: str,
    parts: dict[str, list[Picture]],
    recipe: Recipe,
    *,
    cache: str,
    cache_dir: str | None,
    info: dict[str, Any],
    what: str,
) -> Domain:
  """A domain of picture files.

  Args:
    name: Name of the domain.
    parts: Pictures of each split.
    recipe: How they become images.
    cache: 'memory', 'file' or 'none'.
    cache_dir: Folder of cache files or None.
    info: Facts for `describe`.
    what: The source, for messages.

  Returns:
    The domain. Unless `cache` is 'none', train and validation have been
    decoded, so that their errors show now and not in the middle of a run.

  Raises:
    DataError: If a picture cannot be decoded, or they do not fit.
  """
  shape = (*recipe.size, recipe.channels)

  def open_split(split: str) -> Store:
    pictures = parts[split]
    if cache == 'none':
      return PathStore(pictures, recipe)
    cached = caching.read(
        lambda: read_batches(pictures, recipe.apply, what), len(pictures),
        shape, cache, cache_dir,
        [_READER, dataclasses.asdict(recipe),
         [[os.path.abspath(p.path), os.path.getsize(p.path),
           os.stat(p.path).st_mtime_ns, p.label] for p in pictures]],
        what)
    return cached.store(np.arange(len(pictures)), [p.key for p in pictures])

  every = [p for split in splits_lib.SPLITS for p in parts[split]]
  grey = all(p.header.grey for p in every)
  result = Domain(
      name=name,
      sizes={s: len(parts[s]) for s in splits_lib.SPLITS},
      open_split=open_split,
      labelled=every[0].label is not None,
      grey_copied=recipe.channels == 3 and grey,
      info={
          **info,
          'files': _fingerprint(parts),
          'resizing': recipe.rule(),
          'channels': _channel_rule(every, recipe.channels, grey),
      },
  )
  if cache != 'none':
    for split in ('train', 'validation'):
      result.store(split)
    if recipe.channels == 3 and not grey and _only_greys(
        result.store('train')):
      result.grey_copied = True
      result.info['channels'] += '; every training picture is grey'
  return result


def _channel_rule(
    pictures: Sequence[Picture], channels: int, grey: bool
) -> str:
  if channels == 3 and grey:
    rule = 'grey copied to 3'
  elif channels == 3:
    rule = 'RGB (grey ones copied, alpha over white)'
  else:
    rule = 'grey (colours by luma, alpha over white)'
  deep = sum(p.header.bits == 16 for p in pictures)
  return rule + (
      f'; 0..65535 of {deep} pictures of 16 bits became 0..255' if deep else '')


def _only_greys(store: Store) -> bool:
  """Whether all images of a store have three equal channels."""
  for start in range(0, store.size, _BATCH):
    x = store.images(tf.range(
        start, min(start + _BATCH, store.size), dtype=tf.int64)).numpy()
    if (x[..., 0] != x[..., 1]).any() or (x[..., 1] != x[..., 2]).any():
      return False
  return True

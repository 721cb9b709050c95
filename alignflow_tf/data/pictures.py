"""Domains of picture files: scan, decode, resize, split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
import dataclasses
import hashlib
import json
import logging
import os
from typing import Any

import numpy as np

from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import caching
from alignflow_tf.data import headers
from alignflow_tf.data import pixels
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.errors import one_line
from alignflow_tf.data.stores import Store

FITS = {
    'crop': 'the largest middle part of the right aspect ratio',
    'stretch': 'the whole picture, its aspect ratio changed',
    'pad': 'the whole picture, black bars added',
}
_BATCH = 64
_IGNORE_ALPHA = 16
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture file.

  Attributes:
    path: Where it is.
    key: Its name in the set.
    header: What its header says.
    label: Its class, or None.
  """

  path: str
  key: str
  header: headers.Header
  label: int | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How a picture becomes an image of the set.

  Attributes:
    size: (height, width).
    channels: 1 or 3.
    fit: One of `FITS`.
    side: 'whole', or 'left' or 'right' of a side-by-side picture.
  """

  size: tuple[int, int]
  channels: int
  fit: str = 'crop'
  side: str = 'whole'

  def rule(self) -> str:
    """The recipe in words."""
    return (
        f'{FITS[self.fit]}, resized to {self.size[0]}x{self.size[1]}, '
        'bilinear with antialiasing; Exif orientation applied')

  def apply(
      self, image: tf.Tensor, code: tf.Tensor | int | None = None
  ) -> tf.Tensor:
    """Prepares a decoded picture, as graph operations.

    Args:
      image: uint8 [h, w, c], c from 1 to 4.
      code: int32 scalar, see `_code`; None for an upright picture.

    Returns:
      uint8 [H, W, C].
    """
    if code is not None:
      image = tf.cond(
          tf.logical_and(code >= _IGNORE_ALPHA, tf.shape(image)[-1] == 4),
          lambda: image[..., :3], lambda: image)
      image = _upright(image, code % _IGNORE_ALPHA)
    if self.side != 'whole':
      half = tf.shape(image)[1] // 2
      image = image[:, :half] if self.side == 'left' else image[:, half:]
    if self.fit == 'crop':
      image = _middle(image, self.size)
    image = pixels.to_channels(tf.cast(image, tf.float32), self.channels)
    image = tf.ensure_shape(image, [None, None, self.channels])
    if self.fit == 'pad':
      image = _pad_resize(image, self.size)
    else:
      image = tf.image.resize(image, self.size, antialias=True)
    return tf.ensure_shape(
        pixels.to_uint8(image), (*self.size, self.channels))


def _code(header: headers.Header) -> int:
  """Orientation, and a bit that says the fourth channel is padding."""
  return header.orientation + _IGNORE_ALPHA * header.ignore_alpha


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
  def turned(x: tf.Tensor) -> tf.Tensor:
    return tf.transpose(x, [1, 0, 2])

  return tf.switch_case(orientation, [
      lambda: image,  # 0 does not occur.
      lambda: image,
      lambda: image[:, ::-1],
      lambda: image[::-1, ::-1],
      lambda: image[::-1],
      lambda: turned(image),
      lambda: turned(image)[:, ::-1],
      lambda: turned(image)[::-1, ::-1],
      lambda: turned(image)[::-1],
  ])


def _middle(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  height, width = size
  shape = tf.cast(tf.shape(image), tf.float64)
  scale = tf.minimum(shape[0] / height, shape[1] / width)
  rows = tf.maximum(1, tf.cast(tf.round(height * scale), tf.int32))
  columns = tf.maximum(1, tf.cast(tf.round(width * scale), tf.int32))
  top = (tf.shape(image)[0] - rows) // 2
  left = (tf.shape(image)[1] - columns) // 2
  return image[top:top + rows, left:left + columns]


def _pad_resize(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
  height, width = size
  shape = tf.cast(tf.shape(image), tf.float64)
  scale = tf.minimum(height / shape[0], width / shape[1])
  inner = tf.cast(tf.round(shape[:2] * scale), tf.int32)
  inner = tf.clip_by_value(inner, 1, tf.constant(size))
  image = tf.image.resize(image, inner, antialias=True)
  return tf.image.resize_with_crop_or_pad(image, height, width)


def _decode(path: tf.Tensor) -> tf.Tensor:
  """uint8 [h, w, c]; of an animation, the first frame."""
  image = tf.io.decode_image(
      tf.io.read_file(path), channels=0, expand_animations=False)
  return tf.ensure_shape(image, [None, None, None])


def _why(error: BaseException) -> str:
  text = one_line(error)
  return text.split('}} ', 1)[-1].split(' [Op:')[0]


def _fault(path: str) -> str | None:
  """Decodes a file; what is wrong with it, or None."""
  try:
    with tf.device('/CPU:0'):
      _decode(tf.constant(path))
    return None
  except tf.errors.OpError as error:
    return f'it cannot be decoded ({_why(error)})'


class PathStore(Store):
  """Pictures that are decoded each time they are used."""

  def __init__(self, pictures: Sequence[Picture], recipe: Recipe):
    super().__init__(
        (*recipe.size, recipe.channels), _labels(pictures),
        [p.key for p in pictures])
    self._recipe = recipe
    with tf.device('/CPU:0'):
      self._paths = tf.constant([p.path for p in pictures])
      self._codes = tf.constant([_code(p.header) for p in pictures])

  def images(self, indices: tf.Tensor) -> tf.Tensor:
    paths = tf.gather(self._paths, indices)
    codes = tf.gather(self._codes, indices)

    def decode(paths: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
      return tf.map_fn(
          lambda x: self._recipe.apply(_decode(x[0]), x[1]), (paths, codes),
          parallel_iterations=4,
          fn_output_signature=tf.TensorSpec(self.shape, tf.uint8))

    # A decoder's error does not say which file it was about, and a graph
    # cannot catch it, but a dataset can: one element, none after an error.
    batch, fine = _or_else((paths, codes), decode, self.shape)

    def name_it() -> tf.Tensor:
      good = tf.map_fn(
          lambda x: _or_else(
              (x[0][None], x[1][None]), decode, self.shape)[1],
          (paths, codes), fn_output_signature=tf.bool)
      check = tf.debugging.Assert(tf.reduce_all(good), [
          'These pictures can no longer be read or decoded; remove them, or '
          'load with `skip_unreadable=True`:',
          tf.boolean_mask(paths, tf.logical_not(good))], summarize=5)
      with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(batch)

    batch = tf.cond(fine, lambda: batch, name_it)
    return tf.ensure_shape(batch, (*indices.shape, *self.shape))


def _or_else(
    inputs: tuple[tf.Tensor, tf.Tensor],
    decode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    shape: tuple[int, int, int],
) -> tuple[tf.Tensor, tf.Tensor]:
  """`decode(*inputs)` and True, or an empty batch and False if it fails."""
  good = tf.data.Dataset.from_tensors(inputs).map(
      tf.autograph.experimental.do_not_convert(
          lambda *x: (tf.ensure_shape(decode(*x), (None, *shape)), True))
  ).ignore_errors()
  bad = tf.data.Dataset.from_tensors(
      (tf.zeros((0, *shape), tf.uint8), False))
  return good.concatenate(bad).take(1).get_single_element()


def _labels(pictures: Sequence[Picture]) -> np.ndarray | None:
  if not pictures or pictures[0].label is None:
    return None
  return np.array([p.label for p in pictures], np.int64)


def find(folder: str) -> tuple[list[str], list[str]]:
  """Files in a folder and below it.

  Hidden files and folders (`.git`, `._a.jpg`) are left out; links are
  followed.

  Args:
    folder: Where to look.

  Returns:
    Paths of pictures by their extension, and of all other files, relative to
    the folder, with `/`, sorted.
  """
  found: list[str] = []
  other: list[str] = []
  seen: set[str] = set()
  for root, dirs, files in os.walk(folder, followlinks=True):
    real = os.path.realpath(root)
    if real in seen:  # A link that leads back up.
      dirs[:] = []
      continue
    seen.add(real)
    dirs[:] = sorted(d for d in dirs if not d.startswith('.'))
    for file in files:
      if file.startswith('.'):
        continue
      name = os.path.relpath(os.path.join(root, file), folder)
      name = name.replace(os.sep, '/')
      known = os.path.splitext(file)[1].lower() in headers.EXTENSIONS
      (found if known else other).append(name)
  return sorted(found), sorted(other)


@dataclasses.dataclass
class Scan:
  """Result of `scan`: pictures, and what was left out."""

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
  """Reads the headers of pictures; none may be cut short.

  Args:
    folder: The folder.
    names: Paths in it; they become the keys.
    what: Who asks, for messages.
    skip_unreadable: Leave out bad files (then every file is decoded once, to
      know them all now).
    max_pixels: Largest accepted width * height.
    halves: Whether they are side-by-side pictures.

  Returns:
    The good pictures, in the order of `names`.

  Raises:
    DataError: Naming bad files, unless they are skipped.
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
      header = headers.read(path, max_pixels)
    except headers.UnreadableError as error:
      return f'{path}: {error}'
    if halves and (header.width % 2 or header.width < 2):
      return (f'{path}: it is {header.width} pixels wide; two pictures side '
              'by side need an even width')
    if skip_unreadable:
      fault = _fault(path)
      if fault:
        return f'{path}: {fault}'
    return Picture(path, name, header)

  with futures.ThreadPoolExecutor(4) as pool:
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
      'them with `skip_unreadable=True` (--skip_unreadable); a limit on size '
      'is set with `max_pixels`.')


def _read_batches(
    pictures: Sequence[Picture], recipe: Recipe, what: str
) -> caching.Batches:
  """Decodes pictures in parallel, in order."""
  with tf.device('/CPU:0'):
    dataset = tf.data.Dataset.from_tensor_slices((
        [p.path for p in pictures], [_code(p.header) for p in pictures]))
    dataset = dataset.map(
        tf.autograph.experimental.do_not_convert(
            lambda path, code: recipe.apply(_decode(path), code)),
        num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    start = 0
    try:
      for images in dataset.batch(_BATCH).prefetch(2).as_numpy_iterator():
        labels = _labels(pictures[start:start + len(images)])
        start += len(images)
        yield images, labels
    except tf.errors.OpError as error:
      # The op does not say which file it was.
      bad = [f'{p.path}: {fault}' for p in pictures[start:]
             if (fault := _fault(p.path))]
      if not bad:
        raise DataError(
            f'{what}: decoding failed ({_why(error)}).') from error
      raise DataError(_unreadable(what, bad, len(pictures))) from error


def _fingerprint(parts: dict[str, list[Picture]]) -> str:
  """Hangs on the names and sizes of the files of each split, not on places."""
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
    parts: Pictures per split.
    recipe: How they become images.
    cache: 'memory', 'file' or 'none'.
    cache_dir: Folder of cache files or None.
    info: Facts for `describe`.
    what: The source, for messages.

  Returns:
    The domain. Unless `cache` is 'none', train and validation have been
    decoded, so that their faults show now and not in the middle of a run.

  Raises:
    DataError: If a picture cannot be decoded, or they do not fit.
  """
  shape = (*recipe.size, recipe.channels)

  def open_split(split: str) -> Store:
    pictures = parts[split]
    if cache == 'none':
      return PathStore(pictures, recipe)
    cached = caching.read(
        lambda: _read_batches(pictures, recipe, what), len(pictures), shape,
        cache, cache_dir,
        [dataclasses.asdict(recipe),
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
          'channels': (
              'grey copied to 3' if recipe.channels == 3 and grey else
              'RGB (grey ones copied, alpha over white, 16-bit to 8)'
              if recipe.channels == 3 else
              'grey (colours by luma, alpha over white, 16-bit to 8)'),
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


def _only_greys(store: Store) -> bool:
  """Whether all images of a store have three equal channels."""
  for start in range(0, store.size, _BATCH):
    x = store.images(tf.range(
        start, min(start + _BATCH, store.size), dtype=tf.int64)).numpy()
    if (x[..., 0] != x[..., 1]).any() or (x[..., 1] != x[..., 2]).any():
      return False
  return True

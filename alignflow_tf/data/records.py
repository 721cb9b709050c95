"""Domains from TFDS records: found, or downloaded, and read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import glob
import json
import os
import re
from typing import Any

from alignflow_tf import _io
from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import caching
from alignflow_tf.data import network
from alignflow_tf.data import pixels
from alignflow_tf.data import recipe as recipe_lib
from alignflow_tf.data import source as source_lib
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.stores import Store

_BATCH = 256


def find(data_dir: str | None, tfds_name: str) -> str | None:
  """The folder of prepared records of a set, or None.

  Args:
    data_dir: A TFDS data folder, or None for TFDS's default.
    tfds_name: 'mnist', or 'cycle_gan/horse2zebra'.

  Returns:
    Its `tfds_name/VERSION`, of the highest version that is complete.
  """
  found = []
  pattern = os.path.join(
      glob.escape(network.data_dir(data_dir)), *tfds_name.split('/'), '*',
      'dataset_info.json')
  for path in glob.glob(pattern):
    folder = os.path.dirname(path)
    version = os.path.basename(folder)
    # TFDS prepares in `VERSION.incompleteXYZ` and renames.
    if re.fullmatch(r'\d+\.\d+\.\d+', version):
      found.append((tuple(int(v) for v in version.split('.')), folder))
  return max(found)[1] if found else None


def ensure(
    tfds_name: str,
    data_dir: str | None,
    download: bool,
    url: str,
    make_builder: Callable[[str], Any],
    also: str = '',
) -> str:
  """The folder of a set's records, after downloading them if need be.

  Args:
    tfds_name: Name of the set in `data_dir`.
    data_dir: A TFDS data folder, or None for TFDS's default.
    download: Whether downloading is allowed.
    url: An address that the download needs.
    make_builder: Gives the TFDS builder for a data folder.
    also: Another layout that would do, for the message.

  Returns:
    A folder to be read with `tfds.builder_from_directory`.

  Raises:
    DataError: If there are no records and they cannot be downloaded; without
      a network within 3 s.
  """
  root = network.data_dir(data_dir)
  folder = find(root, tfds_name)
  if folder:
    return folder
  given = f'`data_dir` is {data_dir!r}' if data_dir else (
      f"`data_dir` is not given (TFDS's default is {root})")
  missing = (
      f'{given}, and there are no records of {tfds_name!r}: '
      f'{os.path.join(root, tfds_name)}/VERSION/dataset_info.json does not '
      'exist'
      + ('' if os.path.isdir(root) else ' (the folder itself does not)')
  )
  would_do = (
      f'Give a `data_dir` that holds them{also}, or run once with a network '
      f'and `download=True`: they come from {url}. '
      "`dataset='digits'` needs neither."
  )
  if not download:
    raise DataError(f'{missing}, and `download` is off. {would_do}')
  if not network.reachable(url):
    raise DataError(
        f'{missing}, and the server cannot be reached. {would_do}')
  try:
    builder = make_builder(root)
    _prepare(builder, root)
  except Exception as error:  # TFDS raises anything from OSError to Assertion.
    folder = find(root, tfds_name)
    if folder:  # Another process was faster.
      return folder
    raise DataError(
        f'{missing}, and downloading failed: {type(error).__name__}: '
        f'{_io.first_line(error)}. Nothing half-written is kept; run again to '
        f'retry. {would_do}'
    ) from error
  folder = find(root, tfds_name)
  if folder is None:
    raise DataError(f'{missing}, although preparing them went through.')
  return folder


def _prepare(builder: Any, data_dir: str) -> None:
  """Downloads into a folder of this call's own, and prepares the records.

  TFDS prepares aside, but keeps half a file with the whole ones, and takes a
  file that was downloaded once, be it an error page, for good. So the folder is
  removed with all that is in it (after a kill, by the next call), and with
  nothing else: another process may be downloading to the same `data_dir`.
  """
  import tensorflow_datasets as tfds  # pylint: disable=import-outside-toplevel
  downloads = os.path.join(data_dir, 'downloads')
  os.makedirs(downloads, exist_ok=True)
  with _io.temporary_folder(downloads, '.alignflow_tf.') as own:
    builder.download_and_prepare(
        download_dir=own,
        download_config=tfds.download.DownloadConfig(
            manual_dir=os.path.join(downloads, 'manual')))


@contextlib.contextmanager
def reading(folder: str) -> Iterator[None]:
  """Turns the errors of reading records into ones that name the folder."""
  try:
    yield
  except DataError:
    raise
  except Exception as error:
    raise DataError(
        f'The records in {folder} cannot be read ({type(error).__name__}: '
        f'{_io.first_line(error)}). Remove the folder and download or prepare '
        'it again.'
    ) from error


def refuse_streaming(cache: str, folder: str) -> None:
  """Refuses `cache='none'` for records, which have no random access.

  Raises:
    DataError: If `cache` is 'none'.
  """
  if cache == 'none':
    raise DataError(
        f"`cache` is 'none', but {folder} holds TFDS records, which are read "
        'from front to back only, while training takes images in any order. '
        "Give `cache='file'` (read once, then paged from disk) or "
        "`cache='memory'`.")


class Records:
  """Prepared TFDS records of one set: image, and perhaps label."""

  def __init__(self, folder: str):
    self.folder = folder
    self._cached: dict[Any, caching.Cached] = {}
    with reading(folder):
      self.counts = _counts(folder)

  @functools.cached_property
  def _builder(self) -> Any:
    import tensorflow_datasets as tfds  # pylint: disable=import-outside-toplevel
    with reading(self.folder):
      return tfds.builder_from_directory(self.folder)

  def _read(self, split: str, **kwargs: Any) -> tf.data.Dataset:
    """Examples in record order, the same on every machine."""
    import tensorflow_datasets as tfds  # pylint: disable=import-outside-toplevel
    return self._builder.as_dataset(
        split=split,
        shuffle_files=False,
        read_config=tfds.ReadConfig(
            interleave_cycle_length=1, try_autocache=False),
        **kwargs)

  def features(self) -> Any:
    """The `tfds.features.FeaturesDict` of an example."""
    with reading(self.folder):
      return self._builder.info.features

  def column(self, split: str, feature: str) -> list[str]:
    """The strings of a feature, in record order; images are not decoded."""
    import tensorflow_datasets as tfds  # pylint: disable=import-outside-toplevel
    with reading(self.folder):
      dataset = self._read(
          split, decoders=tfds.decode.PartialDecoding({feature})).batch(4096)
      return [
          value.decode('utf-8') for part in dataset.as_numpy_iterator()
          for value in part[feature]
      ]

  def cached(
      self,
      split: str,
      recipe: recipe_lib.Recipe,
      reading: source_lib.Reading,
      image_key: str = 'image',
      label_key: str | None = 'label',
      one_size: bool = False,
  ) -> caching.Cached:
    """All images of a split in the records, read once.

    Args:
      split: Name of the split in the records.
      recipe: How they become images of the domain.
      reading: Where they are kept.
      image_key: The feature that holds the image.
      label_key: The feature that holds the label, where there is one.
      one_size: Whether all have one size and are resized whole, which is
        quicker.
    """
    key = split, image_key, label_key
    if key not in self._cached:
      # All that the pixels depend on.
      files = [[os.path.abspath(f), os.path.getsize(f), os.stat(f).st_mtime_ns]
               for f in sorted(glob.glob(os.path.join(
                   glob.escape(self.folder), f'*-{split}.*')))]
      self._cached[key] = caching.read(
          lambda: self.batches(split, recipe, image_key, label_key, one_size),
          self.counts[split], (*recipe.size, recipe.channels), reading.cache,
          reading.cache_dir,
          [files, dataclasses.asdict(recipe), image_key, label_key],
          self.folder)
    return self._cached[key]

  def batches(
      self, split: str, recipe: recipe_lib.Recipe, image_key: str,
      label_key: str | None, one_size: bool) -> caching.Batches:
    """Yields (uint8 images [b, H, W, C], int64 [b] or None); see `cached`."""
    with reading(self.folder):
      label_name = label_key or ''
      labelled = label_name in self._builder.info.features
      dataset = self._read(split)

      @tf.autograph.experimental.do_not_convert
      def pick(example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image = example[image_key]
        label = example[label_name] if labelled else tf.constant(0, tf.int64)
        return (image if one_size else recipe.apply(image)), label

      dataset = dataset.map(
          pick, num_parallel_calls=tf.data.AUTOTUNE
      ).batch(_BATCH).prefetch(2)
      for images, labels in dataset.as_numpy_iterator():
        if one_size:
          images = pixels.resize_array(images, recipe.size, recipe.channels)
        yield images, (labels if labelled else None)


def _counts(folder: str) -> dict[str, int]:
  """Examples a split, as TFDS would say, without the seconds it loads for."""
  with open(os.path.join(folder, 'dataset_info.json'), encoding='utf-8') as f:
    splits = json.load(f)['splits']
  return {s['name']: sum(int(n) for n in s['shardLengths']) for s in splits}


def held_out_domain(
    name: str,
    counts: dict[str, int],
    read: Callable[[str], caching.Cached],
    *,
    labelled: bool,
    grey_copied: bool,
    info: dict[str, Any],
    source_splits: tuple[str, str] = ('train', 'test'),
) -> Domain:
  """A domain whose source has train and test, and no validation split.

  Args:
    name: Name of the domain.
    counts: Images per split of the source.
    read: Gives all images of a split of the source; called for each split.
    labelled: Whether there are labels; the cut is then stratified.
    grey_copied: See `Domain`.
    info: Facts for `describe`.
    source_splits: The source's names for train and test.

  Returns:
    The domain. Test is not read before it is asked for.
  """
  train, test = source_splits
  held = splits_lib.held_out_size(counts[train], counts[test])
  sizes = {
      'train': counts[train] - held, 'validation': held, 'test': counts[test]}

  def open_split(split: str) -> Store:
    source = test if split == 'test' else train
    held_data = read(source)
    if split == 'test':
      # A fixed shuffle, so that `limit` takes an unbiased sample.
      rows = splits_lib.stratified(held_data.labels, [counts[test]],
                                   counts[test])[0]
    else:
      parts = splits_lib.stratified(
          held_data.labels, [sizes['train'], held], counts[train])
      rows = parts[0 if split == 'train' else 1]
    return held_data.store(rows, [f'{name}/{source}/{i}' for i in rows])

  rule = (
      f'{splits_lib.HELD_OUT_RULE} ({held} of {counts[train]}'
      f'{", stratified by class" if labelled else ""}; numpy RandomState '
      f'permutation, seed {splits_lib.SPLIT_SEED}); test as published by the '
      'source')
  return Domain(
      name=name, sizes=sizes, open_split=open_split, labelled=labelled,
      grey_copied=grey_copied, info={**info, 'splits': rule})

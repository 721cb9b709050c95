"""TFDS builder of USPS from LIBSVM's files (TFDS 4.9 has none)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from alignflow_tf.data import libsvm

URL = 'https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/'
FILES = {'train': 'usps.bz2', 'test': 'usps.t.bz2'}
_DESCRIPTION = """
USPS: 9,298 handwritten digits scanned from envelopes by the U.S. Postal
Service, 16x16 grey, white on black: 7,291 for training and 2,007 for testing,
in the order of the source. The pixel values -1..1 are brought to 0..255 and
rounded.
"""
_CITATION = """
@article{hull1994database,
  title={A database for handwritten text recognition research},
  author={Hull, Jonathan J.},
  journal={IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume={16}, number={5}, pages={550--554}, year={1994}
}
"""


class Usps(tfds.core.GeneratorBasedBuilder):
  """Builder of `usps`.

  It downloads the two files, or takes them from
  `DownloadConfig(manual_dir=...)` where that holds them.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'LIBSVM files, rounded to uint8.'}
  # TFDS gives no access to the manual folder without it.
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      'Optional: usps.bz2 and usps.t.bz2 of LIBSVM, where they cannot be '
      'downloaded.')
  # Counts of the published files; a test with a small file overrides it.
  COUNTS: dict[str, int] | None = {'train': 7291, 'test': 2007}

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        description=_DESCRIPTION,
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(
                shape=(libsvm.SIDE, libsvm.SIDE, 1)),
            'label': tfds.features.ClassLabel(num_classes=10),
        }),
        supervised_keys=('image', 'label'),
        homepage=URL,
        citation=_CITATION,
        disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    paths = _manual(dl_manager) or dl_manager.download(
        {split: URL + file for split, file in FILES.items()})
    return {
        split: self._generate_examples(paths[split], split)
        for split in FILES
    }

  def _generate_examples(
      self, path: Any, split: str
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    with tf.io.gfile.GFile(str(path), 'rb') as file:
      try:
        images, labels = libsvm.parse(file.read())
      except ValueError as error:
        raise ValueError(f'{path} is not USPS: {error}.') from error
    # The published files carry no checksum; their counts are known.
    if self.COUNTS and len(images) != self.COUNTS[split]:
      raise ValueError(
          f'{path} holds {len(images)} images; the {split} split of USPS has '
          f'{self.COUNTS[split]}.')
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
      yield row, {'image': image, 'label': int(np.int64(label))}


def _manual(dl_manager: Any) -> dict[str, Any] | None:
  """Paths of both files in the manual folder, or None."""
  try:
    folder = dl_manager.manual_dir
  except AssertionError:  # TFDS: there is no manual folder, or it is empty.
    return None
  paths = {split: folder / file for split, file in FILES.items()}
  return paths if all(p.exists() for p in paths.values()) else None

"""TFDS builder over the pix2pix layout: side-by-side A|B pictures.

TFDS's `cycle_gan` has the same pictures, cut apart and shuffled on their own,
so that which A belongs to which B is lost. Here an example is a pair.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
from typing import Any

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

URL = 'http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/'
NAMES = ('maps', 'facades', 'cityscapes')
# Names of the splits in TFDS by folder in the archive.
SPLITS = {'train': 'train', 'val': 'validation', 'test': 'test'}
_EXTENSIONS = ('.jpg', '.jpeg', '.png')
_DESCRIPTION = """
Pairs of pictures of the same thing in two styles, as published with pix2pix:
aerial photographs and maps, photographs of facades and label maps, street
scenes and label maps.
"""
_CITATION = """
@inproceedings{isola2017image,
  title={Image-to-Image Translation with Conditional Adversarial Networks},
  author={Isola, Phillip and Zhu, Jun-Yan and Zhou, Tinghui and
          Efros, Alexei A},
  booktitle={CVPR}, year={2017}
}
"""


@dataclasses.dataclass(eq=False)
class Pix2pixConfig(tfds.core.BuilderConfig):
  """A set in the pix2pix layout; its name is the archive's."""


class Pix2pix(tfds.core.GeneratorBasedBuilder):
  """Builder of `pix2pix/maps`, `pix2pix/facades` and `pix2pix/cityscapes`.

  It downloads the archive, or takes the folder `NAME/{train,val,test}` from
  `DownloadConfig(manual_dir=...)` where that holds it.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Pairs with their file names as ids.'}
  # TFDS gives no access to the manual folder without it.
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      'Optional: the unpacked archive, as maps/train and maps/val, where it '
      'cannot be downloaded.')
  BUILDER_CONFIGS = [
      Pix2pixConfig(name=n, description=f'The pix2pix set {n}.')
      for n in NAMES
  ]

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        description=_DESCRIPTION,
        features=tfds.features.FeaturesDict({
            'image_a': tfds.features.Image(
                shape=(None, None, 3), encoding_format='png'),
            'image_b': tfds.features.Image(
                shape=(None, None, 3), encoding_format='png'),
            'id': tfds.features.Text(),
        }),
        homepage='https://phillipi.github.io/pix2pix/',
        citation=_CITATION,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    name = self.builder_config.name
    root = self._manual(dl_manager, name) or dl_manager.download_and_extract(
        f'{URL}{name}.tar.gz') / name
    return {
        split: self._generate_examples(root / folder, folder)
        for folder, split in SPLITS.items() if (root / folder).exists()
    }

  @staticmethod
  def _manual(dl_manager: Any, name: str) -> Any:
    try:
      folder = dl_manager.manual_dir / name
    except AssertionError:  # TFDS: there is no manual folder, or it is empty.
      return None
    return folder if (folder / 'train').exists() else None

  def _generate_examples(
      self, folder: Any, prefix: str
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.iterdir()):
      if not path.name.lower().endswith(_EXTENSIONS) or (
          path.name.startswith('.')):
        continue
      left, right = halves(path)
      yield path.name, {
          'image_a': left, 'image_b': right, 'id': f'{prefix}/{path.name}'}


def halves(path: Any) -> tuple[np.ndarray, np.ndarray]:
  """Cuts a side-by-side picture in two.

  Returns:
    The left and the right half, uint8 [h, w / 2, 3].

  Raises:
    ValueError: If it cannot be decoded, or its width is odd.
  """
  try:
    with Image.open(path) as picture:
      image = np.asarray(picture.convert('RGB'))
  except OSError as error:
    raise ValueError(f'{path} cannot be decoded: {error}') from error
  width = image.shape[1]
  if width % 2:
    raise ValueError(
        f'{path} is {width} pixels wide; two pictures side by side need an '
        'even width.')
  return image[:, :width // 2], image[:, width // 2:]

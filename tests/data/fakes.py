"""Small data in the published formats, made by the tests themselves."""

import bz2
import os
import pathlib

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds


def write_picture(path, array, **kwargs):
  """Writes an array as a picture; the format follows the extension."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(array)).save(path, **kwargs)
  return path


def colour(height=20, width=24, seed=0):
  """A smooth random RGB picture."""
  random = np.random.RandomState(seed)
  small = random.randint(0, 256, (4, 4, 3)).astype(np.uint8)
  return np.asarray(Image.fromarray(small).resize((width, height)))


def fill_folder(folder, count, extension='.png', grey=False, seed=0):
  """Fills a folder with `count` pictures."""
  for i in range(count):
    image = colour(seed=seed * 1000 + i)
    write_picture(
        pathlib.Path(folder) / f'p{i:03d}{extension}',
        image[..., 0] if grey else image)
  return str(folder)


def write_records(data_dir, name, version, shape, counts, seed=0, label=True):
  """Writes TFDS records of random images, with labels 0 to 9."""
  random = np.random.RandomState(seed)

  def examples(count):
    return [
        {'image': random.randint(0, 256, shape).astype(np.uint8),
         **({'label': i % 10} if label else {})}
        for i in range(count)
    ]

  features = {'image': tfds.features.Image(shape=shape)}
  if label:
    features['label'] = tfds.features.ClassLabel(num_classes=10)
  tfds.dataset_builders.store_as_tfds_dataset(
      name=name, version=version, data_dir=str(data_dir),
      features=tfds.features.FeaturesDict(features),
      split_datasets={s: _dataset(examples(c)) for s, c in counts.items()},
      disable_shuffling=True)


def _dataset(examples):
  import tensorflow as tf
  columns = {k: np.stack([e[k] for e in examples]) for k in examples[0]}
  return tf.data.Dataset.from_tensor_slices(columns)


def usps_bytes(count, seed=0):
  """A small file in the format of `usps.bz2`, and what it holds."""
  random = np.random.RandomState(seed)
  pixels = random.randint(0, 256, (count, 16, 16, 1)).astype(np.uint8)
  labels = np.arange(count) % 10
  lines = []
  for image, label in zip(pixels, labels, strict=True):
    values = image.reshape(-1) / 127.5 - 1.0
    parts = [f'{i + 1}:{v:.6f}' for i, v in enumerate(values)]
    lines.append(f'{label + 1} ' + ' '.join(parts))
  return bz2.compress(('\n'.join(lines) + '\n').encode()), pixels, labels


def write_usps(folder, train=40, test=20):
  """Writes both files of USPS; returns (pixels, labels) of each split."""
  os.makedirs(folder, exist_ok=True)
  result = {}
  for split, file, count, seed in (
      ('train', 'usps.bz2', train, 1), ('test', 'usps.t.bz2', test, 2)):
    data, pixels, labels = usps_bytes(count, seed)
    (pathlib.Path(folder) / file).write_bytes(data)
    result[split] = (pixels, labels)
  return result


def pair(number, side=16):
  """A side-by-side picture whose halves both tell its number.

  The left half is (number, 10, 200), the right half (10, number, 50).
  """
  image = np.zeros((side, 2 * side, 3), np.uint8)
  image[:, :side] = (number, 10, 200)
  image[:, side:] = (10, number, 50)
  return image


def write_pairs(folder, counts):
  """Writes the pix2pix layout; numbers run on over the splits."""
  number = 0
  for split, count in counts.items():
    for i in range(count):
      write_picture(
          pathlib.Path(folder) / split / f'{i + 1}.png', pair(number))
      number += 1
  return str(folder)

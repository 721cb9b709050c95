"""Errors of reading the zoo of pictures, against Pillow and between programs.

  python tools/picture_errors.py

prints, for each format, the number of files, the mean and largest difference
in levels of training's reading from Pillow's, and how many files a server
takes, refuses and reads differently from training.
"""

from __future__ import annotations

import collections
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import tensorflow as tf

# For the zoo of the tests.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from alignflow_tf import images as images_lib  # noqa: E402
from alignflow_tf.data import decoding  # noqa: E402
from alignflow_tf.data.recipe import Recipe  # noqa: E402
from alignflow_tf.export import codec  # noqa: E402
from tests.data import zoo  # noqa: E402
from tests.data import zoo_test  # noqa: E402


def main():
  shape = (zoo.HEIGHT, zoo.WIDTH, 3)
  recipe = Recipe(shape[:2], 3, 'stretch')
  rows = collections.defaultdict(lambda: ([], collections.Counter()))
  with tempfile.TemporaryDirectory() as folder:
    for name in zoo.make(pathlib.Path(folder)):
      path = pathlib.Path(folder) / name
      errors, served = rows[decoding.inspect(str(path)).kind]
      got = recipe.apply(tf.constant(decoding.decode(str(path)))).numpy()
      want = zoo_test.by_pillow(path)
      errors.append(np.abs(got.astype(int) - want))
      try:
        found = images_lib.to_uint8(codec.decode(
            tf.constant([path.read_bytes()]), shape,
            codec.Preparation('stretch')))
        same = np.array_equal(found.numpy()[0], got)
        served['same' if same else 'different'] += 1
      except tf.errors.InvalidArgumentError:
        served['refused'] += 1
  for kind, (errors, served) in sorted(rows.items()):
    print(f'{kind:<6}{len(errors):>4} files  mean '
          f'{np.mean([e.mean() for e in errors]):.4f}  largest '
          f'{max(e.max() for e in errors)}  server {dict(served)}')
  every = [e for errors, _ in rows.values() for e in errors]
  print(f'all   {len(every):>4} files  mean '
        f'{np.mean([e.mean() for e in every]):.4f}')


if __name__ == '__main__':
  warnings.simplefilter('ignore')  # Pillow's, of a damaged Exif block.
  main()

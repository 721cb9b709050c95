"""The share of an adaptation's translations that keep their class.

  python -m alignflow_tf.adapt --task=svhn_mnist --output=runs/adapt \
    --method=alignflow,cycada,target_only
  python tools/labels_kept.py --task=svhn_mnist --output=runs/adapt --seed=0

The judge is the classifier of `target_only`: it learned from real images of the
target with their true labels, and no other method uses it. It reads the
source's test images, as they are and translated by each translator of the
directory. Prints the share that it reads right, and writes a picture of each
translator's images to the directory.
"""

from __future__ import annotations

import argparse
import glob
import os

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf import sheets
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.train import runs


def main() -> None:
  """Prints the shares and writes the pictures."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--task', default='svhn_mnist')
  parser.add_argument('--output', default='runs/adapt')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--data_dir')
  arguments = parser.parse_args()
  source, target = arguments.task.split('_')
  settings = config_lib.resolve(dataset=arguments.task)
  domains = data.load(
      arguments.task, data_dir=arguments.data_dir,
      image_size=settings.image_size, channels=settings.channels,
      **settings.reading())
  folder = os.path.join(
      arguments.output, arguments.task, f'seed_{arguments.seed}')
  path = os.path.join(folder, 'target_only', 'model.keras')
  if not os.path.exists(path):
    parser.error(f'--output: {path} is not there; run the adaptation with '
                 '--method=target_only first.')
  judge = keras.models.load_model(path, compile=False)

  def share(images: np.ndarray, labels: np.ndarray) -> str:
    right = judge.predict(images, batch_size=500, verbose=0).argmax(-1)
    return f'{100. * (right == labels).mean():.2f} % of {len(labels):,}'

  def arrays(domain: str) -> tuple[np.ndarray, np.ndarray]:
    found = domains.arrays(domain, 'test')
    return (images_lib.from_uint8(tf.constant(found['image'])).numpy(),
            found['label'])

  images, labels = arrays(source)
  print(f'{target}, real: {share(*arrays(target))}')
  print(f'{source}, as it is: {share(images, labels)}')
  # A result without a translator, `alignflow+-no_translator`, is no run.
  for config in sorted(glob.glob(
      os.path.join(folder, '*_translator', 'config.json'))):
    run = os.path.dirname(config)
    translated = np.clip(inference.Evaluator(
        runs.load(run), batch_size=500).translate(images, source, target), 0, 1)
    name = os.path.basename(run)
    print(f'{source}, {name}: {share(translated, labels)}', flush=True)
    # Two of each class, as they come, over their translations.
    shown = np.concatenate([
        np.flatnonzero(labels == c)[:2] for c in range(10)])
    sheets.write_png(os.path.join(folder, f'{name}.png'), sheets.grid(
        [images_lib.to_uint8(tf.constant(x[shown])).numpy()
         for x in (images, translated)], scale=2))


if __name__ == '__main__':
  main()

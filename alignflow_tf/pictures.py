"""Picture sheets of a model."""

from __future__ import annotations

from collections.abc import Mapping
import os

import numpy as np
import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf import metrics

__all__ = ['interpolation', 'joint_samples', 'translations', 'write_png']


def _zoom(height: int) -> int:
  return max(1, 64 // height)


def translations(evaluator: metrics.Evaluator, images: np.ndarray, source: str,
                 target: str) -> np.ndarray:
  """Rows: images, their translations, and the way back.

  Args:
    evaluator: Evaluator of the model.
    images: float32 images `[N, H, W, C]` in [0, 1] of the source domain.
    source: Its name.
    target: The domain to translate to.

  Returns:
    A uint8 picture `[height, width, 3]`.
  """
  translated = evaluator.translate(images, source, target)
  back = evaluator.translate(translated, target, source)
  return images_lib.sheet(
      [images, translated, back], scale=_zoom(images.shape[1]))


def joint_samples(evaluator: metrics.Evaluator, num: int = 16, seed: int = 0,
                  temperature: float = 1.) -> np.ndarray:
  """A row a domain: samples paired by their latent (section 3.4).

  Args:
    evaluator: Evaluator of the model.
    num: Number of samples.
    seed: Seed of the latents.
    temperature: Standard deviation of the latents.

  Returns:
    A uint8 picture `[height, width, 3]`.
  """
  model = evaluator.model
  z = np.random.RandomState(seed).standard_normal((num, *model.event_shape))
  z = (temperature * z).astype(np.float32)
  rows = [evaluator.decode(z, d) for d in model.domains]
  return images_lib.sheet(rows, scale=_zoom(model.event_shape[0]))


def interpolation(evaluator: metrics.Evaluator, first: np.ndarray,
                  last: np.ndarray, source: str, num: int = 11) -> np.ndarray:
  """Rows: an interpolation in its domain, and decoded into the others.

  Args:
    evaluator: Evaluator of the model.
    first: float32 images `[N, H, W, C]` at the left end.
    last: As many images at the right end.
    source: Their domain.
    num: Number of frames.

  Returns:
    A uint8 picture `[height, width, 3]`.
  """
  model = evaluator.model
  frames = evaluator.interpolate(first, last, source, num)
  order = [source] + [d for d in model.domains if d != source]
  rows = [frames[d][i] for i in range(len(first)) for d in order]
  return images_lib.sheet(rows, scale=_zoom(model.event_shape[0]))


def write_png(path: str, picture: np.ndarray) -> None:
  """Writes a uint8 picture aside, then renames."""
  partial = f'{path}.partial'
  with open(partial, 'wb') as f:
    f.write(tf.io.encode_png(picture).numpy())
  os.replace(partial, path)


def write_all(directory: str, evaluator: metrics.Evaluator,
              images: Mapping[str, np.ndarray], prefix: str = '') -> list[str]:
  """Writes the sheets of a model.

  Args:
    directory: Where to; it exists.
    evaluator: Evaluator of the model.
    images: For each domain, some float32 images in [0, 1]; fewer than 2 give no
      interpolation. A model without latents gives neither that nor samples.
    prefix: What file names begin with.

  Returns:
    The paths written.
  """
  sheets = {}
  domains = evaluator.model.domains
  for source in domains:
    for target in domains:
      if source != target:
        sheets[f'{source}_to_{target}'] = translations(
            evaluator, images[source][:16], source, target)
    few = images[source][:6]
    half = len(few) // 2
    if half and evaluator.has_densities:
      sheets[f'interpolation_{source}'] = interpolation(
          evaluator, few[:half], few[half:2 * half], source)
  if evaluator.has_densities:
    sheets['samples'] = joint_samples(evaluator)
  paths = []
  for name, sheet in sheets.items():
    paths.append(os.path.join(directory, f'{prefix}{name}.png'))
    write_png(paths[-1], sheet)
  return paths

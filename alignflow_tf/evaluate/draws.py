"""Figures of several translations of one image (`one_to_many`)."""

from __future__ import annotations

import numpy as np

from alignflow_tf import inference
from alignflow_tf import sheets
from alignflow_tf.evaluate import pairs

__all__ = ['score', 'sheet']

_NUMBER = 8


def score(evaluator: inference.Evaluator, images: np.ndarray, source: str,
          target: str, every: int, targets: np.ndarray, paired: bool,
          seed: int = 0) -> dict[str, float]:
  """Scores eight translations of each image, clipped as a picture's pixels.

  Args:
    evaluator: A model with latents.
    images: Images `[N, H, W, C]` of the source in [0, 1].
    source: Its name.
    target: Name of the target.
    every: As in `one_to_many.redraw`.
    targets: Real images `[M, H, W, C]` of the target.
    paired: Whether targets are the images' partners.
    seed: First of the eight seeds.

  Returns:
    `spread`: mean absolute difference of two translations of one image, of a
    pixel in [0, 1]; `spread_real`: that of two real images. `back`: mean
    absolute error of the way back from a translation as an 8-bit picture. In a
    paired set `mse`, the mean over translations, and `best_mse`, that of each
    image's best one, both on (-1, 1).
  """
  spread, back, errors, last = [], [], [], None
  for x in evaluator.draws(
      images, source, target, every, range(seed, seed + _NUMBER)):
    translated = np.clip(x, 0., 1.)
    if last is not None:
      spread.append(_difference(translated, last))
    back.append(evaluator.round_trip(
        images, source, target, as_picture=True, translated=x)['mean'])
    if paired:
      errors.append([
          pairs.mse(a[np.newaxis], b[np.newaxis])
          for a, b in zip(translated, targets, strict=True)])
    last = translated
  half = len(targets) // 2
  result = {
      'spread': float(np.mean(spread)), 'back': float(np.mean(back)),
      'spread_real': _difference(targets[:half], targets[half:2 * half]) if (
          half) else float('nan')}
  if paired:
    result |= {'mse': float(np.mean(errors)),
               'best_mse': float(np.mean(np.min(errors, axis=0)))}
  return result


def sheet(evaluator: inference.Evaluator, images: np.ndarray, source: str,
          target: str, every: int, partners: np.ndarray | None = None,
          seed: int = 0) -> np.ndarray:
  """Rows: images, four translations of each, and partners; a picture."""
  rows = [images, *evaluator.draws(
      images, source, target, every, range(seed, seed + 4))]
  if partners is not None:
    rows.append(partners)
  return sheets.grid(rows, scale=max(1, 64 // images.shape[1]))


def _difference(images: np.ndarray, others: np.ndarray) -> float:
  return float(np.abs(images - others).mean(dtype=np.float64))

"""Figures of translations against the true partners of their sources.

All functions take images `[N, H, W, C]` in [0, 1]; image i of one array is the
partner of image i of the other. Squared and absolute errors are on (-1, 1), as
in section 5.1 of the AlignFlow paper.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Number of values for which colours and distances are computed at a time.
_CHUNK = 2**24


def mse(translated: np.ndarray, targets: np.ndarray) -> float:
  """Mean squared error of a pixel's channel, on (-1, 1)."""
  return float(np.mean(np.square(2. * _difference(translated, targets))))


def l1(translated: np.ndarray, targets: np.ndarray) -> float:
  """Mean absolute error of a pixel's channel, on (-1, 1)."""
  return float(np.mean(np.abs(2. * _difference(translated, targets))))


def ssim(translated: np.ndarray, targets: np.ndarray) -> float:
  """Mean structural similarity, at most 1; a Gaussian window of 11 pixels.

  On images smaller than 11 pixels the window is the largest odd one that fits.

  #### References

  [1]: Zhou Wang et al. Image Quality Assessment: From Error Visibility to
       Structural Similarity. _IEEE Transactions on Image Processing_, 2004.
       https://doi.org/10.1109/TIP.2003.819861
  """
  size = min(11, *targets.shape[1:3])
  values = [
      tf.image.ssim(
          tf.constant(translated[i:i + 100], tf.float32),
          tf.constant(targets[i:i + 100], tf.float32), 1.,
          filter_size=size - 1 + size % 2).numpy()
      for i in range(0, len(targets), 100)]
  return float(np.concatenate(values).mean())


def demeaned_mse(translated: np.ndarray, targets: np.ndarray) -> float:
  """MSE on (-1, 1) after subtracting each side's own mean image.

  A constant translation scores the variance of the targets; one that tells
  images apart scores less.
  """
  return float(np.mean(np.square(
      2. * (_demeaned(translated) - _demeaned(targets)))))


def correlation(translated: np.ndarray, targets: np.ndarray) -> float:
  """Pearson correlation over all values, after subtracting the mean images.

  It is 0 for a constant translation.
  """
  x, y = _demeaned(translated), _demeaned(targets)
  norm = np.sqrt(np.square(x).sum() * np.square(y).sum())
  # Rounding errors of a constant are no signal.
  if norm < 1e-6 * max(1, x.size):
    return 0.
  return float((x * y).sum() / norm)


def retrieval(translated: np.ndarray, targets: np.ndarray) -> dict[str, float]:
  """Rank of each translation's own partner among all targets.

  Targets are ranked by their squared distance from the translation. For equal
  distances the expectation over a random order is taken, so that equal targets,
  for example two pictures of water, neither help nor hurt. The partner of a
  translation that is not finite is ranked last.

  Args:
    translated: N translations.
    targets: N targets, N at least 2.

  Returns:
    `top_1` and `top_5`: shares of translations whose partner is the nearest, or
    among the nearest 5 (chance: 1 / N and 5 / N); `percentile`: mean share of
    the other targets that lie farther than the partner (chance, and every
    constant: about 0.5; best 1).
  """
  n = len(targets)
  x = translated.reshape(n, -1).astype(np.float64)
  y = targets.reshape(n, -1).astype(np.float64)
  squares = np.square(y).sum(axis=1)
  # All comparisons with NaN are false, which would be the first place.
  lost = ~np.isfinite(x).all(axis=1)
  x[lost] = 0.
  nearer, equal = np.zeros(n), np.zeros(n)
  step = max(1, _CHUNK // n)
  for i in range(0, n, step):
    rows = np.arange(i, min(i + step, n))
    # |x|^2 is the same in a row.
    distance = squares - 2. * x[rows] @ y.T
    own = distance[np.arange(len(rows)), rows][:, np.newaxis]
    close = np.abs(distance - own) <= 1e-9 * max(1., float(squares.max()))
    nearer[rows] = ((distance < own) & ~close).sum(axis=1)
    equal[rows] = close.sum(axis=1) - 1
  nearer[lost], equal[lost] = n - 1, 0.

  def top(k: int) -> float:
    return float(np.clip((k - nearer) / (1. + equal), 0., 1.).mean())

  return {
      'top_1': top(1), 'top_5': top(5),
      'percentile': float(1. - ((nearer + 0.5 * equal) / (n - 1)).mean())}


def palette_agreement(
    translated: np.ndarray, targets: np.ndarray, palette: np.ndarray
) -> dict[str, float]:
  """Agreement of the nearest colours of a palette, pixel by pixel.

  Pixels that are not finite have no class and count as wrong.

  Args:
    translated: N translations of 3 channels.
    targets: N targets.
    palette: Colours `[K, 3]` in [0, 1], a class each.

  Returns:
    `class_accuracy`: share of pixels of the same class; `mean_iou`: mean over
    classes of intersection over union of all their pixels, over the classes
    that either side has.
  """
  got, want = _classes(translated, palette), _classes(targets, palette)
  size = len(palette)
  # One more on either side, of no class.
  counts = np.bincount(
      (want * (size + 1) + got).ravel(),
      minlength=(size + 1)**2).reshape(size + 1, size + 1)
  hits = np.diag(counts)[:size]
  union = (counts.sum(axis=0) + counts.sum(axis=1))[:size] - hits
  there = union > 0
  return {'class_accuracy': float(hits.sum() / counts.sum()),
          'mean_iou': float((hits[there] / union[there]).mean())}


def _classes(images: np.ndarray, palette: np.ndarray) -> np.ndarray:
  """Index of the nearest colour of each pixel, `[N, H, W]`; K for none."""
  pixels = images.reshape(-1, 3).astype(np.float64)
  found = np.empty(len(pixels), np.int64)
  step = max(1, _CHUNK // (3 * len(palette)))
  for i in range(0, len(pixels), step):
    gap = pixels[i:i + step, np.newaxis] - palette
    found[i:i + step] = np.square(gap).sum(axis=-1).argmin(axis=-1)
  found[~np.isfinite(pixels).all(axis=-1)] = len(palette)
  return found.reshape(images.shape[:-1])


def _difference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  if x.shape != y.shape:
    raise ValueError(
        f'`translated` and `targets` must have one shape, got {x.shape} and '
        f'{y.shape}.')
  return x.astype(np.float64) - y


def _demeaned(images: np.ndarray) -> np.ndarray:
  x = images.astype(np.float64)
  return x - x.mean(axis=0)

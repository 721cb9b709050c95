"""Do translations look like the target? Distances between sets of features."""

from __future__ import annotations

import numpy as np

__all__ = ['frechet_distance', 'kernel_distance']


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
  """KID: squared maximum mean discrepancy, kernel `(x . y / d + 1)**3`.

  The unbiased estimate over all pairs, so it may be below 0 for sets that do
  not differ.

  Args:
    x: Features `[N, d]`, N at least 2.
    y: Features `[M, d]`, M at least 2.

  Returns:
    The distance; its unit is that of the features.

  Raises:
    ValueError: If the shapes do not fit.

  #### References

  [1]: Mikolaj Binkowski et al. Demystifying MMD GANs. In _ICLR_, 2018, section
       4. https://arxiv.org/abs/1801.01401
  """
  x, y = _check(x, y)
  n, m, d = len(x), len(y), x.shape[1]
  def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / d + 1.)**3
  within_x, within_y = kernel(x, x), kernel(y, y)
  return float(
      (within_x.sum() - np.trace(within_x)) / (n * (n - 1)) +
      (within_y.sum() - np.trace(within_y)) / (m * (m - 1)) -
      2. * kernel(x, y).mean())


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
  """FID: Frechet distance between normal distributions fitted to two sets.

  `|mean_x - mean_y|**2 + trace(C_x + C_y - 2 * sqrt(C_x C_y))`. It is biased
  upwards for few images: compare only sets of equal sizes.

  Args:
    x: Features `[N, d]`, N at least 2.
    y: Features `[M, d]`, M at least 2.

  Returns:
    The distance, 0 or more; its unit is that of the features, squared.

  Raises:
    ValueError: If the shapes do not fit.

  #### References

  [1]: Martin Heusel et al. GANs Trained by a Two Time-Scale Update Rule
       Converge to a Local Nash Equilibrium. In _NeurIPS_, 2017.
       https://arxiv.org/abs/1706.08500
  """
  x, y = _check(x, y)
  gap = x.mean(axis=0) - y.mean(axis=0)
  x_covariance, y_covariance = (
      np.atleast_2d(np.cov(f, rowvar=False)) for f in (x, y))
  # sqrt(C_x C_y) has the trace of sqrt(R C_y R) with R = sqrt(C_x): symmetric,
  # so its eigenvalues are real.
  values, vectors = np.linalg.eigh(x_covariance)
  root = (vectors * np.sqrt(np.maximum(values, 0.))) @ vectors.T
  shared = np.linalg.eigvalsh(root @ y_covariance @ root)
  return float(max(0., gap @ gap + np.trace(x_covariance) + np.trace(
      y_covariance) - 2. * np.sqrt(np.maximum(shared, 0.)).sum()))


def _check(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or (
      min(len(x), len(y)) < 2):
    raise ValueError(
        '`x` and `y` must have shapes [N, d] and [M, d], N and M at least 2, '
        f'got {x.shape} and {y.shape}.')
  return x.astype(np.float64), y.astype(np.float64)

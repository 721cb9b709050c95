"""Realism of translations: distances between sets of features, KID and FID."""

from __future__ import annotations

import numpy as np

# Number of values of a kernel that are held at a time: 32 MB.
_BLOCK = 2**22


def kernel_distance(x: np.ndarray, y: np.ndarray,
                    within_y: float | None = None) -> float:
  """KID: squared maximum mean discrepancy, kernel `(x . y / d + 1)**3`.

  This is the unbiased estimate over all pairs, which may be below 0 for sets
  that do not differ.

  Args:
    x: Features `[N, d]`, N at least 2.
    y: Features `[M, d]`, M at least 2.
    within_y: `within(y)`, where it is known already.

  Returns:
    The distance; its unit is that of the features. NaN where these are not
    finite.

  Raises:
    ValueError: If the shapes do not fit.

  #### References

  [1]: Mikolaj Binkowski et al. Demystifying MMD GANs. In _ICLR_, 2018, section
       4. https://arxiv.org/abs/1801.01401
  """
  x, y = _check(x, y)
  if within_y is None:
    within_y = within(y)
  return within(x) + within_y - 2. * _kernel_sum(x, y) / (len(x) * len(y))


def within(x: np.ndarray) -> float:
  """Mean kernel of all pairs of different features of a set `[N, d]`."""
  x = x.astype(np.float64)
  with np.errstate(over='ignore', invalid='ignore'):
    own = np.square(x).sum(axis=1) / x.shape[1] + 1.
    total = _kernel_sum(x, x) - float((own * own * own).sum())
  return total / (len(x) * (len(x) - 1))


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
  """Sum of the kernel over all pairs, a block of rows at a time."""
  total, step = 0., max(1, _BLOCK // len(y))
  # Features too large for a cube give inf or NaN, as they should.
  with np.errstate(over='ignore', invalid='ignore'):
    for i in range(0, len(x), step):
      kernel = x[i:i + step] @ y.T / x.shape[1] + 1.
      # An integer power takes many times as long.
      total += float((kernel * kernel * kernel).sum())
  return total


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
  """FID: Frechet distance between normal distributions fitted to two sets.

  `|mean_x - mean_y|**2 + trace(C_x + C_y - 2 * sqrt(C_x C_y))`. It is biased
  upwards for few images: compare only sets of equal sizes.

  Args:
    x: Features `[N, d]`, N at least 2.
    y: Features `[M, d]`, M at least 2.

  Returns:
    The distance, 0 or more; its unit is that of the features, squared. NaN
    where these are not finite, or too large.

  Raises:
    ValueError: If the shapes do not fit.

  #### References

  [1]: Martin Heusel et al. GANs Trained by a Two Time-Scale Update Rule
       Converge to a Local Nash Equilibrium. In _NeurIPS_, 2017.
       https://arxiv.org/abs/1706.08500
  """
  x, y = _check(x, y)
  with np.errstate(over='ignore', invalid='ignore'):
    gap = x.mean(axis=0) - y.mean(axis=0)
    x_covariance, y_covariance = (
        np.atleast_2d(np.cov(f, rowvar=False)) for f in (x, y))
    if not np.isfinite((x_covariance @ y_covariance).sum() + gap @ gap):
      return float('nan')
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

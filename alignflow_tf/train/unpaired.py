"""Figures of translations that need neither pairs nor labels."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from alignflow_tf import realism

__all__ = ['FIGURE', 'HIDDEN', 'collapse', 'kernel_distance', 'signs']

# The figure by which checkpoints are compared: the kernel distance of
# translations from the target, plus `HIDDEN` times the error of the way back
# from 8 bits. The first is large where they do not look like the target, the
# second where they hide their source in differences that nobody sees.
FIGURE = 'validation/figure'
HIDDEN = 4.

# Widths of the random convolutions, and images that they take at a time.
_WIDTHS, _BATCH = (32, 64, 128), 50
# With fewer images a correlation of their distances says nothing.
_FEWEST = 20
# Limits of a collapse.
_DEPENDENCE, _SPREAD, _DISTANCE = 0.05, 0.1, 0.25


def signs(sources: np.ndarray, translated: np.ndarray, targets: np.ndarray
          ) -> dict[str, float]:
  """Figures by which a collapse is told.

  Args:
    sources: Images `[N, H, W, C]` of the source in [0, 1].
    translated: Their translations, unclipped.
    targets: Other images `[M, H, W, C]`, of the target.

  Returns:
    `dependence`: correlation, over pairs of images, of the distance between
    two sources with that between their translations; 1 where the images are
    too few or all the same.
    `spread`: mean variance of a pixel over translations, as a share of that
    over targets; 1 where those are all the same.
    `distance`: mean distance of a pixel from [0, 1].

  #### References

  [1]: Sagie Benaim and Lior Wolf. One-Sided Unsupervised Domain Mapping. In
       _NIPS_, 2017, section 3 (distances are kept).
       https://arxiv.org/abs/1706.00826
  """
  seen = np.clip(translated, 0., 1.)
  before, after = _distances(sources), _distances(seen)
  dependence = 1.
  if len(sources) >= _FEWEST and before.std() > 1e-6:
    # Translations that are all the same depend on nothing.
    dependence = float(np.corrcoef(before, after)[0, 1]) if (
        not after.std() <= 1e-6) else 0.
  wanted = float(targets.var(axis=0).mean())
  return {
      'dependence': dependence,
      'spread': float(seen.var(axis=0).mean()) / wanted if (
          wanted > 1e-6) else 1.,
      'distance': float(np.abs(translated - seen).mean())}


def _distances(images: np.ndarray) -> np.ndarray:
  """Euclidean distances of all pairs of different images."""
  x = images.reshape(len(images), -1).astype(np.float64)
  squares = np.square(x).sum(axis=1)
  found = squares[:, np.newaxis] + squares - 2. * x @ x.T
  return np.sqrt(np.maximum(found[np.triu_indices(len(x), 1)], 0.))


def kernel_distance(translated: np.ndarray, targets: np.ndarray) -> float:
  """How far translations are from images of the target, as sets.

  It is `realism.kernel_distance` of the means of random convolutions over the
  quarters of an image, in units of their deviation over targets. Images are
  clipped, as a viewer sees them.

  Args:
    translated: Translations `[N, H, W, C]`, N at least 2.
    targets: Images `[M, H, W, C]` of the target in [0, 1], M at least 2.

  Returns:
    The distance, about 0 or above; NaN where translations are not finite.

  #### References

  [1]: Muhammad Ferjad Naeem et al. Reliable Fidelity and Diversity Metrics for
       Generative Models. In _ICML_, 2020 (random networks in place of
       trained ones). https://arxiv.org/abs/2002.09797
  """
  if not np.isfinite(translated).all():  # ReLU may map NaN to a number.
    return float('nan')
  got, wanted = _features(translated), _features(targets)
  deviation = wanted.std(0)
  # A feature that is constant over targets counts, and not without bound.
  deviation = np.maximum(deviation, deviation.mean()) + 1e-6
  return realism.kernel_distance(*(
      (x - wanted.mean(0)) / deviation for x in (got, wanted)))


def _features(images: np.ndarray) -> np.ndarray:
  """Features `[N, d]` of images of any size."""
  return np.concatenate([
      _random_convolutions(2. * np.clip(images[i:i + _BATCH], 0., 1.) - 1.)
      for i in range(0, len(images), _BATCH)])


def _random_convolutions(x: np.ndarray) -> np.ndarray:
  random, found = np.random.RandomState(0), []
  x = tf.constant(x, tf.float32)
  for width in _WIDTHS:
    kernel = random.normal(
        0., np.sqrt(2. / (9 * x.shape[3])), (3, 3, x.shape[3], width))
    x = tf.nn.relu(tf.nn.conv2d(
        x, tf.constant(kernel, tf.float32), 2 if min(x.shape[1:3]) > 8 else 1,
        'SAME'))
    half = [max(1, side // 2) for side in x.shape[1:3]]
    found.append(tf.reshape(
        tf.nn.avg_pool2d(x, half, half, 'VALID'), [len(x), -1]))
  return tf.concat(found, 1).numpy()


def collapse(dependence: float, spread: float, distance: float) -> str:
  """Says in words how translations have collapsed; '' if they have not.

  Args:
    dependence: As in `signs`.
    spread: Likewise.
    distance: Likewise.

  Returns:
    The end of a sentence.
  """
  if not distance <= _DISTANCE:
    return f'its pixels lie {distance:.2f} outside of [0, 1] in the mean'
  if not spread >= _SPREAD:
    return ('its translations look alike: they vary '
            f'{spread:.1%} as much as images of the target')
  if not dependence >= _DEPENDENCE:
    return ('its translations do not depend on their sources: distances before '
            f'and after correlate by {dependence:.2f}')
  return ''

"""Criteria of an adaptation that use no label of the target."""

from __future__ import annotations

import numpy as np


def unsupervised(probabilities: np.ndarray) -> dict[str, float]:
  """Figures of a classifier's predictions on unlabelled images.

  Args:
    probabilities: Class probabilities `[N, K]`.

  Returns:
    `entropy`: mean entropy of a prediction, nats; small where the classifier
    is sure. `spread`: entropy of the mean prediction, at most log K; small
    where classes are lost. `information`: their difference, the mutual
    information of images and classes, to be large [1]. `sure`: share of
    predictions above 0.9. `rarest`: share of the rarest predicted class.

  #### References

  [1]: Kevin Musgrave, Serge Belongie, Ser-Nam Lim. Three New Validators and a
       Large-Scale Benchmark Ranking for Unsupervised Domain Adaptation. 2022.
       https://arxiv.org/abs/2208.07360
  """
  p = np.asarray(probabilities, np.float64)
  entropy = float(-(p * np.log(p + 1e-12)).sum(axis=-1).mean())
  mean = p.mean(axis=0)
  spread = float(-(mean * np.log(mean + 1e-12)).sum())
  counts = np.bincount(p.argmax(axis=-1), minlength=p.shape[-1])
  return {
      'entropy': entropy, 'spread': spread, 'information': spread - entropy,
      'sure': float((p.max(axis=-1) > 0.9).mean()),
      'rarest': float(counts.min() / len(p))}


def agreement(first: np.ndarray, second: np.ndarray) -> float:
  """Share of images that two classifiers, `[N, K]` each, put in one class."""
  return float((first.argmax(axis=-1) == second.argmax(axis=-1)).mean())

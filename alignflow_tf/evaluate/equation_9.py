"""Equation 9 as a diagnostic: agreement of the two critics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from alignflow_tf import images as images_lib
from alignflow_tf import inference

# Losses whose best critic is a probability, and how to read it off a logit.
_LOGISTIC = ('cross_entropy', 'non_saturating')
_DIRECT = ('least_squares',)


def equation_9(
    critic_b: np.ndarray, density_a: np.ndarray, density_b: np.ndarray,
    log_det: np.ndarray) -> np.ndarray:
  """The best critic of A from that of B: Theorem 2 of the paper, corrected.

  With b = G_{A->B}(a), and J the absolute determinant of dG_{A->B} / da,

  ```
  C_A(a) = C_B(b) p*_A(a) / (C_B(b) p*_A(a) + (1 - C_B(b)) p*_B(b) J)
  ```

  for critics that tell data from samples of the flows, `p_A` and `p_B`: from
  `C_A = p*_A / (p*_A + p_A)`, `p_A(a) = p_B(b) J` and
  `p_B = p*_B (1 / C_B - 1)` (the paper's equations 15 and 17). As printed,
  equations 9 and 18 lack the factor `C_B(b)` in the denominator's first term.

  Args:
    critic_b: `C_B(b)`.
    density_a: `p*_A(a)`.
    density_b: `p*_B(b)`.
    log_det: Logarithm of J.

  Returns:
    `C_A(a)`.

  #### References

  [1]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, theorem 2 and appendix
       A.2. https://arxiv.org/abs/1905.12892
  """
  real = critic_b * density_a
  return real / (real + (1. - critic_b) * density_b * np.exp(log_det))


def probability(logits: np.ndarray, gan_loss: str) -> np.ndarray | None:
  """A critic's probability that an image is real.

  Returns:
    Probabilities of the same shape (least squares may leave [0, 1] a little),
    or None where the loss's best critic is not a probability.
  """
  if gan_loss in _LOGISTIC:
    return 1. / (1. + np.exp(-logits.astype(np.float64)))
  if gan_loss in _DIRECT:
    return logits.astype(np.float64)
  return None


def agreement(
    evaluator: inference.Evaluator,
    critics: Mapping[str, keras.Model],
    images: Mapping[str, np.ndarray],
    gan_loss: str,
    noise: float = 0.,
    seed: int = 0,
) -> dict[str, Any] | None:
  """Compares two trained critics through the translation between them.

  Critics are trained to tell data of their domain from translated data of the
  other (equation 6). The best ones are then, with b = G_{A->B}(a) and J its
  Jacobian's absolute determinant,

  ```
  C_A(a) = p*_A(a) / (p*_A(a) + p*_B(b) J) = 1 - C_B(b)
  ```

  for every flow and all data: an image that one critic takes for real, the
  other takes for translated. No density is needed to check it. Nothing of the
  kind holds for CycleGAN, whose generators are not each other's inverse.

  The equation is exact for critics that see images without noise. With noise,
  the best critics are those of blurred densities, which no flow maps to each
  other: the sum is then near 1 only where the densities hardly change within
  the noise.

  Args:
    evaluator: Evaluator of the model, of the weights that the critics were
      trained on, not of their average.
    critics: The critics of its two domains.
    images: For each domain, float32 images `[N, H, W, C]` in [0, 1].
    gan_loss: Name of the adversarial loss.
    noise: Standard deviation of the noise on the critics' training images.
    seed: Seed of that noise.

  Returns:
    `points`: for images of either domain, pairs (C_A(a), C_B(b)), means over
    patches; `gap`: mean of `|C_A(a) + C_B(b) - 1|`; `correlation` of the pairs,
    -1 at best; `noise`. None where the loss's best critic is no probability, or
    there are not two domains.
  """
  domains = tuple(critics)
  if len(domains) != 2 or gan_loss not in (*_LOGISTIC, *_DIRECT):
    return None
  random = np.random.RandomState(seed)

  def judge(domain: str, x: np.ndarray) -> np.ndarray:
    view = np.asarray(images_lib.to_critic(x), np.float32)
    view += noise * random.standard_normal(view.shape).astype(np.float32)
    parts = [np.asarray(critics[domain](view[i:i + 100]))
             for i in range(0, len(view), 100)]
    found = probability(np.concatenate(parts), gan_loss)
    assert found is not None
    return found.mean(axis=(1, 2, 3))

  a, b = domains
  points = {
      a: np.stack([
          judge(a, images[a]),
          judge(b, evaluator.translate(images[a], a, b))], axis=1),
      b: np.stack([
          judge(a, evaluator.translate(images[b], b, a)),
          judge(b, images[b])], axis=1),
  }
  both = np.concatenate(list(points.values()))
  spread = both.std(axis=0).prod()
  return {
      'noise': float(noise),
      'gap': float(np.abs(both.sum(axis=1) - 1.).mean()),
      'correlation': float(
          ((both - both.mean(axis=0)).prod(axis=1)).mean() / spread
      ) if spread > 0. else 0.,
      'points': {d: np.round(p, 4).tolist() for d, p in points.items()},
  }

"""Figures of samples: are they images of their domain, and do pairs agree?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alignflow_tf import classification
from alignflow_tf import inference
from alignflow_tf import realism
from alignflow_tf.evaluate import reference_networks

__all__ = ['score']

_SURE = 0.9


def score(
    evaluator: inference.Evaluator,
    references: reference_networks.References,
    images: Mapping[str, np.ndarray],
    seed: int = 0,
) -> dict[str, Any]:
  """Scores samples of all domains from the same latents (section 3.4).

  Args:
    evaluator: A model with latents.
    references: Networks of the data.
    images: For each domain, real images `[N, H, W, C]` in [0, 1], N >= 4.
    seed: Seed of the latents.

  Returns:
    `kid`: for each domain, KID of N / 2 samples against half of the real
    images, and of the other half, by 'samples' and 'real'. `same_class`: where
    the data have labels, the share of latents whose samples all domains'
    classifiers take for one class, each with a probability above 0.9. Empty
    where the data allow neither.
  """
  features = {d: references.features(d) for d in images}
  if not all(features.values()):
    return {}
  count = max(len(x) for x in images.values())
  latents = np.random.RandomState(seed).standard_normal(
      (count, *next(iter(images.values())).shape[1:])).astype(np.float32)
  samples = {d: np.clip(evaluator.decode(latents, d), 0., 1.) for d in images}
  result: dict[str, Any] = {'kid': {}}
  for d, real in images.items():
    of = features[d]
    assert of is not None
    half = len(real) // 2
    held = of[0](real[:half])
    result['kid'][d] = {
        name: realism.kernel_distance(of[0](x), held)
        for name, x in (('samples', samples[d][:half]), ('real', real[half:]))}
  classifiers = {d: references.classifier(d) for d in images}
  if all(c is not None for c in classifiers.values()):
    found = [classification.predict(classifiers[d], x)
             for d, x in samples.items()]
    classes = np.stack([p.argmax(axis=-1) for p in found])
    sure = np.all([p.max(axis=-1) > _SURE for p in found], axis=0)
    result['same_class'] = float(
        np.mean(sure & (classes == classes[0]).all(axis=0)))
  return result

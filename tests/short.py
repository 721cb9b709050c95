"""A flow of two couplings, for tests of what holds for any flow.

`conftest.py` makes it known as `--flow=short`. It is traced in half the time of
the smallest Real NVP.
"""

from __future__ import annotations

from typing import Any

import tensorflow_probability as tfp

from alignflow_tf import bijectors
from alignflow_tf import flows


def short(event_shape: tuple[int, int, int], num_scales: int = 1,
          channels: int = 4, num_blocks: int = 1, *, name: str = 'short',
          **options: Any) -> tfp.bijectors.Bijector:
  """Activation normalisation and a checkerboard coupling, twice."""
  make = flows.Layers(
      event_shape, num_scales, num_blocks, squeeze_last=False, **options)
  layers = []
  for reverse in (False, True):
    layers += [
        make.act_norm(event_shape[-1]),
        make.coupling(event_shape[-1], bijectors.CheckerboardMask(reverse),
                      channels)]
  return make.flow(bijectors.ImageChain(layers), name)

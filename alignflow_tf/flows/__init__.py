"""Named flow architectures: each returns one bijector from latent to image.

All of them keep contract and shape: `forward` runs from latent to image
(G_{Z->A} of the AlignFlow paper), `inverse` from image to latent, a latent has
the shape of its image, images are NHWC with pixels in [0, 1].
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import networks
from alignflow_tf.flows.adapters import couplings
from alignflow_tf.flows.adapters import view
from alignflow_tf.flows.glow import glow
from alignflow_tf.flows.layers import Layers
from alignflow_tf.flows.real_nvp import flowpp
from alignflow_tf.flows.real_nvp import real_nvp
from alignflow_tf.flows.real_nvp import spline

__all__ = [
    'FLOWS', 'Layers', 'couplings', 'flowpp', 'glow', 'magnitudes',
    'num_parameters', 'real_nvp', 'spline', 'view'
]

tfb = tfp.bijectors

# Flows by name. Each takes `num_scales`, `channels`, `num_blocks` and the
# options of `Layers`.
FLOWS: dict[str, Callable[..., tfb.Bijector]] = {
    'real_nvp': real_nvp,
    'glow': glow,
    'couplings': couplings,
    'spline': spline,
    'flowpp': flowpp,
}


def magnitudes(module: tf.Module) -> list[tf.Variable]:
  """The weight-norm magnitudes of a bijector, flow or model.

  Args:
    module: Any bijector or model.

  Returns:
    One variable for each network; empty without weight normalisation.

  Examples:
    >>> flow = flows.glow((4, 4, 1), 1, 4, 1, 2)
    >>> len(flows.magnitudes(flow))   # A network in each of two steps.
    2
  """
  return [g for layer in networks.conditioners(module)
          for g in layer.magnitudes]


def num_parameters(module: tf.Module) -> int:
  """Number of trainable scalars of a bijector, flow or model.

  Examples:
    >>> flows.num_parameters(bijectors.ActNorm(3))
    6
  """
  return sum(int(np.prod(v.shape)) for v in module.trainable_variables)

"""Training steps and translators as StableHLO, for machines with JAX alone.

`python -m alignflow_tf.export.stablehlo` writes a kit; see docs/stablehlo.md.
"""

from alignflow_tf.export.stablehlo.kit import KitError
from alignflow_tf.export.stablehlo.kit import write

__all__ = ['KitError', 'write']

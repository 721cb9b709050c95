"""What the paper compares AlignFlow with, trained by the same loop."""

from __future__ import annotations

from alignflow_tf.baselines.cyclegan import CycleGAN
from alignflow_tf.model import Translates

__all__ = ['CycleGAN', 'Model']

# The former name of the protocol that all models satisfy.
Model = Translates

"""What the paper compares AlignFlow with, trained by the same loop."""

from __future__ import annotations

from alignflow_tf.alignflow import AlignFlow
from alignflow_tf.baselines.cyclegan import CycleGAN

__all__ = ['CycleGAN', 'Model']

# What `train`, `evaluate` and `export` take. All have `domains`, `event_shape`,
# `event_size`, `translator(source, target).forward(images)` and `initialize`.
Model = AlignFlow | CycleGAN

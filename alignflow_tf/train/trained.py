"""The weights that a run trains, and their moving averages."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from alignflow_tf.train import config as config_lib

__all__ = ['trunk', 'weights']


def weights(
    config: config_lib.Config, model: Any, average: Any
) -> tuple[list[tf.Variable], list[tf.Variable]]:
  """Weights other than the trunk's that are trained, and their averages."""
  if config.train_domains:
    adapters = [(model.adapter(d), average.adapter(d))
                for d in config.train_domains]
    found = [(v, a) for pair in adapters for v, a in zip(
        *(bijector.trainable_variables for bijector in pair), strict=True)]
  else:
    of_trunk = set() if config.trunk == 'none' else {
        v.ref() for v in trunk(model)}
    found = [(v, a) for v, a in zip(
        model.trainable_variables, average.trainable_variables, strict=True)
             if v.ref() not in of_trunk]
  return [v for v, _ in found], [a for _, a in found]


def trunk(model: Any) -> list[tf.Variable]:
  """Weights of the trunk."""
  return list(model.trunk.trainable_variables)

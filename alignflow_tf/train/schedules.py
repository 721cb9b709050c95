"""Rates as functions of the step: of learning, and of the moving average."""

from __future__ import annotations

import tensorflow as tf

from alignflow_tf import objectives
from alignflow_tf.train import config as config_lib


def learning_rate(config: config_lib.Config, rate: float,
                  step: tf.Tensor) -> tf.Tensor:
  """`rate` until `config.decay_from` of the steps, then linearly to 0."""
  steps = float(config.steps)
  return rate * objectives.linear_decay(
      tf.cast(step, tf.float32), config.decay_from * steps, steps)


def trunk_rate(config: config_lib.Config, step: tf.Tensor) -> tf.Tensor:
  """The trunk's learning rate, in the steps of its own and after them.

  It falls linearly from the middle of the trunk's steps to `trunk_later` of
  `trunk_learning_rate`, and then goes as `learning_rate`.
  """
  first = float(config.trunk_steps)
  factor = objectives.linear_decay(
      tf.cast(step, tf.float32), first / 2., first)
  return config.trunk_learning_rate * tf.where(
      step < config.trunk_steps,
      config.trunk_later + (1. - config.trunk_later) * factor,
      learning_rate(config, config.trunk_later, step))


def average_rate(config: config_lib.Config, step: tf.Tensor) -> tf.Tensor:
  """Rate of the moving average, which is faster in the first steps."""
  step = tf.cast(step, tf.float32)
  return 1. - tf.minimum(config.ema_decay, (1. + step) / (10. + step))

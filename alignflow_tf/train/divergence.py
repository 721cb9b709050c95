"""Signs that training diverges: skipped steps, and figures that run away."""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf.train import config as config_lib
from alignflow_tf.train import unpaired

# Steps between two checks, each of which waits for the GPU.
_CHECK_EVERY = 10
# Trained models stay below 1e-4 in float32 and below 7.
_ROUND_TRIP = 1e-2
_LOG_SCALE = 10.
_BITS = 1.


class NotFinite(Exception):
  """Too many of the last steps were skipped."""


class Skips:
  """Counts skipped steps, those with a loss or gradient that is not finite.

  The window of the last steps is part of each checkpoint's state, so a run
  that was interrupted stops at the same step as one that was not.
  """

  def __init__(self, limit: int, state: Mapping[str, Any] | None = None):
    """Starts with no skipped step, or with the state of a checkpoint.

    Args:
      limit: Number of skipped steps, among the last `2 * limit`, that are too
        many.
      state: Result of `state()`, or None.
    """
    self._limit = limit
    self._flags: list[Any] = list((state or {}).get('skips', ()))
    self._terms: list[str] = list((state or {}).get('terms', ()))
    self._last: Mapping[str, Any] = {}

  def add(self, step: int, values: Mapping[str, tf.Tensor]) -> None:
    """Notes a step.

    Args:
      step: Number of the step.
      values: Its scalars; `skipped` is 1 if its update was left out.

    Raises:
      NotFinite: If too many of the last steps were skipped.
    """
    self._flags = [*self._flags[1 - 2 * self._limit:], values['skipped']]
    self._last = values
    if step % _CHECK_EVERY == 0:
      self._settle()
      if sum(self._flags) >= self._limit:
        raise NotFinite(
            f'{sum(self._flags)} of the last {len(self._flags)} steps were '
            'skipped, as a loss or a gradient was not finite (at last: '
            f'{", ".join(self._terms)})')

  def state(self) -> dict[str, Any]:
    """The state for a checkpoint, as JSON values."""
    self._settle()
    return {'skips': self._flags if any(self._flags) else [],
            'terms': self._terms}

  def _settle(self) -> None:
    """Turns scalars on a device into numbers and names."""
    self._flags = [int(flag) for flag in self._flags]
    if self._flags and self._flags[-1]:
      bad = [name for name, value in self._last.items()
             if not np.isfinite(float(value))]
      # Critics are not judged in a step whose generator update is skipped.
      self._terms = [name for name in bad
                     if not name.startswith('critic_loss/')] or bad


class Watch:
  """Warns of figures that are finite but run away."""

  def __init__(self, config: config_lib.Config, model: Any):
    """Watches the model of a run, a `model.Translates`."""
    # A translator with an inverse is expected to find the way back.
    self._exact = hasattr(model.translator(*model.domains[:2]), 'inverse')
    self._likelihood = config.keeps_likelihood
    self._translates = config.objective != 'mle'
    self._scales = [
        v for v in model.trainable_variables if 'log_scale' in v.name]
    self._lowest: dict[str, float] = {}

  def resume(self, state: Mapping[str, Any]) -> None:
    """Restores the state of a checkpoint."""
    self._lowest = dict(state.get('lowest', {}))

  def state(self) -> dict[str, Any]:
    """The state for a checkpoint, as JSON values."""
    return {'lowest': self._lowest}

  def log_scale(self) -> float:
    """Largest absolute log-scale, or bound of one, in all layers."""
    return max((float(tf.reduce_max(tf.abs(v))) for v in self._scales),
               default=0.)

  def warnings(self, values: Mapping[str, float]) -> list[str]:
    """Warnings about the figures of a validation, one line each."""
    found = []
    for name, value in values.items():
      if 'round_trip_max/' in name and self._exact and not (
          value <= _ROUND_TRIP):
        found.append(
            f'{name} is {value:.1e}: the flows lose the way back, as their '
            'scales have grown too large.')
      elif 'log_scale_max' in name and not value <= _LOG_SCALE:
        found.append(
            f'{name} is {value:.1f}: a layer scales by exp({value:.1f}).')
      elif 'bits_per_dim/' in name and self._likelihood:
        lowest = self._lowest.get(name, math.inf)
        if not value <= lowest + _BITS:
          found.append(
              f'{name} is {value:.3f}, after {lowest:.3f}: the likelihood is '
              'getting worse.')
        if value < lowest:
          self._lowest[name] = value
    found = [text + ' A lower --learning_rate may help.' for text in found]
    for name in values if self._translates else ():
      if '/dependence/' in name:
        direction = name.rsplit('/', 1)[1]
        text = unpaired.collapse(**{
            sign: values[name.replace('dependence', sign)]
            for sign in ('dependence', 'spread', 'distance')})
        if text:
          found.append(
              f'{direction} has collapsed: {text}. Use an earlier checkpoint '
              '(--checkpoint=best), or start again with a lower '
              '--critic_learning_rate or another --seed.')
    return found

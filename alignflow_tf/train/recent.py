"""Scalars of the steps since the last line of `metrics.jsonl`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


class Recent:
  """Scalars of steps, of which a line has the means.

  Checkpoints hold them, so that an interruption does not change the next line.
  """

  def __init__(self) -> None:
    self._steps: list[dict[str, Any]] = []

  def add(self, values: dict[str, tf.Tensor]) -> None:
    """Adds the scalars of a step, which are not waited for."""
    self._steps.append(values)

  def take(self) -> dict[str, float]:
    """The means, of finite values where there are some, and forgets them.

    The learning rate is that of the last step.
    """
    steps, self._steps = self._steps, []
    means = {}
    for name in dict.fromkeys(name for values in steps for name in values):
      # Steps have the scalars of their own directions.
      numbers = np.asarray([float(v[name]) for v in steps if name in v])
      finite = numbers[np.isfinite(numbers)]
      means[name] = float(finite.mean()) if finite.size else float('nan')
    means['learning_rate'] = float(steps[-1]['learning_rate'])
    return means

  def state(self) -> list[dict[str, float]]:
    """The scalars, for a checkpoint."""
    self._steps = [{k: float(v) for k, v in values.items()}
                   for values in self._steps]
    return self._steps

  def restore(self, state: list[dict[str, float | None]]) -> None:
    """Restores the scalars of a checkpoint, with None for NaN."""
    self._steps = [
        {k: float('nan') if v is None else v for k, v in values.items()}
        for values in state]

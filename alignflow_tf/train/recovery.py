"""When numbers are not finite, or run away: going back, warnings, a report."""

from __future__ import annotations

from collections.abc import Mapping
import math
import os
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import bijectors
from alignflow_tf.train import config as config_lib

__all__ = ['NotFinite', 'Skips', 'Watch', 'layers', 'report']

tfb = tfp.bijectors

# Rates are multiplied by this when a run goes back.
RATE_FACTOR = 0.5
# Steps between looks at whether steps were left out: a look waits for a GPU.
_LOOK_EVERY = 10
# Of trained models: below 1e-4 in float32, and below 7. See docs/training.md.
_ROUND_TRIP = 1e-2
_LOG_SCALE = 10.
_BITS = 1.


class NotFinite(Exception):
  """Too many of the last steps were left out."""


class Skips:
  """Which of the last steps were left out, and how often a run went back.

  The decision hangs on steps alone, and what it needs is saved with each
  checkpoint, so that a run that was killed decides as one that was not.
  """

  def __init__(self, limit: int, state: Mapping[str, Any] | None = None):
    """Starts anew, or where a checkpoint ended.

    Args:
      limit: So many of the last `2 * limit` steps left out are too many.
      state: What `state` gave, or None.
    """
    state = state or {}
    self._limit = limit
    self._flags: list[Any] = list(state.get('skips', ()))
    self.rollbacks = int(state.get('rollbacks', 0))
    self.rate = float(state.get('rate', 1.))

  def add(self, step: int, skipped: tf.Tensor) -> None:
    """Notes whether a step was left out.

    Args:
      step: The step.
      skipped: A scalar, 1 if it was.

    Raises:
      NotFinite: If too many of the last ones were.
    """
    self._flags = [*self._flags[1 - 2 * self._limit:], skipped]
    if step % _LOOK_EVERY == 0:
      self._flags = [int(flag) for flag in self._flags]
      if sum(self._flags) >= self._limit:
        raise NotFinite(
            f'{sum(self._flags)} of the last {len(self._flags)} steps were '
            'left out, as a loss or a gradient was not finite')

  def state(self) -> dict[str, Any]:
    """What a checkpoint keeps."""
    flags = [int(flag) for flag in self._flags]
    return {'skips': flags if any(flags) else [], 'rollbacks': self.rollbacks,
            'rate': self.rate}

  def back(self) -> None:
    """The run goes back: at a lower rate, with no step left out yet."""
    self._flags = []
    self.rollbacks += 1
    self.rate *= RATE_FACTOR


def sound(state: Mapping[str, Any]) -> bool:
  """Whether no step before a checkpoint of this state was left out."""
  return not state.get('skips')


class Watch:
  """Notices figures that are finite but run away."""

  def __init__(self, config: config_lib.Config, model: tf.Module):
    """Watches the model of a run."""
    self._exact = config.model == 'alignflow'
    self._likelihood = config.keeps_likelihood
    self._scales = [
        v for v in model.trainable_variables if 'log_scale' in v.name]
    self._lowest: dict[str, float] = {}

  def resume(self, state: Mapping[str, Any]) -> None:
    """Takes over what a checkpoint was saved with."""
    self._lowest = dict(state.get('lowest', {}))

  def state(self) -> dict[str, Any]:
    """What a checkpoint keeps."""
    return {'lowest': self._lowest}

  def log_scale(self) -> float:
    """Largest absolute log-scale or bound of one, of all layers."""
    return max((float(tf.reduce_max(tf.abs(v))) for v in self._scales),
               default=0.)

  def warnings(self, values: Mapping[str, float]) -> list[str]:
    """What a person should be told about the figures of a step."""
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
    return [text + ' A lower --learning_rate may do.' for text in found]


def layers(flow: tfb.Bijector, images: tf.Tensor) -> list[str]:
  """Names of the layers of a flow that first give what is not finite.

  Args:
    flow: A bijector from latent to image, as of `flows`.
    images: Images `[B, H, W, C]`, which are finite.

  Returns:
    Their paths in the flow: of the first layer from image to latent, and of the
    first from that latent, or where it is not finite from zeros, to image.
  """
  found = []
  latents, name = _walk(flow, tf.identity(images), True, '')
  if name:
    found.append(f'{name} (image to latent)')
    latents = tf.zeros_like(images)
  _, name = _walk(flow, tf.identity(latents), False, '')
  if name:
    found.append(f'{name} (latent to image)')
  return found


def _walk(bijector: tfb.Bijector, x: tf.Tensor, inverse: bool,
          path: str) -> tuple[tf.Tensor, str]:
  """The value after a bijector, and the first layer that spoils it, or ''."""
  path = f'{path}/{bijector.name}' if path else bijector.name
  name = ''
  if isinstance(bijector, (tfb.Chain, bijectors.LogDetChain)):
    parts = list(enumerate(bijector.bijectors))
    # A chain applies its last part first.
    for i, part in parts if inverse else parts[::-1]:
      x, name = _walk(part, x, inverse, f'{path}[{i}]')
      if name:
        break
    return x, name
  if isinstance(bijector, bijectors.FactorOut):
    first, second = tf.split(x, 2, axis=-1)
    first, name = _walk(bijector.inner, first, inverse, path)
    return tf.concat([first, second], axis=-1), name
  y = bijector.inverse(x) if inverse else bijector.forward(x)
  log_det = (bijector.inverse_log_det_jacobian(x, 3) if inverse else
             bijector.forward_log_det_jacobian(x, 3))
  if not (_finite(y) and _finite(log_det)):
    name = path
  return y, name


def _finite(x: tf.Tensor) -> bool:
  return bool(tf.reduce_all(tf.math.is_finite(x)))


def report(directory: str, step: int, seed: int, why: str,
           facts: Mapping[str, Any], images: Mapping[str, np.ndarray]) -> str:
  """Saves what is known of numbers that are not finite, and the batch.

  Args:
    directory: Where to: `report.json` and `batch.npz` are written.
    step: The step.
    seed: The run's seed.
    why: Why the run ends.
    facts: Lists of names: `terms`, `layers`, `weights`, `gradients`.
    images: The step's uint8 images of each domain.

  Returns:
    The report as text.
  """
  os.makedirs(directory, exist_ok=True)
  batch = os.path.join(directory, 'batch.npz')
  with open(f'{batch}.partial', 'wb') as f:
    np.savez_compressed(
        f, allow_pickle=False,
        **{f'images_{name}'.replace('/', '_'): x for name, x in images.items()})
  os.replace(f'{batch}.partial', batch)
  path = os.path.join(directory, 'report.json')
  config_lib.dump(path, {'step': step, 'seed': seed, 'why': why, **facts})

  def some(name: str) -> str:
    names = list(facts[name])
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more if names else 'none found'

  return (f'{why}.\n'
          f'  terms not finite:     {some("terms")}\n'
          f'  first such layer:     {some("layers")}\n'
          f'  weights not finite:   {some("weights")}\n'
          f'  gradients not finite: {some("gradients")}\n'
          f'  batch:                step {step}, seed {seed}: {batch}\n'
          f'All of it is in {path}. Look at those images; if they are as they '
          'should be, start another --run_dir with a lower --learning_rate, '
          'a lower --clip_norm, or --precision=float32.')

"""Validation while a run trains: figures, and sheets of pictures."""

from __future__ import annotations

import itertools
import os

import numpy as np

from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf import sheets
from alignflow_tf.train import divergence
from alignflow_tf.train import faults
from alignflow_tf.train import monitor as monitor_lib
from alignflow_tf.train import trainer as trainer_lib
from alignflow_tf.train import unpaired

__all__ = ['Validation']

# Images of each domain.
_IMAGES = 200


class Validation:
  """Figures and sheets of the averaged model on validation images."""

  def __init__(self, domains: data.DomainSet, trainer: trainer_lib.Trainer,
               run_dir: str, watch: divergence.Watch):
    self._watch = watch
    self._domains = domains
    self._evaluator = inference.Evaluator(trainer.average)
    self._run_dir = run_dir
    self._levels: dict[str, np.ndarray] = {}

  def read(self) -> None:
    """Reads the images, once."""
    if not self._levels:
      self._levels = {
          d: self._domains.arrays(d, 'validation', limit=_IMAGES)['image']
          for d in self._domains.domains}

  def __call__(self, step: int, monitor: monitor_lib.Monitor
              ) -> dict[str, float]:
    """Measures the model after a step, and shows sheets.

    Args:
      step: Number of steps done.
      monitor: Takes sheets and lines for a person.

    Returns:
      Figures by name.

    Raises:
      RunError: If sheets cannot be written.
    """
    names = self._domains.domains
    self.read()
    images = {d: images_lib.from_uint8(x).numpy()
              for d, x in self._levels.items()}
    values: dict[str, float] = {}
    figures = []
    densities = names if self._evaluator.has_densities else ()
    for d in densities:
      values[f'validation/bits_per_dim/{d}'] = float(
          self._evaluator.bits_per_dim(self._levels[d], d).mean())
    for d in names if self._evaluator.has_bounds else ():
      values[f'validation/bits_per_dim_bound/{d}'] = float(
          self._evaluator.bits_per_dim(self._levels[d], d).mean())
    for s, t in itertools.permutations(names, 2):
      translated = self._evaluator.translate(images[s], s, t)
      trip = self._evaluator.round_trip(
          images[s], s, t, translated=translated)
      values[f'validation/round_trip_max/{s}_to_{t}'] = trip['max']
      values[f'validation/outside/{s}_to_{t}'] = trip['outside']
      kernel = unpaired.kernel_distance(translated, images[t])
      hidden = self._evaluator.round_trip(
          images[s], s, t, as_picture=True, translated=translated)['mean']
      values[f'validation/kernel_distance/{s}_to_{t}'] = kernel
      values[f'validation/round_trip_8_bits/{s}_to_{t}'] = hidden
      figures.append(kernel + unpaired.HIDDEN * hidden)
      signs = unpaired.signs(images[s], translated, images[t])
      values |= {f'validation/{name}/{s}_to_{t}': value
                 for name, value in signs.items()}
      sheet = sheets.translations(self._evaluator, images[s][:16], s, t)
      with faults.writing(self._run_dir):
        monitor.picture(step, f'{s}_to_{t}', sheet)
        folder = os.path.join(self._run_dir, 'sheets')
        os.makedirs(folder, exist_ok=True)
        sheets.write_png(
            os.path.join(folder, f'{step:07d}_{s}_to_{t}.png'), sheet)
    values[unpaired.FIGURE] = float(np.mean(figures))
    values['validation/log_scale_max'] = self._watch.log_scale()
    bits = ' '.join(f'{d} {values[f"validation/bits_per_dim/{d}"]:.3f}'
                    for d in densities)
    trips = max(v for k, v in values.items() if 'round_trip_max' in k)
    monitor.say(f'step {step}  validation: ' +
                (f'bits/dim {bits}, ' if bits else '') +
                f'figure {values[unpaired.FIGURE]:.4f}, '
                f'round trip at most {trips:.1e}')
    for text in self._watch.warnings(values):
      monitor.say(f'Warning, step {step}: {text}')
    return values

"""Interpolations between pictures, and samples of all domains."""

from __future__ import annotations

from collections.abc import Sequence
import os

import numpy as np

from alignflow_tf import _io
from alignflow_tf import _progress
from alignflow_tf import inference
from alignflow_tf import sheets
from alignflow_tf.translate import files
from alignflow_tf.translate import models
from alignflow_tf.translate import reading

__all__ = ['interpolate', 'sample']

_CHUNK = 64


def interpolate(opened: models.Opened, reader: reading.Reader,
                items: Sequence[files.Item], output: str) -> list[str]:
  """Writes the path between two pictures, decoded into all domains.

  Args:
    opened: The model, with latents.
    reader: Reads the pictures at the model's size.
    items: The two files.
    output: Folder of `interpolation.png` and `interpolation.gif`.

  Returns:
    The paths written.

  Raises:
    TranslateError: If a picture cannot be read.
  """
  ends = []
  for picture in map(reader, items):
    if isinstance(picture, str):
      raise files.TranslateError(f'`interpolate`: {picture}')
    ends.append(picture.tiles)
  evaluator = inference.Evaluator(opened.model)
  paths = [os.path.join(output, f'interpolation.{e}') for e in ('png', 'gif')]
  sheets.write_png(paths[0], sheets.interpolation(
      evaluator, ends[0], ends[1], reader.domain))
  _io.write_aside(paths[1], sheets.animation(
      evaluator, ends[0], ends[1], reader.domain))
  return paths


def sample(opened: models.Opened, number: int, output: str, seed: int = 0,
           temperature: float = 1., batch_size: int = 16) -> None:
  """Writes samples, `<domain>/0000.png`; those of one name have one latent.

  Args:
    opened: The model, with latents.
    number: Number of samples of each domain.
    output: Folder of the outputs.
    seed: Seed of the latents.
    temperature: Standard deviation of the latents.
    batch_size: Images at a time.
  """
  evaluator = inference.Evaluator(opened.model, batch_size)
  random = np.random.RandomState(seed)
  progress = _progress.Progress(number, 'samples')
  for start in range(0, number, _CHUNK):
    count = min(_CHUNK, number - start)
    z = random.standard_normal((count, *opened.model.event_shape))
    z = (temperature * z).astype(np.float32)
    for domain in opened.model.domains:
      folder = os.path.join(output, domain)
      os.makedirs(folder, exist_ok=True)
      for i, levels in enumerate(
          reading.to_levels(evaluator.decode(z, domain))):
        sheets.write_png(
            os.path.join(folder, f'{start + i:04d}.png'), levels)
    progress.update(start + count)
  progress.close()

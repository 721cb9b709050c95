"""Bits per dimension of pictures, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent import futures
import csv
import io
import os

import numpy as np

from alignflow_tf import _io
from alignflow_tf import _progress
from alignflow_tf import inference
from alignflow_tf.data import pictures as pictures_lib
from alignflow_tf.translate import files
from alignflow_tf.translate import models
from alignflow_tf.translate import reading
from alignflow_tf.translate import translation

__all__ = ['score']


def score(opened: models.Opened, reader: reading.Reader,
          items: Sequence[files.Item], output: str, batch_size: int = 16,
          seed: int = 0) -> translation.Summary:
  """Writes bits per dimension of pictures to `<output>/scores.csv`.

  Args:
    opened: The model, with densities.
    reader: Reads the pictures at the model's size.
    items: The files; those that are in the table already are left out.
    output: Folder of the table.
    batch_size: Images at a time.
    seed: Seed of the dequantisation.

  Returns:
    Numbers of files done and kept, and lines on failures.
  """
  path = os.path.join(output, 'scores.csv')
  scores: dict[str, float] = {}
  if os.path.exists(path):
    with open(path, encoding='utf-8', newline='') as f:
      scores = {r['file']: float(r['bits_per_dim']) for r in csv.DictReader(f)}
  waiting = [item for item in items if item.name not in scores]
  summary = translation.Summary(kept=len(items) - len(waiting))
  evaluator = inference.Evaluator(opened.model, batch_size)
  progress = _progress.Progress(len(waiting), 'pictures')
  with futures.ThreadPoolExecutor(translation.THREADS) as pool:
    for results in pictures_lib.ahead(
        pool, lambda item: (item, reader.levels(item)), waiting,
        reader.ahead(waiting)):
      good = [(i, x) for i, x in results if isinstance(x, np.ndarray)]
      for line in (x for _, x in results if isinstance(x, str)):
        progress.say(line)
        summary.failed.append(line)
      if good:
        bits = evaluator.bits_per_dim(
            np.stack([x for _, x in good]), reader.domain, seed)
        scores |= {i.name: float(b) for (i, _), b in zip(
            good, bits, strict=True)}
        _write(path, scores)
        summary.done += len(good)
      progress.update(summary.done + len(summary.failed))
  progress.close()
  order = sorted(scores, key=scores.__getitem__)
  if order:
    print(f'bits/dim from {scores[order[0]]:.3f} ({order[0]}) to '
          f'{scores[order[-1]]:.3f} ({order[-1]}), median '
          f'{np.median(list(scores.values())):.3f}.')
  return summary


def _write(path: str, scores: dict[str, float]) -> None:
  content = io.StringIO()
  writer = csv.writer(content)
  writer.writerow(['file', 'bits_per_dim'])
  writer.writerows((name, f'{bits:.5f}') for name, bits in scores.items())
  _io.write_aside(path, content.getvalue())

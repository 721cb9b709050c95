"""The table of an adaptation for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import methods


def table(results: Mapping[str, Sequence[dict[str, Any]]], task: str,
          published: bool = True) -> str:
  """A row for each method: accuracy by seed, mean, spread, the paper's figure.

  Args:
    results: For each method, the results of `adapt`, one a seed.
    task: The task. For known tasks the table has the paper's figures, and for
      `alignflow+` SHOT's; none for methods whose stages were partly skipped.
    published: Whether the images are those of the published figures, and not a
      user's own domains of the same names.

  With labels of the target (`few_labels`) there is no published figure either.

  Returns:
    Lines of text. The spread is the standard deviation over seeds (n - 1).
  """
  lines = [f'Accuracy on the test images of the target, percent: {task}',
           f'{"method":<24}{"mean":>8}{"spread":>8}{"paper":>14}  seeds']
  for method, runs in results.items():
    scored = [r for r in runs if r['accuracy'] is not None]
    values = [100. * r['accuracy'] for r in scored]
    if not values:
      continue
    spread = f'{np.std(values, ddof=1):8.2f}' if len(values) > 1 else ' ' * 8
    left_out = set(runs[0]['skip']) & {s.name for s in methods.METHODS[method]}
    alike = published and not left_out and not runs[0].get('few_labels')
    paper = _published(task, method) if alike else ''
    name = ' '.join([method, *(f'-{s}' for s in runs[0]['skip'])])
    lines.append(
        f'{name:<24}{np.mean(values):8.2f}{spread}{paper:>14}  '
        + ' '.join(f'{r["seed"]}: {100. * r["accuracy"]:.2f}' for r in scored))
  if len(lines) == 2:
    lines = []
  # Some methods have more than others.
  keys = list(dict.fromkeys(
      k for runs in results.values() for r in runs for k in r['criteria']))
  lines += ['', 'Without labels of the target (see docs/adaptation.md)',
            f'{"method":<24}seed' + ''.join(f'{k[:12]:>14}' for k in keys)]
  for method, runs in results.items():
    for r in runs:
      lines.append(f'{method:<24}{r["seed"]:>4}' + ''.join(
          _figure(r['criteria'].get(k)) for k in keys))
  return '\n'.join(lines)


def _published(task: str, method: str) -> str:
  """The paper's figure, SHOT's with its name, or nothing."""
  if method == 'alignflow+' and task in config_lib.SHOT:
    return f'(SHOT {config_lib.SHOT[task]})'
  paper = config_lib.PAPER.get((task, method))
  return f'{paper[0]} +- {paper[1]}' if paper else ''


def _figure(value: float | None) -> str:
  """A criterion; a dash where it was not measured or was not finite."""
  return f'{"-":>14}' if value is None else f'{value:14.4f}'

"""Rows of the pages that need training.

Used by `python -m tools.results_check --train`. By the times of single runs,
all of them take 30 to 45 minutes of one core; the whole has not been timed.
"""

from __future__ import annotations

from collections.abc import Callable
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from alignflow_tf import data
from alignflow_tf.evaluate import evaluation
from tools import results_json
from tools.results_rows import Row

# Shares by which a figure may differ: rounding, another number of threads and
# another machine lead training elsewhere, up to another seed's figure.
MSE, ACCURACY, LABEL_KEPT, BITS = 0.15, 0.03, 0.15, 0.05


def _run(*arguments: str) -> str:
  """Output of a Python program, which must succeed."""
  return subprocess.run(
      [sys.executable, *arguments], check=True, cwd=results_json.ROOT,
      stdout=subprocess.PIPE, encoding='utf-8').stdout


def _evaluated(figure: str, *settings: str) -> list[float]:
  """A figure of both directions of a run of training with these settings."""
  with tempfile.TemporaryDirectory() as output:
    run = os.path.join(output, 'run')
    _run('-m', 'alignflow_tf.train', '--seed=0', '--noexport',
         f'--run_dir={run}', *settings)
    # A network that is trained on labels reads the translations' classes.
    found = evaluation.evaluate(
        run, os.path.join(output, 'evaluation'), classify=False,
        supervised=figure == 'label_agreement')
  return [way['model'][figure] for way in found['translation'].values()]


def lambda_(data_dir: str | None) -> dict[str, list[Row]]:
  """Likelihood alone on Maps, lambda infinity, as `evaluate.table3` does it."""
  if data_dir is None:
    raise data.DataError('for there is no --data_dir')
  mse = _evaluated(
      'mse', '--dataset=maps', f'--data_dir={data_dir}', '--preset=cpu_glow',
      '--image_size=32', '--flip', '--steps=3000', '--objective=mle')
  return {'docs/results.md': [
      Row('Lambda', 'infinity', ('MSE, aerial to map / back',), mse, MSE)]}


def adaptation(tfds_dir: str | None) -> dict[str, list[Row]]:
  """Source only, from SVHN to MNIST."""
  if tfds_dir is None:
    raise data.DataError('for there is no --tfds_dir')
  with tempfile.TemporaryDirectory() as output:
    _run('-m', 'alignflow_tf.adapt', '--task=svhn_mnist',
         '--method=source_only', '--seeds=0', '--nodownload',
         f'--data_dir={tfds_dir}', f'--output={output}')
    found = json.loads(pathlib.Path(
        output, 'svhn_mnist/seed_0/source_only/result.json').read_text('utf-8'))
  return {'docs/results/adaptation.md': [
      Row('SVHN to MNIST, 32x32x1', 'source_only', ('seed 0',),
          [100. * found['accuracy']], ACCURACY)]}


def systems() -> dict[str, list[Row]]:
  """OT-CFM on the digits."""
  kept = _evaluated('label_agreement', '--preset=ot_cfm_digits')
  return {'docs/results.md': [
      Row('Systems', 'OT-CFM, `ot_cfm_digits`, 20 evaluations',
          ('label kept, optical to MNIST / back',), kept, LABEL_KEPT)]}


def families() -> dict[str, list[Row]]:
  """Glow's flow, for a minute."""
  found = json.loads(_run(
      'benchmarks/flow_families.py', '--child=glow', '--seconds=60'))
  return {'docs/results.md': [
      Row('Systems', '`glow`', ('bits/dim, test',), [found['test']], BITS)]}


def measures(data_dir: str | None, tfds_dir: str | None
            ) -> list[tuple[str, Callable[[], dict[str, list[Row]]]]]:
  """Names of tables, and functions that train and give rows by page.

  Args:
    data_dir: Folder of Maps.
    tfds_dir: Folder of TFDS' `mnist` and `svhn_cropped`.
  """
  return [('families of flows', families), ('systems', systems),
          ('adaptation', lambda: adaptation(tfds_dir)),
          ('lambda', lambda: lambda_(data_dir))]

"""Rows of the pages that need training, a small one of a table.

Used by `python -m tools.results_check --train`: half an hour of one core.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

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


def _json(*path: str) -> Any:
  return json.loads(pathlib.Path(*path).read_text('utf-8'))


def _of_lambda(output: str, data_dir: str) -> dict[str, list[Row]]:
  """Likelihood alone, on Maps: lambda infinity."""
  _run('-m', 'alignflow_tf.evaluate.table3', '--dataset=maps', '--lambdas=inf',
       '--steps=3000', f'--data_dir={data_dir}', f'--output={output}')
  found = _json(output, 'table.json')['directions']
  mse = [row['figures']['mse']['mean'] for way in found.values()
         for row in way['rows'].values() if 'infinity' in row['title']]
  column = 'MSE, aerial to map / back'
  return {'docs/results.md': [
      Row('Lambda', 'infinity', (column,), mse, MSE)]}


def _of_adaptation(output: str, data_dir: str) -> dict[str, list[Row]]:
  """Source only, from SVHN to MNIST."""
  _run('-m', 'alignflow_tf.adapt', '--task=svhn_mnist', '--method=source_only',
       '--seeds=0', '--nodownload', f'--data_dir={data_dir}',
       f'--output={output}')
  found = _json(output, 'svhn_mnist', 'seed_0', 'source_only', 'result.json')
  return {'docs/results/adaptation.md': [
      Row('SVHN to MNIST, 32x32x1', 'source_only', ('seed 0',),
          [100. * found['accuracy']], ACCURACY)]}


def _of_systems(output: str) -> dict[str, list[Row]]:
  """OT-CFM on the digits."""
  run = os.path.join(output, 'run')
  _run('-m', 'alignflow_tf.train', '--preset=ot_cfm_digits', '--seed=0',
       '--noexport', f'--run_dir={run}')
  found = evaluation.evaluate(run, os.path.join(output, 'evaluation'))
  kept = [score['model']['label_agreement']
          for score in found['translation'].values()]
  return {'docs/results.md': [
      Row('Systems', 'OT-CFM, `ot_cfm_digits`, 20 evaluations',
          ('label kept, optical to MNIST / back',), kept, LABEL_KEPT)]}


def _of_families() -> dict[str, list[Row]]:
  """Glow's flow, for a minute."""
  found = json.loads(_run(
      'benchmarks/flow_families.py', '--child=glow', '--seconds=60'))
  return {'docs/results.md': [
      Row('Systems', '`glow`', ('bits/dim, test',), [found['test']], BITS)]}


def measure(data_dir: str | None, tfds_dir: str | None
           ) -> Iterator[tuple[str, Any]]:
  """A name, and a function that trains and gives rows by page, of each table.

  Args:
    data_dir: Folder of Maps.
    tfds_dir: Folder of TFDS' `mnist` and `svhn_cropped`.
  """
  def maps() -> dict[str, list[Row]]:
    if data_dir is None:
      raise data.DataError('for there is no --data_dir')
    with tempfile.TemporaryDirectory() as output:
      return _of_lambda(output, data_dir)

  def adaptation() -> dict[str, list[Row]]:
    if tfds_dir is None:
      raise data.DataError('for there is no --tfds_dir')
    with tempfile.TemporaryDirectory() as output:
      return _of_adaptation(output, tfds_dir)

  def systems() -> dict[str, list[Row]]:
    with tempfile.TemporaryDirectory() as output:
      return _of_systems(output)

  yield 'families of flows', _of_families
  yield 'systems', systems
  yield 'adaptation', adaptation
  yield 'lambda', maps

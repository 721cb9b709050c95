"""Trains AlignFlow: python -m alignflow_tf.train [--dataset=svhn_mnist].

Without flags it trains on two small sets of handwritten digits that come with
Python packages. The same command goes on with a run that was stopped. At the
end it exports the run, as `python -m alignflow_tf.export` does.
"""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import json
import os
import subprocess
import sys

from absl import app
from absl import flags
from absl import logging

from alignflow_tf import _errors
from alignflow_tf import _io
from alignflow_tf import _quiet as _quiet
from alignflow_tf import _threads
from alignflow_tf import data
from alignflow_tf import train as train_lib
from alignflow_tf.train import flags as flags_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import signals
from alignflow_tf.train import strategies

flags_lib.define()
# For --help, which lists the flags of the main module alone.
flags.adopt_module_key_flags(flags_lib)


def _export(run_dir: str) -> None:
  """Exports a run by the program that does it, once for a checkpoint."""
  output = os.path.join(run_dir, 'export')
  marker = os.path.join(output, 'exported.json')
  checkpoint = {'checkpoint': os.path.basename(train_lib.Run(run_dir).latest())}
  with contextlib.suppress(OSError, json.JSONDecodeError):
    with open(marker, encoding='utf-8') as f:
      if json.load(f) == checkpoint:
        return
  done = subprocess.run(
      [sys.executable, '-m', 'alignflow_tf.export', f'--run={run_dir}',
       f'--output={output}'], check=False)
  if done.returncode:
    sys.exit(done.returncode if done.returncode > 0 else 128 - done.returncode)
  with contextlib.suppress(OSError):  # It is exported again next time, then.
    _io.dump(marker, checkpoint)


def _train() -> None:
  if flags.FLAGS.list_datasets:
    print(data.list_datasets())
    return
  config, run_dir = flags_lib.resolve(flags.FLAGS)
  # Mistakes in flags and data are answered before TensorFlow is loaded, so its
  # users are loaded by name, at their first use, below.
  # Several processes must find each other before TensorFlow does anything.
  team = strategies.make(config) if config.strategy != 'default' else None
  domains = inputs.load(config, batch_size=config.batch_size)
  inputs.check(config, domains)
  train_lib.train(config, run_dir, domains, team=team)
  if team is not None and not team.chief:
    print('Done: the first process exports.')
    return
  if flags.FLAGS.export:
    _export(run_dir)
  print(f'Done. Figures and pictures: python -m alignflow_tf.evaluate '
        f'--run={run_dir}')


def main(argv: Sequence[str]) -> None:
  """Trains, then exports."""
  # TensorFlow reports every checkpoint otherwise.
  logging.set_verbosity(logging.WARNING)
  _threads.configure()
  try:
    with _errors.program('alignflow_tf.train', argv):
      _train()
  except signals.Stopped as e:
    print(e)
    sys.exit(128 + e.signum)


if __name__ == '__main__':
  app.run(main)

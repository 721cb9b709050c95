"""Flags and error handling that the programs of both tables share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import os
import sys

from absl import flags
from absl import logging

from alignflow_tf import _errors
from alignflow_tf.evaluate import _subprocess
from alignflow_tf.evaluate import table_report
from alignflow_tf.evaluate import tables
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import settings as settings_lib


def define() -> None:
  """Defines the flags that the programs of both tables share."""
  flags.DEFINE_enum(
      'dataset', 'maps', tuple(tables.PAPER_SIZES), 'The paired set.')
  flags.DEFINE_string(
      'output', None, 'Directory of the runs and the table; '
      'runs/<table>_<dataset>_<size> by default.')
  flags.DEFINE_enum(
      'budget', 'cpu', tuple(tables.BUDGETS),
      "'cpu': 32x32, small networks and Glow's flows; 'cpu_real_nvp': the same "
      "with Real NVP, as in the paper; 'paper': the paper's sizes, networks "
      'and 200 epochs, for a GPU.')
  flags.DEFINE_list('seeds', ['0'], 'Seeds of the runs, for example 0,1,2.')
  flags.DEFINE_integer(
      'image_size', None, "Height and width; the budget's.", lower_bound=8)
  flags.DEFINE_integer(
      'steps', None, "Generator updates; the budget's.", lower_bound=1)
  flags.DEFINE_string('data_dir', None, 'Directory of the data.')
  flags.DEFINE_multi_string(
      'set', [], 'name=value of another setting of `alignflow_tf.train`, for '
      'all rows; repeat the flag. Settings that the table itself makes are '
      'refused.')
  flags.DEFINE_string('references', None, 'As in `alignflow_tf.evaluate`.')
  flags.DEFINE_enum(
      'split', 'test', ('test', 'validation'),
      'The pairs to evaluate on; use validation pairs to choose '
      'hyper-parameters.')
  flags.DEFINE_integer(
      'limit', None, 'Largest number of images that are evaluated.',
      lower_bound=2)


def main(argv: Sequence[str], name: str,
         methods: Callable[[tables.Settings], Sequence[tables.Method]]) -> None:
  """Makes a table, or exits with a line on why it cannot be made."""
  logging.set_verbosity(logging.WARNING)
  program = f'alignflow_tf.evaluate.{name}'
  try:
    with _errors.program(program, argv):
      found = settings(flags.FLAGS, name)
      table_report.make(methods(found), found)
  except _subprocess.Stopped as e:
    print(f'{program}: {e}', file=sys.stderr)
    sys.exit(128 + e.signum)


def settings(values: flags.FlagValues, name: str) -> tables.Settings:
  """The settings that the flags ask for.

  Raises:
    TableError: If a flag is out of range.
  """
  try:
    seeds = tuple(int(s) for s in values.seeds)
  except ValueError:
    seeds = ()
  try:
    overrides = dict(
        settings_lib.parse(item, config_lib.Config)
        for item in values['set'].value or ())
  except ValueError as e:
    raise tables.TableError(f'`set` {e}') from e
  found = tables.Settings(
      values.dataset, '', values.budget, seeds, values.image_size, values.steps,
      values.data_dir, overrides, values.references, values.split, values.limit)
  output = values.output or os.path.join(
      'runs', f'{name}_{found.dataset}_{found.size}')
  return dataclasses.replace(found, output=os.path.expanduser(output))

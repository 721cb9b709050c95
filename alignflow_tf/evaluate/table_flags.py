"""The flags that the programs of both tables have."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from absl import flags

from alignflow_tf.evaluate import tables
from alignflow_tf.train import config as config_lib

__all__ = ['define', 'settings']


def define() -> None:
  """Defines the flags that the programs of both tables have."""
  flags.DEFINE_enum(
      'dataset', 'maps', tuple(tables.PAPER_SIZES), 'The paired set.')
  flags.DEFINE_string(
      'output', None, 'Directory of the runs and the table; '
      'runs/<table>_<dataset>_<size> by default.')
  flags.DEFINE_enum(
      'budget', 'cpu', tuple(tables.BUDGETS),
      "'cpu': 32x32 and small networks; 'paper': the paper's sizes, networks "
      'and 200 epochs, for a GPU.')
  flags.DEFINE_list('seeds', ['0'], 'Seeds of the runs, such as 0,1,2.')
  flags.DEFINE_integer('image_size', None, "Height and width; the budget's.")
  flags.DEFINE_integer('steps', None, "Generator updates; the budget's.")
  flags.DEFINE_string('data_dir', None, 'Directory of the data.')
  flags.DEFINE_multi_string(
      'set', [], 'name=value of another setting of `alignflow_tf.train`, for '
      'all rows; repeat the flag.')
  flags.DEFINE_string('references', None, 'As in `alignflow_tf.evaluate`.')
  flags.DEFINE_enum(
      'split', 'test', ('test', 'validation'),
      'What is evaluated; validation pairs to choose hyper-parameters by.')
  flags.DEFINE_integer('limit', None, 'Number of images evaluated at most.')


def settings(values: flags.FlagValues, name: str) -> tables.Settings:
  """The settings that the flags ask for.

  Args:
    values: Parsed flags.
    name: Name of the table.

  Returns:
    The settings.

  Raises:
    TableError: If a flag is out of range.
  """
  try:
    seeds = tuple(int(s) for s in values.seeds)
  except ValueError:
    seeds = ()
  kinds = {f.name: str(f.type) for f in dataclasses.fields(config_lib.Config)}
  overrides = {}
  for item in values['set'].value or ():
    key, _, value = item.partition('=')
    if key not in kinds or not value:
      raise tables.TableError(
          f'`set` must be name=value of a setting of training, got {item!r}.')
    try:
      overrides[key] = _parse(kinds[key], value)
    except ValueError as e:
      raise tables.TableError(f'`set` {item!r}: {e}') from e
  found = tables.Settings(
      values.dataset, '', values.budget, seeds, values.image_size, values.steps,
      values.data_dir, overrides, values.references, values.split, values.limit)
  output = values.output or os.path.join(
      'runs', f'{name}_{found.dataset}_{found.size}')
  return dataclasses.replace(found, output=os.path.expanduser(output))


def _parse(kind: str, value: str) -> Any:
  if kind.startswith('bool'):
    if value.lower() not in ('true', 'false'):
      raise ValueError('must be true or false')
    return value.lower() == 'true'
  if kind.startswith('int'):
    return int(value)
  return float(value) if kind.startswith('float') else value

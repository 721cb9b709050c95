"""Command-line flags of a configuration, made from `Config` itself."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

from absl import flags

from alignflow_tf import pretrained
from alignflow_tf import train as train_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import settings


def define_fields(cls: type) -> None:
  """Defines a flag for each attribute of a dataclass, with None as default.

  Args:
    cls: The dataclass, whose fields were made by `settings.field`.
  """
  for field in dataclasses.fields(cls):
    kind = str(field.type)
    _, expected = field.metadata['range']
    text = field.metadata['help'] + (f' ({expected})' if expected else '')
    if kind.startswith('tuple'):
      flags.DEFINE_multi_string(field.name, None, text)
    elif kind.startswith('bool'):
      flags.DEFINE_bool(field.name, None, text)
    elif kind.startswith('int') and 'tuple' not in kind:
      flags.DEFINE_integer(field.name, None, text)
    elif kind.startswith('float'):
      flags.DEFINE_float(field.name, None, text)
    else:
      flags.DEFINE_string(field.name, None, text)


def given(cls: type, values: flags.FlagValues) -> dict[str, Any]:
  """The attributes of a dataclass whose flags are given, by name."""
  found: dict[str, Any] = {}
  for field in dataclasses.fields(cls):
    value = values[field.name].value
    if field.name == 'image_size' and value is not None:
      value = settings.parse_size('image_size', value)
    if value is not None:
      found[field.name] = tuple(value) if isinstance(value, list) else value
  return found


def define() -> None:
  """Defines a flag for each attribute of `Config`, and a few more.

  All default to None, 'not given': a preset or the run decides.
  """
  define_fields(config_lib.Config)
  flags.DEFINE_string('domain_a', None,
                      'Directory of the first domain of --dataset=folders.')
  flags.DEFINE_string('domain_b', None,
                      'Directory of the second domain of --dataset=folders.')
  flags.DEFINE_string(
      'run_dir', None,
      'Directory of the run; runs/<dataset> by default. An existing run goes '
      'on, with its own settings.')
  flags.DEFINE_bool('list_datasets', False, 'Print the datasets and exit.')
  flags.DEFINE_bool(
      'export', True,
      'Whether to export translators to <run_dir>/export at the end.')


def resolve(
    values: flags.FlagValues) -> tuple[config_lib.Config, str]:
  """The configuration and the run directory that the flags ask for.

  An existing run has its own settings; `train` checks that flags agree.

  Returns:
    The configuration and the run directory.

  Raises:
    ConfigError: If a flag is out of range or flags contradict each other.
    RunError: If the run directory is damaged.
  """
  found = given(config_lib.Config, values)
  for name in ('domain_a', 'domain_b'):
    if values[name].value is not None:
      found['domain'] = (
          *found.get('domain', ()), f'{name[-1]}:{values[name].value}')
  if 'domain' in found:
    names = [item.split(':', 1)[0] for item in found['domain']]
    if len(set(names)) < max(2, len(names)):
      raise config_lib.ConfigError(
          '`domain` must name two or more different domains, got '
          f'{", ".join(names)}.')
    if found.get('dataset', 'folders') != 'folders':
      raise config_lib.ConfigError(
          f'`domain` goes with `dataset=folders`, got {found["dataset"]!r}.')
    found.setdefault('dataset', 'folders')
  run_dir = values['run_dir'].value
  if run_dir is None:
    name = found.get('dataset', config_lib.Config.dataset)
    run_dir = os.path.join('runs', re.sub(r'[^\w.-]+', '_', name))
  run_dir = os.path.expanduser(run_dir)
  if os.path.exists(os.path.join(run_dir, 'config.json')):
    # This loads TensorFlow, which a new run's flags need not wait for.
    saved = train_lib.Run(run_dir).config
    return dataclasses.replace(saved, **found), run_dir
  if 'init_from' in found:
    found['init_from'] = start = os.path.abspath(
        pretrained.directory(found['init_from']))
    if not os.path.isfile(os.path.join(start, 'config.json')):
      raise config_lib.ConfigError(
          f'`init_from` must be a run directory, got {start!r}, which has no '
          'config.json.')
  return config_lib.resolve(found.pop('preset', None), **found), run_dir

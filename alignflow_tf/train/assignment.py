"""Settings of training that are written as text: `name=value`."""

from __future__ import annotations

import dataclasses
from typing import Any

from alignflow_tf.train import config as config_lib
from alignflow_tf.train import settings

__all__ = ['parse']


def parse(text: str) -> tuple[str, Any]:
  """Parses `name=value`, where the name is an attribute of `Config`.

  For example, 'flip=true' is `('flip', True)`, and 'steps=100' is
  `('steps', 100)`. 'none' is None where the setting may be None.

  Args:
    text: The text.

  Returns:
    The name, and the value in the attribute's type; its range is not checked.

  Raises:
    ValueError: If there is no such setting, or its value does not parse.
  """
  name, _, value = text.partition('=')
  kinds = {f.name: str(f.type) for f in dataclasses.fields(config_lib.Config)}
  if name not in kinds or not value:
    raise ValueError(
        f'must be name=value of a setting of training, got {text!r}.')
  kind, lower = kinds[name], value.lower()
  if 'None' in kind and lower == 'none':
    return name, None
  if 'tuple[int, int]' in kind:
    return name, settings.parse_size(name, value)
  if kind.startswith('bool'):
    if lower not in ('true', 'false'):
      raise ValueError(f'must be true or false, got {text!r}.')
    return name, lower == 'true'
  for start, parsed in (('int', int), ('float', float)):
    if kind.startswith(start):
      try:
        return name, parsed(value)
      except ValueError as e:
        raise ValueError(f'must be a number, got {text!r}.') from e
  return name, value

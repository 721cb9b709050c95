"""Fields of a configuration, which carry their range and their help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import math
import re
from typing import Any

from alignflow_tf import _errors


class ConfigError(_errors.UserError, ValueError):
  """A configuration that cannot be trained; says which argument and why."""


# A range: a test of a value, and its text after "must be".
Range = tuple[Callable[[Any], bool], str]
Check = Callable[[bool, str, Any, str], None]

ANY: Range = (lambda value: True, '')
POSITIVE: Range = (lambda value: value >= 1, 'a positive integer')
COUNT: Range = (lambda value: value >= 0, 'a non-negative integer')
SEED: Range = (lambda value: 0 <= value < 2**31,
               'a non-negative integer below 2**31')
RATE: Range = (lambda value: 0. < value <= 1., 'above 0 and at most 1')
WEIGHT: Range = (lambda value: 0. <= value < math.inf,
                 'finite and not negative')
DECAY: Range = (lambda value: 0. <= value < 1., 'at least 0 and below 1')
SHARE: Range = (lambda value: 0. <= value <= 1., 'between 0 and 1')
SIZE: Range = (
    lambda value: all(8 <= side <= 4096 for side in (
        value if isinstance(value, tuple) else (value,))),
    'between 8 and 4096 pixels')
DOMAINS: Range = (
    lambda value: all(re.fullmatch(r'[A-Za-z0-9_]+:.+', v) for v in value),
    'name:DIR with a name of letters, digits and _')


def one_of(*names: str) -> Range:
  """The range of a value that is one of some names."""
  return (lambda value: value in names), 'one of ' + ', '.join(names)


def key_of(registry: Mapping[str, Any]) -> Range:
  """The range of a value that is a name of a registry, which may grow."""
  return (lambda value: value in registry), 'one of ' + ', '.join(registry)


def field(default: Any, text: str, allowed: Range = ANY,
          unused: Any = None) -> Any:
  """A field.

  Args:
    default: Its default.
    text: Its help, a noun phrase first.
    allowed: Its range; None is not checked.
    unused: For a setting that not all systems have (`baselines.System`), its
      value where the system has none.
  """
  return dataclasses.field(default=default, metadata={
      'help': text, 'range': allowed, 'unused': unused})


@dataclasses.dataclass(frozen=True)
class Reading:
  """How images are read: settings of training and of adaptation."""
  image_size: int | tuple[int, int] | None = field(
      None, 'Size of the images: a number for squares, or HEIGHTxWIDTH, for '
      "example 128x256; the data set's own by default.", SIZE)
  channels: int | None = field(
      None, "1 (grey) or 3 (colour); the data set's own by default.",
      (lambda value: value in (1, 3), '1 or 3'))
  fit: str | None = field(
      None, "How a picture is brought to the image size: 'crop' (the largest "
      "middle part), 'stretch' or 'pad'; the data set's own by default. "
      'Pictures only.', one_of('crop', 'stretch', 'pad'))
  load_size: int | None = field(
      None, 'Size to which a picture is resized before a crop of image_size, '
      'which is random in training; no crop by default. Pictures only.', SIZE)
  flip: bool = field(
      False, 'Whether training images are mirrored at random. Pictures only.')
  standard_levels: bool = field(
      False, 'Whether the levels of each image are stretched to 0..255, and '
      'inverted where it is dark on light: for things of either polarity, such '
      'as house numbers.')
  max_pixels: int = field(
      64_000_000, 'Largest width times height of a picture that is read.',
      POSITIVE)
  skip_unreadable: bool = field(
      False, 'Whether unreadable pictures are counted and left out, instead of '
      'ending the run.')


def check(good: bool, name: str, value: Any, expected: str) -> None:
  """Raises ConfigError unless a value is good."""
  if not good:
    raise ConfigError(f'`{name}` must be {expected}, got {value!r}.')


def check_fields(config: Any, check: Check = check) -> None:
  """Checks the type and the range of each field of a configuration.

  Args:
    config: A dataclass whose fields were made by `field`.
    check: Takes whether a value is good, its name, the value and the expected
      values in words; it raises if the value is not good.
  """
  for item in dataclasses.fields(config):
    value = getattr(config, item.name)
    _check_type(item.name, str(item.type), value, check)
    good, expected = item.metadata['range']
    check(value is None or good(value), item.name, value, expected)


def _check_type(name: str, annotation: str, value: Any, check: Check) -> None:
  if value is None and 'None' in annotation:
    return
  if isinstance(value, tuple) and 'tuple[int, int]' in annotation:
    good = len(value) == 2 and all(type(v) is int for v in value)
    check(good, name, value, 'an integer or (height, width)')
  elif annotation.startswith('tuple'):
    good = isinstance(value, tuple) and all(isinstance(v, str) for v in value)
    check(good, name, value, 'a tuple of strings')
  elif annotation.startswith('bool'):
    check(isinstance(value, bool), name, value, 'True or False')
  elif annotation.startswith('int'):
    check(isinstance(value, int) and not isinstance(value, bool), name, value,
          'an integer')
  elif annotation.startswith('float'):
    check(isinstance(value, (int, float)) and not isinstance(value, bool),
          name, value, 'a number')
  else:
    check(isinstance(value, str), name, value, 'a string')


def parse_size(name: str, text: str) -> int | tuple[int, int]:
  """A size as in a flag: '64', or '128x256' for (height, width).

  Raises:
    ConfigError: If it is neither.
  """
  match = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
  if match is None:
    raise ConfigError(
        f'`{name}` must be an integer, or HEIGHTxWIDTH such as 128x256, got '
        f'{text!r}.')
  height, width = match.groups()
  return int(height) if width is None else (int(height), int(width))


def parse(text: str, cls: type) -> tuple[str, Any]:
  """Parses `name=value`, where the name is a field of a configuration.

  For example, 'flip=true' is `('flip', True)`, and 'steps=100' is
  `('steps', 100)`. 'none' is None where the field may be None.

  Returns:
    The name, and the value in the field's type; its range is not checked.

  Raises:
    ValueError: If there is no such field, or its value does not parse.
  """
  name, _, value = text.partition('=')
  kinds = {f.name: str(f.type) for f in dataclasses.fields(cls)}
  if name not in kinds or not value:
    raise ValueError(
        f'must be name=value of a setting of training, got {text!r}.')
  kind, lower = kinds[name], value.lower()
  if 'None' in kind and lower == 'none':
    return name, None
  if 'tuple[int, int]' in kind:
    return name, parse_size(name, value)
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

"""Bad input: the message names the argument and shows what it was given.

A line of a table is a name, the value that is wrong, and a call.
"""

import math

import pytest

NAN, INF = math.nan, math.inf
SHAPE = (16, 16, 1)
# What the library says it raises; anything else would be an accident.
DOCUMENTED = (ValueError, TypeError, KeyError)

# Wrong for a positive integer, whatever it counts.
COUNTS = (0, -1, 1.5, '3', True, None)


def fails(name, value, call):
  """Checks that a call raises an error with the name and the value."""
  with pytest.raises(DOCUMENTED) as e:
    call()
  # What a KeyError shows is its argument's repr.
  text = str(e.value.args[0] if isinstance(e.value, KeyError) else e.value)
  assert f'`{name}' in text, text
  shown = value if isinstance(value, Shown) else repr(value)
  assert shown in text, text


class Shown(str):
  """What a message shows of a value that has no short repr."""

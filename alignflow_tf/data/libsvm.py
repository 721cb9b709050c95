"""Reads USPS in the text format of LIBSVM.

A line is `label index:value index:value ...`; the label is the digit + 1, the
indices run from 1 to 256 (16x16, row by row), the values from -1 (black) to 1.
Indices that are left out have the value 0, as in any libsvm file.
"""

from __future__ import annotations

import bz2

import numpy as np

SIDE = 16


def parse(data: bytes) -> tuple[np.ndarray, np.ndarray]:
  """Parses a bz2-compressed libsvm file of USPS.

  Returns:
    uint8 images [n, 16, 16, 1], white on black, (v + 1) / 2 * 255 rounded to
    nearest, and int64 labels [n] in 0..9.

  Raises:
    ValueError: If it is no bz2 file, cut short, or not of this format.
  """
  try:
    text = bz2.decompress(data)
  except (OSError, ValueError, EOFError) as error:
    raise ValueError(f'not a complete bz2 file ({error})') from error
  lines = [line for line in text.splitlines() if line.strip()]
  if not lines:
    raise ValueError('no line of data in it')
  values = np.zeros((len(lines), SIDE * SIDE), np.float64)
  labels = np.empty(len(lines), np.int64)
  for row, line in enumerate(lines):
    try:
      parts = np.array(line.replace(b':', b' ').split(), np.float64)
      index = parts[1::2].astype(np.int64) - 1
      if index.min() < 0 or index.max() >= SIDE * SIDE:
        raise ValueError('an index is outside 1..256')
      values[row, index] = parts[2::2]
      labels[row] = int(parts[0]) - 1
    except (ValueError, IndexError) as error:
      raise ValueError(
          f'line {row + 1} is not `label index:value ...` ({error})'
      ) from error
  if labels.min() < 0 or labels.max() > 9:
    raise ValueError(
        f'labels run from {labels.min() + 1} to {labels.max() + 1}; USPS has '
        '1 to 10 (digit + 1)')
  if np.abs(values).max() > 1.0 + 1e-6:
    raise ValueError('a value is outside [-1, 1]')
  pixels = np.rint((values + 1.0) * 127.5).astype(np.uint8)
  return pixels.reshape(-1, SIDE, SIDE, 1), labels

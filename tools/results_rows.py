"""Figures of the pages' tables, compared with measured ones."""

from __future__ import annotations

import decimal
import re
from typing import Any, NamedTuple

# Share by which a figure may differ that nothing but the data decides.
EXACT = 0.001


class Row(NamedTuple):
  """Cells of a page, and the figures that they are to have, in their order."""
  place: str  # The table's section or caption.
  title: str
  columns: tuple[str, ...]
  figures: list[float]
  share: float = EXACT


def cells(tables: list[dict[str, Any]], place: str) -> dict[
    tuple[str, str], str]:
  """Cells of a section's or caption's tables, by row and column; the first."""
  found: dict[tuple[str, str], str] = {}
  for table in tables:
    if place in (table['section'], table['caption']):
      for title, *row in table['rows']:
        for column, value in zip(table['header'][1:], row, strict=True):
          found.setdefault((title, column), value)
  return found


def differences(tables: list[dict[str, Any]], rows: list[Row]) -> list[str]:
  """The rows of `results_json.tables` that differ, with both values."""
  wrong = []
  for row in rows:
    table = cells(tables, row.place)
    written = ' / '.join(table.get((row.title, column), 'no such cell')
                         for column in row.columns)
    scale = 0.01 if '%' in written else 1.
    found = re.findall(r'-?\d+(?:\.\d+)?(?:e-?\d+)?', written)
    good = len(found) == len(row.figures)
    for figure, number in zip(row.figures, found, strict=False):
      unit = scale * 10.**decimal.Decimal(number).as_tuple().exponent
      value = scale * float(number)
      good &= abs(figure - value) <= 0.501 * unit + row.share * abs(value)
    if not good:
      measured = ' / '.join(f'{figure:.4g}' for figure in row.figures)
      wrong.append(f'{row.place}, {row.title}, {", ".join(row.columns)}: '
                   f'written {written}, measured {measured}')
  return wrong

"""Tables, pictures and pages of reports: as text, Markdown and HTML."""

from __future__ import annotations

import base64
from collections.abc import Sequence
import html
import os
import textwrap
from typing import NamedTuple

_TYPES = {'.png': 'image/png', '.gif': 'image/gif'}

# Colours suit light and dark backgrounds. Tables and sheets that are wider than
# a phone scroll by themselves; the page does not.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --edge: #8884; --soft: #8882; }}
body {{ font: 16px/1.45 system-ui, sans-serif; max-width: 72rem;
  margin: 0 auto; padding: 0 1rem 3rem; }}
h1 {{ font-size: 1.5rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.2rem; margin-top: 2rem;
  border-bottom: 1px solid var(--edge); }}
h3 {{ font-size: 1rem; margin-bottom: .3rem; }}
p {{ max-width: 62rem; }}
p.note {{ font-size: .88rem; opacity: .8; margin: .3rem 0; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .88rem;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .4rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--edge); }}
th {{ white-space: normal; vertical-align: bottom; font-weight: 500; }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0;
  background: Canvas; white-space: normal; min-width: 6.5rem; }}
td:first-child small {{ display: block; line-height: 1.2; }}
tr.own td {{ font-weight: 600; background: var(--soft); }}
tr.own td:first-child {{ background: Canvas; }}
@media (max-width: 30rem) {{ table {{ font-size: .78rem; }}
  th, td {{ padding: .25rem .25rem; }} }}
small {{ font-weight: 400; opacity: .75; }}
.sheet img {{ display: block; image-rendering: pixelated; height: auto; }}
figure {{ margin: 0; max-width: 30rem; }}
figcaption {{ font-size: .82rem; }}
svg {{ width: 100%; background: #fff; border: 1px solid var(--edge); }}
svg text {{ font: 11px system-ui, sans-serif; fill: #333; }}
figcaption span {{ margin-right: .8em; white-space: nowrap; }}
figcaption i {{ display: inline-block; width: .8em; height: .8em;
  margin-right: .3em; }}
details td {{ text-align: left; white-space: normal; overflow-wrap: anywhere; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


class Table(NamedTuple):
  """A table of text.

  Attributes:
    head: Titles of the columns.
    rows: Cells by row. The second line of a cell, if any, is small print.
    title: Title, or ''.
    note: Text below the table, or ''.
    own: Positions of the rows that stand out.
  """
  head: Sequence[str]
  rows: Sequence[Sequence[str]]
  title: str = ''
  note: str = ''
  own: Sequence[int] = ()

  def text(self) -> str:
    """The table and its note for a terminal."""
    rows = [[_one_line(cell) for cell in row]
            for row in ([self.title or self.head[0], *self.head[1:]],
                        *self.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ['  '.join([row[0].ljust(widths[0]), *(
        cell.rjust(width) for cell, width in zip(
            row[1:], widths[1:], strict=True))]).rstrip() for row in rows]
    return '\n'.join([*lines, *textwrap.wrap(self.note, 80)])

  def markdown(self) -> list[str]:
    """Lines of Markdown, without title and note."""
    head, *rows = ('| ' + ' | '.join(map(_one_line, row)) + ' |'
                   for row in (self.head, *self.rows))
    return [head, '|' + '---|' * len(self.head), *rows]

  def html(self) -> str:
    """The title, a table that scrolls by itself, and the note."""
    lines = ['<tr>' + ''.join(
        f'<th>{_escaped(c)}</th>' for c in self.head) + '</tr>']
    for i, row in enumerate(self.rows):
      kind = ' class="own"' if i in self.own else ''
      lines.append(f'<tr{kind}>' + ''.join(
          f'<td>{_escaped(c)}</td>' for c in row) + '</tr>')
    title = f'<h3>{html.escape(self.title)}</h3>' if self.title else ''
    note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ''
    return (f'{title}<div class="scroll"><table>{"".join(lines)}</table></div>'
            f'{note}')


def picture(path: str) -> str:
  """A picture, embedded; wide ones scroll by themselves."""
  with open(path, 'rb') as f:
    content = base64.b64encode(f.read()).decode()
  kind = _TYPES[os.path.splitext(path)[1]]
  name = html.escape(os.path.basename(path))
  return (f'<div class="scroll sheet"><img alt="{name}" '
          f'src="data:{kind};base64,{content}"></div>')


def _one_line(cell: str) -> str:
  text, _, small = cell.partition('\n')
  return f'{text} ({small})' if small else text


def _escaped(cell: str) -> str:
  text, _, small = map(html.escape, cell.partition('\n'))
  return f'{text}<small>{small}</small>' if small else text

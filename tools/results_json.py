"""Writes the tables of the pages of results as JSON.

  python -m tools.results_json [--check]

A page is written by hand or pasted from what an evaluation printed; the JSON of
most runs behind them is gone. So the page comes first, and `docs/results/data/
PAGE.json` follows from it: a list of tables, each with `page`, `section`,
`caption` (the bold line above, or ''), `sources` (the section's paragraphs with
a command, a commit or a date, or, where there is none, those of the page's
head), `header` and `rows`, all strings as the page has them. --check writes
nothing and exits with 1 where a page and its JSON differ.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / 'docs/results/data'
# A command, a commit or a date.
_SOURCE = re.compile(r'`python |\b[Cc]ommits? [0-9a-f]{7}\b|\d{4}-\d\d-\d\d')


def pages() -> list[pathlib.Path]:
  """The pages of figures."""
  docs = ROOT / 'docs'
  return sorted([docs / 'results.md', docs / 'model_card.md',
                 *docs.glob('results/*.md'), *docs.glob('results/data/*.md')])


def json_of(page: pathlib.Path) -> pathlib.Path:
  """The file of a page's tables."""
  return DATA / f'{page.stem}.json'


def tables(text: str) -> list[dict[str, Any]]:
  """The tables of a page of Markdown, in its order.

  Args:
    text: The page.

  Returns:
    For each table `section`, `caption`, `sources`, `header` and `rows`.

  Raises:
    ValueError: If a row has more or fewer cells than its header.
  """
  # Not what is quoted as code, nor the page's line about its JSON.
  text = re.sub(r'^```.*?^```$|^Tables as JSON: .*?\n', '', text,
                flags=re.MULTILINE | re.DOTALL)
  found: list[dict[str, Any]] = []
  head: list[str] = []
  # The page's head first, then its sections.
  for i, part in enumerate(re.split(r'^(?=## )', text, flags=re.MULTILINE)):
    sources: list[str] = []
    made: list[dict[str, Any]] = []
    section = caption = ''
    for block in re.split(r'\n\s*\n', part):
      block = block.strip()
      if block.startswith('#'):
        section, _, block = block.partition('\n')
        section = section.strip('# ')
      line = ' '.join(block.split())
      if block.startswith('|'):
        header, _, *rows = (
            [cell.strip() for cell in re.split(r'(?<!\\)\|', row)[1:-1]]
            for row in block.splitlines())
        if any(len(row) != len(header) for row in rows):
          raise ValueError(
              f'A table of {section!r} has rows of other lengths than its '
              f'header, {header}.')
        made.append({'section': section, 'caption': caption,
                     'sources': sources, 'header': header, 'rows': rows})
      elif _SOURCE.search(line):
        sources.append(line)
      bold = re.fullmatch(r'\*\*([^*]+)\*\*', line)
      caption = bold[1] if bold else ''
    if not i:
      head = sources
    if not sources:
      sources += head
    found += made
  return found


def rendered(page: pathlib.Path) -> str:
  """The JSON that a page is to have."""
  name = page.relative_to(ROOT).as_posix()
  return json.dumps([{'page': name} | table for table in tables(
      page.read_text('utf-8'))], indent=1, ensure_ascii=False) + '\n'


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--check', action='store_true', help='write nothing')
  check = parser.parse_args().check
  wrong = 0
  for page in pages():
    path, text = json_of(page), rendered(page)
    if path.exists() and path.read_text('utf-8') == text:
      continue
    if check:
      wrong = 1
      print(f'{path.relative_to(ROOT)} is not what {page.relative_to(ROOT)} '
            'has: run `make results-json`.')
    else:
      path.write_text(text, 'utf-8')
  return wrong


if __name__ == '__main__':
  sys.exit(main())

"""tools/results_json.py: tables of the pages of results as JSON."""

import pytest

from tools import results_json

PAGE = """# Page

Commit 0123456, 2026-11-28.
Tables as JSON: [page.json](data/page.json).

| | a |
|---|---|
| first | 1 |

## Section

`python -m one`; two cores.

**caption**

| | b | c |
|---|---|---|
| x \\| y | 2 |  |
| z | 3 % | 4 ± 1 |

```
| not | a table |
```

## Other

| d |
|---|
| 5 |
"""


def test_a_table_has_its_section_caption_sources_header_and_rows():
  head = 'Commit 0123456, 2026-11-28.'
  first, second, third = results_json.tables(PAGE)
  assert first == {'section': 'Page', 'caption': '', 'sources': [head],
                   'header': ['', 'a'], 'rows': [['first', '1']]}
  assert second == {
      'section': 'Section', 'caption': 'caption',
      'sources': ['`python -m one`; two cores.'], 'header': ['', 'b', 'c'],
      'rows': [['x \\| y', '2', ''], ['z', '3 %', '4 ± 1']]}
  # Not those of another section.
  assert third['sources'] == [head]


def test_rows_of_other_lengths_are_refused():
  with pytest.raises(ValueError, match="'Section' has rows of other lengths"):
    results_json.tables('## Section\n\n| a | b |\n|---|---|\n| 1 |\n')


@pytest.mark.parametrize('page', results_json.pages(), ids=lambda p: p.stem)
def test_a_page_and_its_json_agree_and_the_page_links_to_it(page):
  path = results_json.json_of(page)
  assert path.read_text('utf-8') == results_json.rendered(page), (
      'run `make results-json`')
  link = path.relative_to(page.parent).as_posix()
  assert f'[{path.name}]({link})' in page.read_text('utf-8')


def test_no_two_pages_share_a_file_and_no_file_is_left_over():
  paths = [results_json.json_of(page) for page in results_json.pages()]
  assert sorted(paths) == sorted(results_json.DATA.glob('*.json'))

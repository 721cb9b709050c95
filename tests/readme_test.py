"""The README's example runs as it stands."""

import re

import numpy as np


def test_the_example_runs(repo_root):
  text = (repo_root / 'README.md').read_text()
  blocks = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  assert len(blocks) == 1
  names = {}
  exec(blocks[0], names)  # Our own README.
  assert names['log_prob'].shape == (4,)
  assert names['volume'].shape == (4,)
  np.testing.assert_allclose(names['back'], names['x'], atol=1e-4)
  assert names['pairs']['svhn'].shape == (2, 32, 32, 3)
  assert names['frames']['mnist'].shape == (2, 5, 32, 32, 3)


def _text(page):
  """A page without its blocks of code."""
  return re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)


def _slugs(page):
  """Anchors that GitHub gives to the headings of a page."""
  for title in re.findall(r'^#+ (.*)$', _text(page), re.MULTILINE):
    yield re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-')


def test_links_lead_somewhere(repo_root):
  pages = [*repo_root.glob('*.md'), *repo_root.glob('docs/**/*.md'),
           *repo_root.glob('examples/*.md')]
  assert len(pages) > 20
  wrong = set()
  for page in pages:
    for target in re.findall(r'\]\(([^)\s]+)\)', _text(page)):
      if '://' in target:
        continue
      name, _, anchor = target.partition('#')
      path = page.parent / name if name else page
      if not path.exists() or anchor and anchor not in _slugs(path):
        wrong.add((page.name, target))
  assert not wrong


def test_every_picture_is_shown(repo_root):
  text = ''.join(p.read_text() for p in (
      repo_root / 'README.md', *repo_root.glob('docs/**/*.md')))
  kept = {p.name for p in (repo_root / 'docs' / 'images').iterdir()}
  assert kept == {name for name in kept if f'images/{name})' in text}


def test_citation_is_of_this_version(repo_root):
  version, = re.findall(
      r"^_VERSION = '(.*)'", (repo_root / 'setup.py').read_text(), re.MULTILINE)
  assert f'\nversion: {version}\n' in (repo_root / 'CITATION.cff').read_text()


def test_every_dependency_has_its_reason(repo_root):
  setup = (repo_root / 'setup.py').read_text()
  setup = setup[:setup.index('def _long_description')]
  names = set(re.findall(r"'([A-Za-z][\w-]+)(?:\[\w+\])?[<>={]", setup))
  assert len(names) > 25
  table = (repo_root / 'BUILD.md').read_text().split('## Why each')[1]
  first = re.findall(r'^\| ([^|]+) \|', table, re.MULTILINE)
  assert names <= set(re.findall(r'[\w-]+', ' '.join(first)))

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


def test_links_lead_somewhere(repo_root):
  for name in ('README.md', 'BUILD.md', 'CONTRIBUTING.md'):
    text = (repo_root / name).read_text()
    for target in re.findall(r'\]\(([^)#]+)\)', text):
      if '://' not in target:
        assert (repo_root / target).exists(), f'{name}: {target}'

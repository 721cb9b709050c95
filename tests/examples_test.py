"""The examples that need no server, and Python in the pages on data."""

import functools
import re
import runpy

import numpy as np
from PIL import Image
import pytest

from alignflow_tf import data
from tests.short import short


def _blocks(page):
  return re.findall(r'^```python\n(.*?)^```$', page.read_text(), re.M | re.S)


def test_training_by_hand(repo_root, tmp_path, capsys):
  example = runpy.run_path(str(repo_root / 'examples' / 'train_by_hand.py'))
  flow = functools.partial(short, channels=4, num_blocks=1)
  found = example['train'](2, flow, batch_size=8)
  example['show'](*found, str(tmp_path / 'x.png'))
  first, last, way_back = capsys.readouterr().out.splitlines()
  assert float(first.split()[-1]) != float(last.split()[-1])
  assert float(way_back.split()[-1]) < 1e-4
  assert (tmp_path / 'x.png').read_bytes().startswith(b'\x89PNG')


def test_own_folders(repo_root, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  for number, season in enumerate(('summer', 'winter')):
    folder = tmp_path / 'pictures' / season
    folder.mkdir(parents=True)
    for i in range(20):
      levels = np.random.RandomState(i).randint(0, 256, (9, 12, 3))
      Image.fromarray((levels // (number + 1)).astype(np.uint8)).save(
          folder / f'{i}.png')
  block, = _blocks(repo_root / 'examples' / 'own_folders.md')
  names = {}
  exec(block, names)
  assert names['ds'].event_shape == (64, 64, 3)
  assert "domains=('summer', 'winter')" in capsys.readouterr().out


def test_a_data_set_of_your_own(repo_root, monkeypatch):
  block, = (b for b in _blocks(repo_root / 'docs' / 'data.md') if 'Noise' in b)
  monkeypatch.setitem(data.SOURCES, 'noise', None)  # Removed at the end.
  exec(block, {})
  images = data.load('noise').arrays('dark', 'test')['image']
  assert images.shape == (100, 8, 8, 1)


@pytest.mark.slow
@pytest.mark.real_data
def test_data_in_python(repo_root, real_data):
  *_, block = _blocks(repo_root / 'docs' / 'data.md')
  names = {}
  exec(block.replace('../shared/data', str(real_data)), names)
  assert set(names['batch']['mnist']) == {'image'}

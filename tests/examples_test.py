"""The examples that need no server, and Python in the pages on data."""

import functools
import json
import os
import re
import runpy
import subprocess
import sys

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


def _cells(notebook):
  return [cell for cell in json.loads(notebook.read_text())['cells']
          if cell['cell_type'] == 'code']


def test_notebooks_are_without_outputs(repo_root):
  notebooks = list(repo_root.glob('examples/*.ipynb'))
  assert notebooks
  for notebook in notebooks:
    for cell in _cells(notebook):
      assert cell['outputs'] == []
      assert cell['execution_count'] is None


def _run(notebook, directory):
  """What the cells print, run in their order; without Jupyter."""
  code = '\n\n'.join(''.join(cell['source']) for cell in _cells(notebook))
  done = subprocess.run(
      [sys.executable, '-c', code], cwd=directory, text=True,
      capture_output=True, check=False,
      env=os.environ | {'PYTHONPATH': str(notebook.parent.parent)})
  assert not done.returncode, done.stderr
  return done.stdout


@pytest.mark.slow
def test_notebook_of_digits(repo_root, tmp_path):
  out = _run(repo_root / 'examples' / 'digits.ipynb', tmp_path)
  error, = re.findall('largest error: (.*)', out)
  assert 0. < float(error) < 1e-4
  upright, upside_down = map(float, re.findall(r'(\S+) bits/dim', out))
  assert upright < upside_down


@pytest.mark.slow
def test_notebook_of_own_folders(repo_root, tmp_path):
  _run(repo_root / 'examples' / 'own_folders.ipynb', tmp_path)
  folder = tmp_path / 'runs' / 'notebook_folders'
  day, night, made = (np.mean([
      np.asarray(Image.open(folder / name / f'{i}.png')) for i in range(20)
  ]) for name in ('day', 'night', 'translated'))
  assert abs(made - night) < 0.1 * abs(day - night)


def test_a_data_set_of_your_own(repo_root, monkeypatch):
  block, = (b for b in _blocks(repo_root / 'docs' / 'data.md') if 'Noise' in b)
  monkeypatch.setitem(data.SOURCES, 'noise', None)  # Removed at the end.
  exec(block, {})
  images = data.load('noise').arrays('dark', 'test')['image']
  assert images.shape == (100, 8, 8, 1)


@pytest.mark.slow
@pytest.mark.real_data
def test_data_in_python(repo_root, real_data, monkeypatch):
  *_, block = _blocks(repo_root / 'docs' / 'data.md')
  monkeypatch.setenv('TFDS_DATA_DIR', str(real_data / 'tfds'))
  names = {}
  exec(block, names)
  assert set(names['batch']['mnist']) == {'image'}

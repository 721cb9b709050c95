"""The programs of examples/ that need no server."""

import functools
import runpy

from tests.short import short


def test_training_by_hand(repo_root, tmp_path, capsys):
  example = runpy.run_path(str(repo_root / 'examples' / 'train_by_hand.py'))
  flow = functools.partial(short, channels=4, num_blocks=1)
  found = example['train'](2, flow, batch_size=8)
  example['show'](*found, str(tmp_path / 'x.png'))
  first, last, way_back = capsys.readouterr().out.splitlines()
  assert float(first.split()[-1]) != float(last.split()[-1])
  assert float(way_back.split()[-1]) < 1e-4
  assert (tmp_path / 'x.png').read_bytes().startswith(b'\x89PNG')

"""Scores of translations that come as files."""

import types

import numpy as np
import pytest

from alignflow_tf import data
from alignflow_tf.evaluate import score as score_lib

SHAPE = (8, 8, 3)


@pytest.fixture(scope='module')
def domains():
  random = np.random.RandomState(0)
  levels = {d: random.randint(0, 256, (6, *SHAPE)).astype(np.uint8)
            for d in ('aerial', 'map')}
  return types.SimpleNamespace(
      name='maps', domains=('aerial', 'map'), paired=True, event_shape=SHAPE,
      num_classes=None, describe=dict, levels=levels,
      sizes={d: {'train': 6} for d in levels},
      mean_image=lambda d, split: levels[d].mean(axis=0),
      rows=lambda d, split, rows: {'image': levels[d][rows]},
      arrays=lambda d, split, limit=None: {'image': levels[d]})


def test_levels_and_floats_score_alike(domains, tmp_path):
  levels = domains.levels['map']
  np.savez(tmp_path / 'aerial_to_map.npz', levels)
  first = score_lib.score(domains, str(tmp_path))
  np.savez(tmp_path / 'aerial_to_map.npz',
           ((levels + 0.5) / 256.).astype(np.float32))
  second = score_lib.score(domains, str(tmp_path))
  assert first == second
  assert list(first) == ['aerial_to_map']
  assert first['aerial_to_map']['translations']['mse'] == 0.
  assert first['aerial_to_map']['translations']['top_1'] == 1.
  assert first['aerial_to_map']['untranslated']['mse'] > 0.1


def test_a_directory_without_translations_is_refused(domains, tmp_path):
  with pytest.raises(data.DataError, match='`translations` must hold a file'):
    score_lib.score(domains, str(tmp_path))


def test_translations_of_another_shape_are_refused(domains, tmp_path):
  np.savez(tmp_path / 'map_to_aerial.npz', np.zeros((5, *SHAPE), np.uint8))
  with pytest.raises(data.DataError, match='must hold an array of shape'):
    score_lib.score(domains, str(tmp_path))

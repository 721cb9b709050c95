"""The training order is a pure function of (seed, step)."""

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf.data import splits
from alignflow_tf.data import streams


def _order(n, start, count, key=(1, 2)):
  positions = tf.range(start, start + count, dtype=tf.int64)
  return streams.shuffled_indices(positions, n, key).numpy()


@pytest.mark.parametrize('n', [1, 2, 3, 10, 97, 1097])
def test_every_index_occurs_once_an_epoch(n):
  order = _order(n, 0, 3 * n).reshape(3, n)
  for epoch in order:
    assert sorted(epoch) == list(range(n))


def test_epochs_keys_and_neighbours_are_unrelated():
  n = 2000
  first, second = _order(n, 0, 2 * n).reshape(2, n)
  other = _order(n, 0, n, key=(1, 3))
  for a, b in ((first, second), (first, other), (first[1:], first[:-1]),
               (first, np.arange(n))):
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.1


def test_any_position_is_reached_directly():
  np.testing.assert_array_equal(_order(13, 0, 100)[37:52], _order(13, 37, 15))
  far = _order(13, 13 * 10**12, 13)
  assert sorted(far) == list(range(13))


def test_first_positions_are_uniform():
  counts = np.zeros(5, int)
  for seed in range(500):
    counts[_order(5, 0, 1, streams.stream_key(seed, 'order', 'a'))[0]] += 1
  assert counts.min() > 70  # 100 expected, standard deviation 9


def test_keys_are_stable_and_differ():
  assert streams.stream_key(0, 'order', 'a') == streams.stream_key(
      0, 'order', 'a')
  keys = {streams.stream_key(s, 'order', d) for s in (-1, 0, 2**70)
          for d in 'ab'}
  assert len(keys) == 6


def test_held_out_size():
  assert splits.held_out_size(60000, 10000) == 6000
  assert splits.held_out_size(1096, 50) == 50
  assert splits.held_out_size(3, 1) == 1
  assert splits.held_out_size(1, 1) == 0


def test_stratified_is_a_fixed_fair_cut():
  labels = np.repeat(np.arange(10), 50)
  parts = splits.stratified(labels, [350, 50, 100])
  assert sorted(np.concatenate(parts)) == list(range(500))
  for part, share in zip(parts, (35, 5, 10), strict=True):
    assert np.abs(np.bincount(labels[part]) - share).max() <= 1
  # Sorted by class in the source, mixed in a split.
  assert len(set(labels[parts[2][:20]])) > 5
  # The same on every machine and at all times.
  assert parts[1][:5].tolist() == FIRST
  with pytest.raises(ValueError, match='must sum to 500'):
    splits.stratified(labels, [1, 2])


FIRST = [208, 197, 299, 301, 179]


def test_by_hash_ignores_other_names():
  names = [f'{i}.png' for i in range(20)]
  order = [names[i] for i in splits.by_hash(names)]
  fewer = [n for n in names if n != '7.png']
  assert [fewer[i] for i in splits.by_hash(fewer)] == [
      n for n in order if n != '7.png']
  assert order != names

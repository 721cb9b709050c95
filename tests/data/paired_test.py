"""Paired sets: a pair is a pair, and training does not see it."""

import shutil
import unittest.mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

from alignflow_tf import data
from alignflow_tf.data.builders import pix2pix
from tests.data import fakes


@pytest.fixture
def root(tmp_path):
  fakes.write_pairs(tmp_path / 'maps', {'train': 30, 'val': 7})
  return tmp_path


def _number(image, domain):
  return image[:, 0, 0, 0 if domain in ('aerial', 'photo') else 1]


def _check_pairs(found, split, count):
  batches = list(found.pairs(split, 4).as_numpy_iterator())
  a, b = (np.concatenate([x[d] for x in batches]) for d in found.domains)
  keys = np.concatenate([x['key'] for x in batches])
  assert len(a) == len(set(keys)) == count
  first, second = found.domains
  np.testing.assert_array_equal(_number(a, first), _number(b, second))
  assert (a[..., 2] == 200).all()  # A is the left half,
  assert (b[..., 2] == 50).all()  # B the right.
  return _number(a, first), keys


@pytest.mark.parametrize('layout', [
    '{0}/maps', '{0}/pix2pix/maps', '{0}/downloads/manual/maps'])
def test_places_and_counts(root, layout, tmp_path):
  place = tmp_path / 'elsewhere'
  target = layout.format(place)
  shutil.copytree(root / 'maps', target)
  found = data.load('maps', data_dir=str(place), image_size=8)
  assert found.domains == ('aerial', 'map')
  assert found.paired
  assert found.sizes['aerial'] == found.sizes['map'] == {
      'train': 27, 'validation': 3, 'test': 7}
  numbers, _ = _check_pairs(found, 'test', 7)
  assert sorted(numbers) == list(range(30, 37))
  _check_pairs(found, 'validation', 3)
  _check_pairs(found, 'train', 27)
  facts = found.describe()['domains']['aerial']
  assert "test is the source's validation split" in facts['splits']


def test_beside_data_dir(root):
  (root / 'tfds').mkdir()
  (root / 'pix2pix').mkdir()
  (root / 'maps').rename(root / 'pix2pix' / 'maps')
  found = data.load('maps', data_dir=str(root / 'tfds'), image_size=8)
  _check_pairs(found, 'test', 7)


def test_all_three_splits(tmp_path):
  fakes.write_pairs(tmp_path / 'facades', {'train': 9, 'val': 3, 'test': 4})
  found = data.load('facades', data_dir=str(tmp_path), image_size=8)
  assert found.sizes['photo'] == {'train': 9, 'validation': 3, 'test': 4}
  numbers, _ = _check_pairs(found, 'test', 4)
  assert sorted(numbers) == [12, 13, 14, 15]


def test_training_is_unpaired(root):
  found = data.load('maps', data_dir=str(root), image_size=8)
  same, total = 0, 0
  for step in found.train_batches(9, seed=0).take(30).as_numpy_iterator():
    a = _number(step['aerial']['image'], 'aerial')
    b = _number(step['map']['image'], 'map')
    same += (a == b).sum()
    total += len(a)
  assert same < 0.12 * total  # 1 in 27 by chance


def test_a_missing_partner_is_an_error(root):
  found = data.load('maps', data_dir=str(root), image_size=8)
  store = found._domains['map'].store('test')
  with unittest.mock.patch.object(store, 'keys', store.keys[:-1] + ('x',)):
    with pytest.raises(data.DataError, match='not paired; without a partner'):
      found.pairs('test', 2)


def test_crops_keep_pairs(root):
  found = data.load('maps', data_dir=str(root), image_size=8, load_size=12)
  _check_pairs(found, 'test', 7)


def test_skipping_drops_both_halves(root):
  (root / 'maps' / 'val' / '3.png').write_bytes(b'')
  fakes.write_picture(root / 'maps' / 'val' / '4.png',
                      np.zeros((8, 9, 3), np.uint8))
  with pytest.raises(data.DataError, match=(
      r'3\.png: it is empty.*4\.png: it is 9 pixels wide.*even width')):
    data.load('maps', data_dir=str(root), image_size=8)
  found = data.load('maps', data_dir=str(root), image_size=8,
                    skip_unreadable=True)
  _check_pairs(found, 'test', 5)
  assert found.describe()['domains']['map']['skipped_unreadable'] == 2


def test_empty_training_folder(tmp_path):
  (tmp_path / 'maps' / 'train').mkdir(parents=True)
  with pytest.raises(data.DataError, match=r'maps.*no usable picture.*train'):
    data.load('maps', data_dir=str(tmp_path))


def test_records_of_the_builder_give_the_same(root, tmp_path):
  pictures = data.load('maps', data_dir=str(root), image_size=8)
  place = tmp_path / 'records'
  builder = pix2pix.Pix2pix(config='maps', data_dir=str(place))
  builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir=str(root)))
  records = data.load('maps', data_dir=str(place), image_size=8,
                      download=False)
  assert records.sizes == pictures.sizes
  for split in ('train', 'validation', 'test'):
    for domain in records.domains:
      want = pictures.arrays(domain, split)
      got = records.arrays(domain, split)
      np.testing.assert_array_equal(got['key'], want['key'])
      np.testing.assert_array_equal(got['image'], want['image'])
  _check_pairs(records, 'test', 7)
  with pytest.raises(data.DataError, match=r"`cache` is 'none'.*'file'"):
    data.load('maps', data_dir=str(place), cache='none', download=False)

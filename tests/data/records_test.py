"""Digit pairs and CycleGAN sets from TFDS records; no network, no data."""

import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

from alignflow_tf import data
from alignflow_tf.data import records
from tests.data import fakes


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tfds')
  fakes.write_records(folder, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 100, 'test': 20}, 1)
  fakes.write_records(folder, 'svhn_cropped', '3.1.0', (32, 32, 3),
                      {'train': 60, 'test': 30}, 2)
  fakes.write_usps(folder / 'usps', 40, 20)
  return folder


@pytest.mark.parametrize(('name', 'shape', 'copied'), [
    ('svhn_mnist', (32, 32, 3), {'svhn': False, 'mnist': True}),
    ('mnist_svhn', (32, 32, 3), {'svhn': False, 'mnist': True}),
    ('mnist_usps', (32, 32, 1), {'mnist': False, 'usps': False}),
    ('usps_mnist', (32, 32, 1), {'mnist': False, 'usps': False}),
    ('svhn_usps', (32, 32, 3), {'svhn': False, 'usps': True}),
    ('usps_svhn_mnist', (32, 32, 3),
     {'svhn': False, 'mnist': True, 'usps': True}),
])
def test_digit_sets(root, name, shape, copied):
  found = data.load(name, data_dir=str(root), download=False)
  assert found.domains == tuple(name.split('_'))
  assert found.event_shape == shape
  assert found.grey_copied == copied
  sizes = {'mnist': {'train': 90, 'validation': 10, 'test': 20},
           'svhn': {'train': 54, 'validation': 6, 'test': 30},
           'usps': {'train': 36, 'validation': 4, 'test': 20}}
  assert found.sizes == {d: sizes[d] for d in found.domains}
  step = next(iter(found.train_batches(5, labels=found.domains)))
  for domain in found.domains:
    assert step[domain]['image'].shape == (5, *shape)
    assert step[domain]['label'].dtype == np.int64


def test_pixels_labels_and_splits_survive(root):
  found = data.load('svhn_mnist', data_dir=str(root), download=False)
  raw = list(tfds.builder_from_directory(
      str(root / 'svhn_cropped' / '3.1.0')).as_dataset(
          split='train', shuffle_files=False).as_numpy_iterator())
  seen = []
  for split in ('train', 'validation'):
    arrays = found.arrays('svhn', split)
    for key, image, label in zip(
        arrays['key'], arrays['image'], arrays['label'], strict=True):
      row = int(key.split(b'/')[-1])
      seen.append(row)
      np.testing.assert_array_equal(image, raw[row]['image'])
      assert label == raw[row]['label']
  assert sorted(seen) == list(range(60))


def test_grey_and_native_size(root):
  found = data.load('svhn_usps', data_dir=str(root), channels=1,
                    image_size=16, download=False)
  assert found.event_shape == (16, 16, 1)
  assert found.grey_copied == {'svhn': False, 'usps': False}
  data_, pixels, labels = fakes.usps_bytes(20, 2)
  del data_
  arrays = found.arrays('usps', 'test')
  rows = [int(k.split(b'/')[-1]) for k in arrays['key']]
  np.testing.assert_array_equal(arrays['image'], pixels[rows])
  np.testing.assert_array_equal(arrays['label'], labels[rows])
  facts = found.describe()['domains']['usps']
  assert facts['partial']['train'] == '40 of 7291 published'


def test_test_split_is_not_read_by_training(root, monkeypatch):
  read = []
  original = records.Records.batches

  def spy(self, split, *args, **kwargs):
    read.append(split)
    return original(self, split, *args, **kwargs)

  monkeypatch.setattr(records.Records, 'batches', spy)
  found = data.load('svhn_mnist', data_dir=str(root), download=False)
  assert read == []
  next(iter(found.train_batches(4)))
  found.arrays('svhn', 'validation')
  assert read == ['train', 'train']
  found.arrays('svhn', 'test')
  assert read == ['train', 'train', 'test']


def test_file_cache(root, tmp_path):
  want = data.load('svhn_mnist', data_dir=str(root), download=False)
  for _ in range(2):
    got = data.load('svhn_mnist', data_dir=str(root), download=False,
                    cache='file', cache_dir=str(tmp_path))
    for split in ('train', 'validation', 'test'):
      for key, value in want.arrays('mnist', split).items():
        np.testing.assert_array_equal(got.arrays('mnist', split)[key], value)
  with pytest.raises(data.DataError, match=r"`cache` is 'none'"):
    data.load('svhn_mnist', data_dir=str(root), cache='none')


USPS_PLACES = ['.', 'usps', '../usps', 'downloads/manual',
               'downloads/manual/usps']


@pytest.mark.parametrize('place', USPS_PLACES)
def test_places_of_usps(root, tmp_path, place):
  folder = tmp_path / 'data'
  folder.mkdir()
  os.symlink(root / 'mnist', folder / 'mnist')
  fakes.write_usps(folder / place, 30, 10)
  found = data.load('mnist_usps', data_dir=str(folder), download=False)
  assert found.sizes['usps'] == {'train': 27, 'validation': 3, 'test': 10}


@pytest.mark.parametrize(('content', 'message'), [
    (b'', r'no line of data|not a complete bz2'),
    (b'not bz2', r'usps\.bz2 cannot be read as USPS: not a complete bz2'),
    (fakes.usps_bytes(5)[0][:-20], r'not a complete bz2'),
])
def test_broken_usps(root, tmp_path, content, message):
  os.symlink(root / 'mnist', tmp_path / 'mnist')
  fakes.write_usps(tmp_path, 30, 10)
  (tmp_path / 'usps.bz2').write_bytes(content)
  with pytest.raises(data.DataError, match=message):
    data.load('mnist_usps', data_dir=str(tmp_path), download=False)


def test_incomplete_records_are_named(tmp_path):
  for name, shape in (('mnist', (28, 28, 1)), ('svhn_cropped', (32, 32, 3))):
    fakes.write_records(tmp_path, name, '3.0.1', shape,
                        {'train': 20, 'test': 10})
  shard = next((tmp_path / 'mnist' / '3.0.1').glob('*train*tfrecord*'))
  content = shard.read_bytes()
  shard.write_bytes(content[:len(content) // 2])
  found = data.load('svhn_mnist', data_dir=str(tmp_path), download=False)
  with pytest.raises(data.DataError, match=r'mnist/3.0.1 cannot be read'):
    found.train_batches(4)
  shard.unlink()
  found = data.load('svhn_mnist', data_dir=str(tmp_path), download=False)
  with pytest.raises(data.DataError, match=r'mnist/3.0.1'):
    found.train_batches(4)
  # A preparation that was broken off is not taken for records.
  (tmp_path / 'svhn_cropped' / '3.0.1').rename(
      tmp_path / 'svhn_cropped' / '3.0.1.incompleteABC')
  with pytest.raises(data.DataError, match=r"no records of 'svhn_cropped'"):
    data.load('svhn_mnist', data_dir=str(tmp_path), download=False)


def test_cycle_gan_records(tmp_path):
  counts = {'trainA': 12, 'trainB': 20, 'testA': 4, 'testB': 5}
  fakes.write_records(tmp_path / 'cycle_gan', 'horse2zebra', '3.0.0',
                      (40, 30, 3), counts)
  found = data.load('horse2zebra', data_dir=str(tmp_path), download=False,
                    image_size=16)
  assert found.domains == ('horse', 'zebra')
  assert found.sizes == {'horse': {'train': 11, 'validation': 1, 'test': 4},
                         'zebra': {'train': 18, 'validation': 2, 'test': 5}}
  assert found.num_classes is None
  assert set(found.arrays('horse', 'test')) == {'image', 'key'}
  assert next(iter(found.train_batches(3)))['zebra']['image'].shape == (
      3, 16, 16, 3)


def test_any_tfds_sets_as_domains(tmp_path):
  fakes.write_records(tmp_path, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 40, 'test': 10}, seed=1)
  fakes.write_records(tmp_path / 'shapes', 'blue', '1.0.0', (20, 30, 3),
                      {'train': 30, 'extra': 5}, seed=2, label=False)
  photos = fakes.fill_folder(tmp_path / 'photos', 12)
  found = data.load(
      'folders', data_dir=str(tmp_path), download=False, image_size=(14, 21),
      channels=3, domain_dirs={
          'digit': 'tfds:mnist', 'shape': 'tfds:shapes/blue#image',
          'photo': photos})
  assert found.event_shape == (14, 21, 3)
  assert found.sizes['digit'] == {'train': 36, 'validation': 4, 'test': 10}
  assert found.sizes['shape'] == {'train': 25, 'validation': 2, 'test': 3}
  assert found.num_classes == 10
  assert found.grey_copied == {'digit': True, 'shape': False, 'photo': False}
  assert [found.has_labels(d) for d in found.domains] == [True, False, False]
  raw = {f'train/{i}'.encode(): e for i, e in enumerate(
      tfds.builder_from_directory(str(tmp_path / 'mnist' / '3.0.1')).as_dataset(
          split='train', shuffle_files=False).as_numpy_iterator())}
  arrays = found.arrays('digit', 'train')
  for key, label in zip(arrays['key'], arrays['label'], strict=True):
    assert raw[key]['label'] == label
  batch = next(iter(found.train_batches(4, labels='digit')))
  assert batch['shape']['image'].shape == (4, 14, 21, 3)
  assert 'TFDS shapes/blue' in str(found.describe()['domains']['shape'])


@pytest.mark.parametrize(('spec', 'more', 'message'), [
    ('tfds:', {}, r"`domain` gives 'tfds:'.*tfds:NAME"),
    ('tfds:mnits', {}, r"'tfds:mnits', which TFDS does not know.*mnist"),
    ('tfds:mnist#img', {}, r"must name one feature.*\['image'\]"),
    ('tfds:kmnist', {}, r"no records of 'kmnist'.*`download` is off"),
    ('tfds:mnist', {'cache': 'none'}, r"`cache` is 'none'"),
    ('tfds:mnist', {'label_by_folder': True}, r'`label_by_folder` is set'),
    ('tfds:mnist', {'batch_size': 50}, r'`batch_size` is 50.*36 training'),
])
def test_tfds_sets_that_will_not_do(tmp_path, spec, more, message):
  fakes.write_records(tmp_path, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 40, 'test': 10})
  with pytest.raises(data.DataError, match=message):
    data.load('folders', data_dir=str(tmp_path), download=False,
              domain_dirs={'a': spec, 'b': 'tfds:mnist'}, **more)


def test_cycle_gan_archive(tmp_path):
  for i, (part, count) in enumerate(
      {'trainA': 12, 'trainB': 20, 'testA': 4, 'testB': 5}.items()):
    fakes.fill_folder(tmp_path / 'apple2orange' / part, count, '.jpg', seed=i)
  found = data.load('apple2orange', data_dir=str(tmp_path), download=False,
                    image_size=16)
  assert found.sizes == {'apple': {'train': 11, 'validation': 1, 'test': 4},
                         'orange': {'train': 18, 'validation': 2, 'test': 5}}

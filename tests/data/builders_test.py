"""The package's TFDS builders under TFDS's own test."""

import os
import tempfile
import unittest.mock

import pytest
import tensorflow_datasets as tfds

from alignflow_tf.data import libsvm
from alignflow_tf.data.builders import pix2pix
from alignflow_tf.data.builders import usps
from tests.data import fakes


class _Usps(tfds.testing.DatasetBuilderTestCase):
  """USPS; the published counts are set aside for a small file."""

  DATASET_CLASS = usps.Usps
  SPLITS = {'train': 12, 'test': 5}
  SKIP_CHECKSUMS = True  # LIBSVM's page has none; counts are checked instead.

  @classmethod
  def setUpClass(cls):
    cls.EXAMPLE_DIR = tempfile.mkdtemp()
    fakes.write_usps(os.path.join(cls.EXAMPLE_DIR, cls.SUB), 12, 5)
    super().setUpClass()

  @classmethod
  def tearDownClass(cls):
    super().tearDownClass()
    unittest.mock.patch.stopall()  # TFDS leaves `numpy.load` patched.

  def setUp(self):
    super().setUp()
    patcher = unittest.mock.patch.object(usps.Usps, 'COUNTS', None)
    patcher.start()
    self.addCleanup(patcher.stop)


class UspsManualTest(_Usps):
  """Both files lie in the manual folder."""

  SUB = ''


class UspsDownloadTest(_Usps):
  """The manual folder does not hold them; they are downloaded."""

  SUB = 'server'
  DL_DOWNLOAD_RESULT = {
      'train': 'server/usps.bz2', 'test': 'server/usps.t.bz2'}


class _Pix2pix(tfds.testing.DatasetBuilderTestCase):
  """The pix2pix layout, with the splits that each archive has."""

  DATASET_CLASS = pix2pix.Pix2pix
  BUILDER_CONFIG_NAMES_TO_TEST = ['facades']
  SPLITS = {'train': 6, 'validation': 2, 'test': 3}
  SKIP_CHECKSUMS = True

  @classmethod
  def setUpClass(cls):
    cls.EXAMPLE_DIR = tempfile.mkdtemp()
    fakes.write_pairs(os.path.join(cls.EXAMPLE_DIR, cls.SUB, 'facades'),
                      {'train': 6, 'val': 2, 'test': 3})
    super().setUpClass()

  @classmethod
  def tearDownClass(cls):
    super().tearDownClass()
    unittest.mock.patch.stopall()  # TFDS leaves `numpy.load` patched.


class Pix2pixManualTest(_Pix2pix):
  """The unpacked folder lies in the manual folder."""

  SUB = ''


class Pix2pixArchiveTest(_Pix2pix):
  """The archive is downloaded and unpacked."""

  SUB = 'server'
  DL_EXTRACT_RESULT = 'server'


# The bases have no data of their own and must not be collected.
del _Usps, _Pix2pix


def test_wrong_count_is_refused(tmp_path):
  fakes.write_usps(tmp_path / 'manual', 12, 5)
  builder = usps.Usps(data_dir=str(tmp_path))
  with pytest.raises(ValueError, match=r'holds 12 images.*USPS has 7291'):
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=str(tmp_path / 'manual')))
  assert not (tmp_path / 'usps' / '1.0.0').exists()


def test_pairs_of_the_builder_are_pairs(tmp_path):
  fakes.write_pairs(tmp_path / 'manual' / 'facades', {'train': 9, 'test': 4})
  builder = pix2pix.Pix2pix(config='facades', data_dir=str(tmp_path))
  builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(
          manual_dir=str(tmp_path / 'manual')))
  examples = list(builder.as_dataset(split='test').as_numpy_iterator())
  assert sorted(e['id'] for e in examples) == [
      b'test/1.png', b'test/2.png', b'test/3.png', b'test/4.png']
  for example in examples:
    number = 8 + int(example['id'][5:6])
    assert tuple(example['image_a'][0, 0]) == (number, 10, 200)
    assert tuple(example['image_b'][0, 0]) == (10, number, 50)


def test_odd_width_is_refused(tmp_path):
  path = fakes.write_picture(tmp_path / 'a.png', fakes.colour(8, 9))
  with pytest.raises(ValueError, match='9 pixels wide'):
    pix2pix.halves(path)
  path.write_bytes(b'text')
  with pytest.raises(ValueError, match='cannot be decoded'):
    pix2pix.halves(path)


@pytest.mark.parametrize(('line', 'message'), [
    (b'11 1:0.5', 'labels run from 11 to 11'),
    (b'0 1:0.5', 'labels run from 0'),
    (b'1 257:0.5', 'outside 1..256'),
    (b'1 1:7', r'outside \[-1, 1\]'),
    (b'1 1:', r'line 1 is not'),
    (b'a b', r'line 1 is not'),
])
def test_bad_libsvm(line, message):
  import bz2
  with pytest.raises(ValueError, match=message):
    libsvm.parse(bz2.compress(line + b'\n'))


def test_sparse_libsvm_lines():
  import bz2
  images, labels = libsvm.parse(bz2.compress(b'3 1:1 256:-1\n\n10 2:-0.5\n'))
  assert labels.tolist() == [2, 9]
  assert images[0, 0, 0, 0] == 255
  assert images[0, 15, 15, 0] == 0
  assert images[0, 5, 5, 0] == 128  # 0 is grey
  assert images[1, 0, 1, 0] == 64

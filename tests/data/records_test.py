"""Digit pairs and CycleGAN sets from TFDS records; no network, no data."""

import contextlib
import dataclasses
import http.server
import os
import pathlib
import socket
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds

from alignflow_tf import data
from alignflow_tf.data import network
from alignflow_tf.data import records
from alignflow_tf.data.builders import usps
from alignflow_tf.data.sources import digits
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


@pytest.fixture
def offline(monkeypatch):
  """No connection succeeds, at once."""
  def refuse(*args, **kwargs):
    raise OSError('no network')
  monkeypatch.setattr(socket, 'create_connection', refuse)


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


@pytest.mark.parametrize('name', [
    'svhn_mnist', 'mnist_usps', 'maps', 'cityscapes', 'horse2zebra'])
@pytest.mark.parametrize('data_dir', [None, 'empty', 'nowhere'])
@pytest.mark.usefixtures('offline')
def test_no_network_and_no_data(name, data_dir, tmp_path, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'default'))
  (tmp_path / 'empty').mkdir()
  given = data_dir and str(tmp_path / data_dir)
  # TFDS would retry for minutes.
  monkeypatch.setattr(  # Not an Exception, so nothing catches it.
      records, '_prepare', lambda *args: pytest.fail('a download was tried'))
  with pytest.raises(data.DataError, match=(
      r'`data_dir` is .*no records of.*server cannot be reached.*`data_dir` '
      r"that holds them.*dataset='digits'")):
    data.load(name, data_dir=given)
  assert not list((tmp_path / 'empty').iterdir())
  assert not (tmp_path / 'nowhere').exists()


def test_download_off(tmp_path):
  with pytest.raises(data.DataError, match=r'`download` is off'):
    data.load('svhn_mnist', data_dir=str(tmp_path), download=False)


def test_a_silent_network_is_not_waited_for(monkeypatch):
  over, ended = threading.Event(), threading.Event()

  def silent(*args, **kwargs):
    over.wait(60)
    ended.set()
    raise OSError('no network')

  monkeypatch.setattr(socket, 'create_connection', silent)
  assert not network.reachable('https://example.org/a')
  assert not ended.is_set()
  over.set()
  assert ended.wait(60)


@contextlib.contextmanager
def _server(code, answer=None):
  """A server on this machine that answers every HEAD with `code`.

  And every GET by `answer`, which takes the handler.
  """
  class Handler(http.server.BaseHTTPRequestHandler):

    def do_HEAD(self):
      self.send_response(code)
      self.end_headers()

    def do_GET(self):
      answer(self)

    def log_message(self, *args):
      pass

  with http.server.HTTPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
      yield f'http://127.0.0.1:{server.server_port}'
    finally:
      server.shutdown()
      thread.join()


def test_reachable_directly(monkeypatch):
  for name in ('http_proxy', 'HTTP_PROXY', 'no_proxy', 'NO_PROXY'):
    monkeypatch.delenv(name, raising=False)
  with _server(404) as address:
    assert network.reachable(f'{address}/file', timeout=20)
  assert not network.reachable(f'{address}/file')


@pytest.mark.parametrize(('code', 'through'), [
    (200, True), (404, True), (403, False), (502, False)])
def test_reachable_through_a_proxy(monkeypatch, code, through):
  for name in ('no_proxy', 'NO_PROXY'):
    monkeypatch.delenv(name, raising=False)
  with _server(code) as address:
    monkeypatch.setenv('http_proxy', address)
    assert network.reachable(
        'http://unknown.invalid/file', timeout=20) == through
  assert not network.reachable('http://unknown.invalid/file')


def test_a_broken_download_leaves_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(network, 'reachable', lambda url: True)
  fakes.write_records(tmp_path, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 20, 'test': 10})
  before = sorted(os.listdir(tmp_path))

  def broken(self, path, split):
    del path, split
    yield 0, {'image': np.zeros((16, 16, 1), np.uint8), 'label': 0}
    raise ConnectionError('the line went dead')

  monkeypatch.setattr(usps.Usps, '_split_generators', lambda self, manager: {
      'train': self._generate_examples('x', 'train')})
  monkeypatch.setattr(usps.Usps, '_generate_examples', broken)
  with pytest.raises(data.DataError, match=(
      r'downloading failed: ConnectionError: the line went dead.*'
      r'half-written.*run again')):
    data.load('mnist_usps', data_dir=str(tmp_path))
  assert records.find(str(tmp_path), 'usps') is None
  left = [os.path.join(d, f) for d, _, files in os.walk(tmp_path)
          for f in files if 'usps' in os.path.join(d, f)]
  assert left == []
  assert set(os.listdir(tmp_path)) - set(before) <= {'usps', 'downloads'}


def _usps_server(folder, broken):
  """Serves USPS; `broken` says how the second file fails, as long as it does.
  """
  def answer(handler):
    body = (folder / handler.path.rsplit('/', 1)[-1]).read_bytes()
    fault = broken[0] if handler.path.endswith('usps.t.bz2') else None
    handler.send_response(404 if fault == 'missing' else 200)
    handler.send_header('Content-Length', str(len(body)))
    handler.end_headers()
    if fault == 'cut':
      body = body[:len(body) // 2]
    elif fault == 'wrong':
      body = bytes(len(body))
    if fault != 'missing':
      handler.wfile.write(body)
    handler.close_connection = True

  return _server(200, answer)


@pytest.mark.parametrize('fault', ['cut', 'missing', 'wrong'])
def test_a_server_that_fails_midway(tmp_path, monkeypatch, fault):
  for name in ('http_proxy', 'HTTP_PROXY'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(usps.Usps, 'COUNTS', None)
  root = tmp_path / 'data'
  fakes.write_records(root, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 20, 'test': 10})
  fakes.write_usps(tmp_path / 'server', 30, 10)
  broken = [fault]
  with _usps_server(tmp_path / 'server', broken) as address:
    monkeypatch.setattr(usps, 'URL', f'{address}/')
    monkeypatch.setitem(digits.SOURCES, 'usps', dataclasses.replace(
        digits.SOURCES['usps'], url=f'{address}/'))
    with pytest.raises(data.DataError, match='half-written.*run again'):
      data.load('mnist_usps', data_dir=str(root))
    assert records.find(str(root), 'usps') is None
    assert not [p for folder in ('usps', 'downloads')
                for p in (root / folder).rglob('*') if p.is_file()]
    broken[0] = None
    found = data.load('mnist_usps', data_dir=str(root))
  assert found.sizes['usps'] == {'train': 27, 'validation': 3, 'test': 10}


class _Builder:
  """What `records` asks of a TFDS builder; `download` gets its folder."""
  name = 'usps'

  def __init__(self, download):
    self._download = download

  def download_and_prepare(self, *, download_dir, download_config):
    self._download(pathlib.Path(download_dir) / self.name)
    assert download_config.manual_dir


@pytest.mark.parametrize('fails', [True, False])
def test_nothing_stays_of_a_download(tmp_path, fails):
  folder = tmp_path / 'downloads' / 'usps'
  folder.mkdir(parents=True)
  (folder / 'old.bz2').write_text('old')
  # What a killed process has left.
  killed = tmp_path / 'downloads' / '.alignflow_tf.abc'
  (killed / 'files' / 'usps').mkdir(parents=True)
  (killed / 'files' / 'usps' / 'half.bz2').touch()
  (killed / 'lock').touch()

  def download(own):
    own.mkdir()
    (own / 'whole.bz2').write_text('whole')
    if fails:
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt) if fails else contextlib.nullcontext():
    records._prepare(_Builder(download), str(tmp_path))
  assert [p.name for p in folder.iterdir()] == ['old.bz2']
  assert [p.name for p in (tmp_path / 'downloads').iterdir()] == ['usps']


def test_records_that_another_process_prepared_first(tmp_path, monkeypatch):
  monkeypatch.setattr(network, 'reachable', lambda url: True)

  def download(own):
    del own
    fakes.write_records(tmp_path, 'usps', '1.0.0', (16, 16, 1), {'train': 2})
    raise OSError('the folder is not empty')

  assert records.ensure(
      'usps', str(tmp_path), True, 'http://x', lambda root: _Builder(
          download)) == records.find(str(tmp_path), 'usps')


def test_a_download_that_goes_well(tmp_path, monkeypatch):
  monkeypatch.setattr(network, 'reachable', lambda url: True)
  monkeypatch.setattr(usps.Usps, 'COUNTS', None)
  fakes.write_records(tmp_path, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 20, 'test': 10})
  source = tmp_path / 'server'
  fakes.write_usps(source, 30, 10)
  files = {s: str(source / f) for s, f in usps.FILES.items()}
  monkeypatch.setattr(
      tfds.download.DownloadManager, 'download', lambda self, urls: files)
  found = data.load('mnist_usps', data_dir=str(tmp_path))
  assert found.sizes['usps'] == {'train': 27, 'validation': 3, 'test': 10}
  assert records.find(str(tmp_path), 'usps').endswith('1.0.0')


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

"""Downloads: no network, servers that fail, what is left afterwards."""

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


@pytest.fixture
def offline(monkeypatch):
  """No connection succeeds, at once."""
  def refuse(*args, **kwargs):
    raise OSError('no network')
  monkeypatch.setattr(socket, 'create_connection', refuse)


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

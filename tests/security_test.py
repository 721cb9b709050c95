"""What SECURITY.md promises."""

import ast
import io
import json
import os
import socket
import tarfile
import warnings
import zipfile

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

import alignflow_tf as af
from alignflow_tf import data
from alignflow_tf.adapt import work
from alignflow_tf.data import caching
from alignflow_tf.data import network
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import runs


def _calls(repo_root):
  """(place, dotted name, call) of every call in the package and benchmarks."""
  for folder in ('alignflow_tf', 'benchmarks', 'examples'):
    for path in sorted((repo_root / folder).rglob('*.py')):
      for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Call):
          place = f'{path.relative_to(repo_root)}:{node.lineno}'
          yield place, ast.unparse(node.func), node


def test_nothing_is_unpickled_or_evaluated(repo_root):
  bad = {'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen',
         'pickle.load', 'pickle.loads', 'marshal.loads', 'shelve.open',
         'yaml.load', 'joblib.load', 'keras.saving.load_model'}
  assert not [(p, name) for p, name, _ in _calls(repo_root) if name in bad]


def test_keras_models_are_loaded_in_safe_mode(repo_root):
  for place, name, call in _calls(repo_root):
    if name.endswith('load_model'):
      assert name == 'keras.models.load_model', place
      given = {k.arg: ast.unparse(k.value) for k in call.keywords}
      assert given == {'compile': 'False', 'safe_mode': 'True'}, place


def test_a_classifier_with_a_lambda_is_refused(tmp_path):
  made = keras.Sequential([
      keras.Input([2]), keras.layers.Lambda(lambda x: x)])
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    made.save(tmp_path / 'model.keras')
  with pytest.raises(ValueError, match='Python lambda'):
    _ = work.Finished(str(tmp_path), {}).model


def test_arrays_are_read_and_written_without_pickle(repo_root):
  wanted = {'np.load', 'np.save', 'np.savez', 'np.savez_compressed'}
  for place, name, call in _calls(repo_root):
    if name in wanted:
      given = {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg}
      assert given.get('allow_pickle') == 'False', place


@pytest.mark.parametrize('kind', ['tar', 'zip'])
def test_no_archive_member_leaves_its_folder(tmp_path, kind):
  """TFDS extracts what is downloaded, and leaves out a path that climbs."""
  archive = tmp_path / f'evil.{kind}'
  names = ('good.txt', '../../escaped.txt', f'{tmp_path}/escaped.txt',
           'x/../../escaped.txt')
  if kind == 'tar':
    with tarfile.open(archive, 'w') as f:
      for name in names:
        member = tarfile.TarInfo(name)
        member.size = 4
        f.addfile(member, io.BytesIO(b'evil'))
  else:
    with zipfile.ZipFile(archive, 'w') as f:
      for name in names:
        f.writestr(name, 'evil')
  manager = tfds.download.DownloadManager(
      download_dir=str(tmp_path / 'a' / 'b' / 'c'))
  folder = manager.extract(str(archive))
  assert [p.name for p in folder.iterdir()] == ['good.txt']
  assert not list(tmp_path.rglob('escaped.txt'))


def test_a_link_in_an_archive_is_not_followed(tmp_path):
  archive = tmp_path / 'evil.tar'
  (tmp_path / 'outside').mkdir()
  with tarfile.open(archive, 'w') as f:
    link = tarfile.TarInfo('pictures')
    link.type = tarfile.SYMTYPE
    link.linkname = str(tmp_path / 'outside')
    f.addfile(link)
    member = tarfile.TarInfo('pictures/escaped.txt')
    member.size = 4
    f.addfile(member, io.BytesIO(b'evil'))
  manager = tfds.download.DownloadManager(download_dir=str(tmp_path / 'd'))
  manager.extract(str(archive))
  assert not list((tmp_path / 'outside').iterdir())


@pytest.mark.parametrize('values', [
    {'flow': "__import__('os').system('touch evil')"},
    {'share': "__import__('os').mkdir('evil')"},
    {'domain': ['a:$(touch evil)', 'b:`touch evil`'], 'flow': '{0.__class__}'},
    {'__class__': 'x'},
])
def test_a_configuration_is_data(tmp_path, monkeypatch, values):
  monkeypatch.chdir(tmp_path)
  run = runs.Run.create('run', config_lib.Config(), ('a', 'b'), (8, 8, 1), {})
  path = os.path.join(run.directory, 'config.json')
  with open(path) as f:
    saved = json.load(f)
  saved['config'].update(values)
  with open(path, 'w') as f:
    json.dump(saved, f)
  with pytest.raises(runs.RunError, match='damaged or of another version'):
    af.load('run')
  assert os.listdir(tmp_path) == ['run']


@pytest.fixture
def no_network(monkeypatch):
  """Any connection is an error."""
  def refuse(*args, **kwargs):
    raise AssertionError('the network was asked for')

  for name in ('socket', 'create_connection', 'getaddrinfo'):
    monkeypatch.setattr(socket, name, refuse)
  monkeypatch.setattr(network, 'reachable', refuse)


def test_nothing_is_fetched_that_was_not_asked_for(no_network, tmp_path):
  del no_network
  domains = data.load('digits')
  next(iter(domains.train_batches(2)))
  for name in ('svhn_mnist', 'usps_mnist', 'maps', 'horse2zebra'):
    with pytest.raises(data.DataError, match='download'):
      data.load(name, data_dir=str(tmp_path), download=False)


def test_a_cache_with_a_pickle_is_refused(tmp_path):
  def fill():
    yield np.zeros([2, 4, 4, 1], np.uint8), np.zeros([2], np.int64)

  def cached():
    return caching.read(
        fill, 2, (4, 4, 1), 'file', str(tmp_path), {'of': 'a test'}, 'It')

  cached()
  folder, = tmp_path.iterdir()
  labels = np.array([print, None], object)
  with open(folder / 'labels.npy', 'wb') as f:
    np.lib.format.write_array(f, labels, allow_pickle=True)
  with pytest.raises(data.DataError, match=r'`cache_dir`.*damaged.*allow_pick'):
    cached()

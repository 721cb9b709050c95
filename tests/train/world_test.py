"""What a machine does to a run, each with an answer that a person can use."""

import resource
import types

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import data
from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import monitor as monitor_lib
from alignflow_tf.train import runs


@pytest.fixture
def small_files():
  """No file may grow beyond 20 kB: a stand-in for a disk that is full."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

  def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

  yield limit
  resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_does_not_fit(tmp_path, small_files):
  x = tf.Variable(tf.random.stateless_normal([20_000], (0, 1)))
  saved = checkpoints_lib.Checkpoints(
      str(tmp_path), tf.train.Checkpoint(x=x), 2,
      config_lib.Config().to_json())
  saved.save(1, {'at': 1})
  small_files()
  with pytest.raises(runs.RunError, match=r'`run_dir`.*Make room.*goes on'):
    with loop._writing(str(tmp_path)):
      saved.save(2, {'at': 2})
  assert checkpoints_lib.steps(str(tmp_path)) == [1]
  assert not list(tmp_path.glob('*_temp'))
  assert saved.restore(print) == {'at': 1}


@pytest.mark.parametrize(('error', 'text'), [
    (OSError(28, 'No space left on device'), 'cannot be written to.*Make room'),
    (PermissionError(13, 'Permission denied'), 'make it writable'),
    (tf.errors.ResourceExhaustedError(None, None, 'x; No space left on device'),
     'cannot be written to.*Make room'),
    (tf.errors.ResourceExhaustedError(
        None, None, 'OOM when allocating tensor with shape[9,9]'),
     'memory does not suffice.*shape.*lower --batch_size'),
    (tf.errors.NotFoundError(None, None, '/run/ckpt; No such file'),
     'cannot be written to'),
])
def test_errors_say_what_would_do(error, text):
  with pytest.raises(runs.RunError, match=text):
    with loop._writing('run'):
      raise error


def test_an_error_that_is_ours_is_shown_whole():
  with pytest.raises(tf.errors.InvalidArgumentError, match='shapes'):
    with loop._writing('run'):
      raise tf.errors.InvalidArgumentError(None, None, 'shapes do not match')


def test_a_run_directory_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(runs.RunError, match=r'`run_dir`.*cannot be written to'):
    loop.train(config_lib.resolve('cpu', num_scales=1, width=2, num_blocks=1),
               str(tmp_path / 'file' / 'run'))


def test_pictures_that_vanish(tmp_path):
  for domain in 'ab':
    (tmp_path / domain).mkdir()
    for i in range(40):
      picture = np.random.RandomState(i).randint(0, 256, (8, 8, 3), np.uint8)
      (tmp_path / domain / f'{i}.png').write_bytes(
          tf.io.encode_png(picture).numpy())
  domains = data.load(
      'folders', image_size=8, cache='none',
      domain_dirs={d: str(tmp_path / d) for d in 'ab'})
  run = types.SimpleNamespace(
      _trainer=types.SimpleNamespace(labels=()), _domains=domains,
      _team=types.SimpleNamespace(rows=lambda size, rounds: None),
      _config=config_lib.resolve(
          'cpu', batch_size=2, objective='mle'))
  stream = loop._Loop._stream(run, 0)
  assert next(stream)['a'].shape == (2, 8, 8, 3)
  for path in (tmp_path / 'a').iterdir():
    path.unlink()
  with pytest.raises(data.DataError, match=r'cannot be read any more.*\.png'):
    list(zip(range(100), stream, strict=False))


def test_output_that_nobody_reads(monkeypatch):
  def closed(*args, **kwargs):
    raise BrokenPipeError(32, 'Broken pipe')

  moved = []
  monkeypatch.setattr('builtins.print', closed)
  monkeypatch.setattr(monitor_lib.os, 'dup2', lambda *a: moved.append(a[1]))
  monitor_lib._print('a line')
  assert moved == [1]

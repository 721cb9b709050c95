"""What a machine does to a run, each with an answer that a person can use."""

import contextlib
import resource

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import data
from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import faults
from alignflow_tf.train import loop
from alignflow_tf.train import monitor as monitor_lib
from alignflow_tf.train import runs
from alignflow_tf.train import strategies


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
    with faults.writing(str(tmp_path)):
      saved.save(2, {'at': 2})
  assert checkpoints_lib.steps(str(tmp_path)) == [1]
  assert not list(tmp_path.glob('*_temp'))
  assert saved.restore(print) == {'at': 1}


@pytest.mark.parametrize(('error', 'text'), [
    (OSError(28, 'No space left on device'), 'cannot be written to.*Make room'),
    (PermissionError(13, 'Permission denied'), 'make it writable'),
    (tf.errors.ResourceExhaustedError(None, None, 'x; No space left on device'),
     'cannot be written to.*Make room'),
    (tf.errors.NotFoundError(None, None, '/cuda/run/ckpt; No such file'),
     'cannot be written to'),
])
def test_errors_of_writing_say_what_to_do(error, text):
  with pytest.raises(runs.RunError, match=text):
    with faults.computing(), faults.writing('/cuda/run'):
      raise error


# Messages of TensorFlow 2.10 to 2.21 on machines with GPUs.
_GPU = [
    tf.errors.NotFoundError(None, None, (
        'No algorithm worked!  Error messages:\n  Profiling failure on CUDNN '
        'engine 1: UNKNOWN: CUDNN_STATUS_ALLOC_FAILED')),
    tf.errors.NotFoundError(None, None, 'No algorithm worked!'),
    tf.errors.FailedPreconditionError(
        None, None, 'DNN library initialization failed. Look at the errors '
        'above for more details.'),
    tf.errors.UnimplementedError(None, None, 'DNN library is not found.'),
    tf.errors.UnknownError(
        None, None, 'Failed to get convolution algorithm. This is probably '
        'because cuDNN failed to initialize'),
    tf.errors.InternalError(
        None, None, 'Attempting to perform BLAS operation using StreamExecutor '
        'without BLAS support'),
    tf.errors.InternalError(None, None, 'Blas GEMM launch failed'),
    tf.errors.InternalError(
        None, None, 'CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was '
        'encountered'),
    tf.errors.InternalError(
        None, None, 'cudaSetDevice() on GPU:0 failed. Status: CUDA-capable '
        'device(s) is/are busy or unavailable'),
    tf.errors.InternalError(None, None, 'libdevice not found at ./libdevice'),
    OSError('libcudnn.so.9: cannot open shared object file: No such file or '
            'directory'),
]


@pytest.mark.parametrize('context', [
    contextlib.nullcontext, lambda: faults.writing('run'), faults.reading,
], ids=['a step', 'a checkpoint', 'a batch'])
@pytest.mark.parametrize('error', _GPU, ids=lambda e: str(e)[:30])
def test_faults_of_the_gpu_are_told_as_such(error, context):
  if isinstance(error, OSError) and context is faults.reading:
    pytest.skip('The input pipeline raises errors of TensorFlow alone.')
  with pytest.raises(runs.RunError) as e:
    with faults.computing(), context():
      raise error
  text = str(e.value)
  assert ('memory does not suffice' if 'ALLOC_FAILED' in str(error)
          else 'the GPU failed') in text
  assert str(error).splitlines()[0][:60] in text
  assert 'cannot be written' not in text
  assert 'goes on from the last checkpoint' in text


@pytest.mark.parametrize('error', [
    tf.errors.ResourceExhaustedError(
        None, None, 'OOM when allocating tensor with shape[9,9]'),
    tf.errors.InternalError(
        None, None, 'Failed to call cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY: out '
        'of memory'),
    MemoryError('Unable to allocate 8 GiB'),
])
@pytest.mark.parametrize('context', [
    contextlib.nullcontext, lambda: faults.writing('run')])
def test_a_lack_of_memory_names_what_to_lower(error, context):
  with pytest.raises(runs.RunError, match=(
      'memory does not suffice.*lower --batch_size, --image_size, --width')):
    with faults.computing(), context():
      raise error


@pytest.mark.parametrize('text', [
    'shapes do not match',
    '{{function_node f_device_/job:localhost/device:GPU:0}} shapes differ',
    'shapes differ\n  File "/home/me/gpu/alignflow_tf/pictures.py", line 7'])
def test_an_error_that_is_ours_is_shown_whole(text):
  for context in (faults.computing, lambda: faults.writing('run')):
    with pytest.raises(tf.errors.InvalidArgumentError, match='shapes'):
      with context():
        raise tf.errors.InvalidArgumentError(None, None, text)


def test_a_step_that_the_gpu_fails_is_told_as_such(tmp_path, monkeypatch):
  """As a run ends with it, and not as a full disk."""
  def fail(self, turn, batch):
    raise tf.errors.NotFoundError(None, None, 'No algorithm worked!')

  monkeypatch.setattr(loop.trainer_lib.Trainer, '_train_step', fail)
  with pytest.raises(runs.RunError, match='the GPU failed .*No algorithm'):
    loop.train(config_lib.resolve(
        'cpu', num_scales=1, width=2, num_blocks=1, objective='mle'),
               str(tmp_path / 'run'))


@pytest.mark.parametrize(('error', 'lost'), [
    (tf.errors.UnavailableError(None, None, 'failed to connect'), True),
    (tf.errors.InternalError(
        None, None, 'Collective ops is aborted by: /job:worker/replica:0/task:1'
    ), True),
    (tf.errors.InternalError(None, None, 'Blas GEMM launch failed'), False),
    (tf.errors.FailedPreconditionError(
        None, None, 'DNN library initialization failed.'), False),
])
def test_an_error_of_this_process_is_not_another_ones_end(error, lost):
  def fail():
    raise error

  team = strategies.Team(None, 2, 0)
  with pytest.raises(strategies.Lost if lost else type(error)):
    team.call(fail)


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
  config = config_lib.resolve('cpu', batch_size=2, objective='mle')
  stream = loop._batches(config, domains, 0, (), strategies.Team())
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

"""Faults of the machine, each as an error that says what to do.

Writing, reading and computing fail in different ways, and TensorFlow raises
the same classes for all of them: `NotFoundError` is a missing folder while a
checkpoint is written, and a missing cuDNN algorithm while a step is computed.
So each kind of work stands in a context of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import re

import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import data
from alignflow_tf.train import checkpoints as checkpoints_lib

RunError = checkpoints_lib.RunError

# Errors that TensorFlow raises when a file cannot be written.
_DISK = (
    tf.errors.DataLossError, tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError, tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError, tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError, tf.errors.UnknownError)
# Words in the messages of GPU libraries, and of TensorFlow where it calls them.
_GPU = re.compile(
    r'cu(dnn|blas|fft|solver|sparse|init)|libcu|libnv|nvcc|ptxas|CUDA|NVIDIA|'
    r'\bGPU\b|StreamExecutor|\bDNN library|No algorithm worked|'
    r'convolution algorithm|Blas (GEMM|xGEMM)|libdevice|CUBIN|\bROCm\b|MIOpen',
    re.IGNORECASE)
# Names of devices and of Python files, which prove nothing.
_PLACES = re.compile(r'/job:\S+|File "[^"\n]*"')
_AGAIN = 'the same command then goes on from the last checkpoint.'


def is_out_of_memory(error: BaseException) -> bool:
  """Whether memory, of the GPU or the machine, did not suffice."""
  return isinstance(error, MemoryError) or bool(
      isinstance(error, tf.errors.OpError)
      and 'No space left' not in str(error)
      and (isinstance(error, tf.errors.ResourceExhaustedError) or re.search(
          'out of memory|ALLOC_FAILED|failed to allocate', str(error),
          re.IGNORECASE)))


def is_gpu_fault(error: BaseException, path: str = '') -> bool:
  """Whether the GPU, its driver or one of its libraries failed.

  Args:
    error: The error.
    path: A path that its text may name, which proves nothing.
  """
  text = _PLACES.sub('', str(error))
  text = text.replace(path, '') if path else text
  return isinstance(error, (OSError, tf.errors.OpError)) and bool(
      _GPU.search(text))


@contextlib.contextmanager
def computing() -> Iterator[None]:
  """Explains a lack of memory and faults of the GPU.

  Raises:
    RunError: If memory did not suffice or the GPU failed. Other errors pass.
  """
  try:
    yield
  except (OSError, MemoryError, tf.errors.OpError) as e:
    if is_out_of_memory(e):
      raise RunError(
          f'memory does not suffice ({_named(e)}). In another --run_dir, lower '
          '--batch_size, --image_size, --width or --num_blocks, or try '
          '--memory=reversible or --precision=mixed_bfloat16; if other '
          f'programs used the memory, end them: {_AGAIN}') from e
    if is_gpu_fault(e):
      raise RunError(
          f'the GPU failed ({_named(e)}). Often another program has taken its '
          'memory (nvidia-smi lists them; TF_FORCE_GPU_ALLOW_GROWTH=true takes '
          'no more than is needed), or driver, CUDA and cuDNN are not those '
          'that this TensorFlow was built for (tf.sysconfig.get_build_info() '
          "names them; pip install 'tensorflow[and-cuda]' brings them). "
          'CUDA_VISIBLE_DEVICES=-1 trains without a GPU. When that is mended, '
          f'{_AGAIN}') from e
    raise


@contextlib.contextmanager
def writing(run_dir: str) -> Iterator[None]:
  """Explains why the run directory cannot be written.

  Raises:
    RunError: If the disk or the folder is at fault. Other errors pass.
  """
  try:
    yield
  except (OSError, *_DISK) as e:
    # A checkpoint is copied from the GPU before it is written.
    if is_out_of_memory(e) or is_gpu_fault(e, run_dir):
      raise
    raise RunError(
        f'`run_dir` {run_dir!r} cannot be written to ({_named(e)}). Make room, '
        f'or make it writable; {_AGAIN}') from e


@contextlib.contextmanager
def reading() -> Iterator[None]:
  """Explains why images cannot be read.

  Raises:
    DataError: If TensorFlow's input pipeline fails.
  """
  try:
    yield
  except tf.errors.OpError as e:
    if is_out_of_memory(e) or is_gpu_fault(e) or (
        'IteratorGetNext' not in str(e)):
      raise
    raise data.DataError(
        f'images cannot be read any more: {_io.first_line(e)}. Bring the data '
        'back, or leave such pictures out by --skip_unreadable; the same '
        'command then goes on.') from e


def _named(error: BaseException) -> str:
  return f'{type(error).__name__}: {_io.first_line(error)}'

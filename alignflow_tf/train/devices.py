"""How a training process uses its processors."""

from __future__ import annotations

import os

import tensorflow as tf

__all__ = ['configure_threads']

# The two flows, and a convolution's two kinds of gradients, do not wait for
# each other: about four things can run at once.
_INDEPENDENT = 4


def configure_threads(cores: int | None = None) -> tuple[int, int] | None:
  """Gives small convolutions a thread each, where there is no GPU.

  TensorFlow splits every operation among all cores by default. A step here is
  thousands of small operations of two flows that do not wait for each other:
  to run them side by side, undivided, took about 0.6 of the time on two shared
  cores (`benchmarks/train_step.py` compares the two). To be called
  before TensorFlow's first operation; the environment variables
  `TF_NUM_INTRAOP_THREADS` and `TF_NUM_INTEROP_THREADS` win.

  Args:
    cores: Number of cores; by default those this process may use.

  Returns:
    Threads within an operation and beside each other, or None where nothing
    was set.
  """
  if tf.config.list_physical_devices('GPU') or any(
      name in os.environ
      for name in ('TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS')):
    return None
  cores = cores or len(os.sched_getaffinity(0))
  beside = min(cores, _INDEPENDENT)
  within = max(1, cores // beside)
  try:
    tf.config.threading.set_inter_op_parallelism_threads(beside)
    tf.config.threading.set_intra_op_parallelism_threads(within)
  except RuntimeError:  # TensorFlow has started already.
    return None
  return within, beside

"""How a training process uses its processors."""

from __future__ import annotations

import glob
import os

# The two flows, and a convolution's two kinds of gradients, do not wait for
# each other: about four things can run at once.
_INDEPENDENT = 4
# Device files of the drivers of NVIDIA and AMD.
_GPU_DEVICES = ('/dev/nvidia[0-9]*', '/dev/kfd')


def configure_threads(cores: int | None = None) -> tuple[int, int] | None:
  """Gives small convolutions a thread each, where there is no GPU.

  TensorFlow splits every operation among all cores by default. A step here is
  thousands of small operations of two flows that do not wait for each other:
  to run them side by side, undivided, took about 0.6 of the time on two shared
  cores (`benchmarks/train_step.py` compares the two). To be called
  before TensorFlow's first operation. It sets the environment variables
  `TF_NUM_INTRAOP_THREADS` and `TF_NUM_INTEROP_THREADS`, unless one is set, and
  does not load TensorFlow.

  Args:
    cores: Number of cores; by default those this process may use.

  Returns:
    Threads within an operation and across operations, or None where nothing
    was set.
  """
  if any(glob.glob(path) for path in _GPU_DEVICES) or any(
      name in os.environ
      for name in ('TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS')):
    return None
  cores = cores or len(os.sched_getaffinity(0))
  across = min(cores, _INDEPENDENT)
  within = max(1, cores // across)
  os.environ['TF_NUM_INTRAOP_THREADS'] = str(within)
  os.environ['TF_NUM_INTEROP_THREADS'] = str(across)
  return within, across

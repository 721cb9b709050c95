"""Threads of a program that has no GPU."""

from __future__ import annotations

import glob
import os

# The two flows, and a convolution's two kinds of gradients, do not wait for
# each other: about four things can run at once.
_INDEPENDENT = 4
# Device files of the drivers of NVIDIA and AMD.
_GPU_DEVICES = ('/dev/nvidia[0-9]*', '/dev/kfd')


def configure() -> None:
  """Gives small operations a thread each, where there is no GPU.

  TensorFlow splits every operation among all cores by default. A step here is
  thousands of small operations: running them side by side, undivided, took
  about 0.6 of the time on two cores (`benchmarks/train_step.py`). To be called
  before TensorFlow's first operation. A variable of the environment that is
  set already stays.
  """
  names = 'TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'
  if any(glob.glob(path) for path in _GPU_DEVICES) or any(
      name in os.environ for name in names):
    return
  cores = len(os.sched_getaffinity(0))
  across = min(cores, _INDEPENDENT)
  for name, number in zip(names, (cores // across, across), strict=True):
    os.environ[name] = str(number)

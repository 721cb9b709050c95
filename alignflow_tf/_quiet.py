"""Terminals without TensorFlow's start-up noise.

A program imports this module first. It sets TF_CPP_MIN_LOG_LEVEL to 2 unless
the user has set it; with 0 or 1, TensorFlow says all that it has to say.

That variable does not reach what TensorFlow's libraries log before their
logging is initialised ("All log messages before absl::InitializeLog() is called
are written to STDERR", "Could not find cuda drivers"). Therefore these lines,
and no others, are taken out of what is written to stderr while TensorFlow loads
and looks for devices. Where there is a GPU, its errors stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
import glob
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import tempfile
import types
from typing import Any

_NOISE = rb'WARNING: All log messages before absl::InitializeLog|[IW]\d{4} '
# Of a GPU that is not there.
_NO_GPU = rb'E\d{4} .*(cuda|cuInit|CUDA)'


class _Finder(importlib.abc.MetaPathFinder):
  """Loads TensorFlow, once, with stderr filtered."""

  def find_spec(self, fullname: str, path: Sequence[str] | None = None,
                target: types.ModuleType | None = None
               ) -> importlib.machinery.ModuleSpec | None:
    if fullname != 'tensorflow':
      return None
    sys.meta_path.remove(self)
    spec = importlib.util.find_spec(fullname)
    loader: Any = spec.loader if spec else None
    if loader is not None:
      load = loader.exec_module

      def exec_module(module: Any) -> None:
        with _filtered():
          load(module)
          with contextlib.suppress(RuntimeError):  # It is raised again later.
            module.config.list_physical_devices()

      loader.exec_module = exec_module
    return spec


def install() -> None:
  """Makes the import of TensorFlow quiet, unless the user wants its logs."""
  level = os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  if level not in ('0', '1') and 'tensorflow' not in sys.modules:
    sys.meta_path.insert(0, _Finder())


@contextlib.contextmanager
def _filtered() -> Iterator[None]:
  """Leaves noise out of what is written to stderr within, by C++ too."""
  noise = _NOISE if glob.glob('/dev/nvidia[0-9]*') else b'|'.join(
      (_NOISE, _NO_GPU))
  try:
    stderr = os.dup(2)
  except OSError:  # Closed: there is nothing to filter.
    yield
    return
  with tempfile.TemporaryFile() as kept:
    os.dup2(kept.fileno(), 2)
    try:
      yield
    finally:
      if sys.stderr is not None:
        sys.stderr.flush()
      os.dup2(stderr, 2)
      os.close(stderr)
      kept.seek(0)
      with contextlib.suppress(OSError):  # Nobody reads.
        os.write(2, b''.join(
            line for line in kept if not re.match(noise, line)))


install()

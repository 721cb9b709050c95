"""Small trained models that come with the package, as run directories.

`pretrained:digits` names one wherever a run is read: for example in
`alignflow_tf.load('pretrained:digits')` and in `--run=pretrained:digits`. It
holds averaged weights alone, and pictures of each domain for the page. `make
pretrained` makes it.
"""

from __future__ import annotations

import os

__all__ = ['directory', 'outputs']

_PREFIX = 'pretrained:'


def directory(run: str) -> str:
  """Path of a run: of the package's for `pretrained:NAME`, else of `run`."""
  if run.startswith(_PREFIX):
    path = os.path.join(os.path.dirname(__file__), run[len(_PREFIX):])
    return path if os.path.isdir(path) else run
  return os.path.expanduser(run)


def outputs(run: str) -> str:
  """Where files about a run are written by default: not into the package."""
  if run.startswith(_PREFIX):
    return os.path.join('runs', run.replace(':', '_'))
  return os.path.expanduser(run)

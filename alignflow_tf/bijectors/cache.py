"""What TFP's cache keeps alive, and how to be rid of it."""

from __future__ import annotations

from typing import Any

import tensorflow_probability as tfp

__all__ = ['clear_cache']


def clear_cache() -> None:
  """Empties TFP's cache of bijectors' results, all bijectors' of the process.

  TFP keeps results until their tensors are gone. Those of a graph never are:
  what the cache holds of one tensor (its input, its log-determinant) holds the
  graph, and that all of its tensors. Each graph that was ever traced with a
  bijector, and its functions, would stay. To be called where graphs have been
  made that are not needed any more, and where weights have changed while
  tensors from before are held; what is asked for again is computed again.
  """
  # Private to TFP. Without it nothing is wrong but that memory grows.
  storage: Any = getattr(
      getattr(tfp.bijectors.Bijector, '_cache', None), 'storage', None)
  if not storage:
    return
  # Each key and each end of an edge would take itself out once more, when its
  # tensor goes; none may do so while the others are being taken out.
  for key, edge in list(storage.items()):
    for reference in (key, edge.input_ref, edge.output_ref):
      if reference is not None:
        reference.cancel()
  storage.clear()

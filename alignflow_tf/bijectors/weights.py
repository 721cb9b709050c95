"""What couplings share, over passes and graphs, of what weights decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import contextlib
import contextvars
from typing import Any

import tensorflow as tf

from alignflow_tf.bijectors import shared_function

__all__ = ['are_fixed', 'ready', 'weights_fixed', 'weights_once']

# Weights that were made ready within `weights_once`, by coupling and graph. The
# coupling is kept with them, so that no other one is given its `id` meanwhile.
_Ready = dict[tuple[int, int | None], tuple[Any, Sequence[tf.Tensor]]]
_ready: contextvars.ContextVar[_Ready | None] = contextvars.ContextVar(
    '_ready', default=None)
_fixed = contextvars.ContextVar('_fixed', default=False)


@contextlib.contextmanager
def weights_once() -> Iterator[None]:
  """Passes within read and normalise the weights of each coupling once.

  A training step takes a flow there and back; where kernels are large beside
  images, their norms and the norms' gradients are a good part of it. Each graph
  has its own. For passes on one tape, if on any, between which no weight
  changes. `memory='recompute'` and `'reversible'` read them in each pass. With
  mixed types, kernels are converted once too, and the passes' gradients, which
  come in the narrow type, are added up in it: one rounding more for each pass
  after the first. Not for functions of your own that XLA compiles: it lacks an
  operation used here. Training with `--xla` does without, for XLA merges what
  passes have in common itself.
  """
  token = _ready.set({})
  try:
    yield
  finally:
    _ready.reset(token)


@contextlib.contextmanager
def weights_fixed() -> Iterator[None]:
  """Graphs traced within have the norms of the couplings' kernels as constants.

  For exports, whose weights do not change: a graph that computes norms does so
  for every request, which in the paper's architecture is two fifths of the work
  of translating one image. Graphs go on to read the kernels and magnitudes
  themselves, but hold the norms that the kernels had when they were traced: no
  weight may change until all that goes together is traced. Not for gradients,
  which would lack the norms' part; chains keep all activations within,
  whatever their `memory`.
  """
  token = _fixed.set(True)
  try:
    yield
  finally:
    _fixed.reset(token)


def are_fixed() -> bool:
  """Whether within `weights_fixed`."""
  return _fixed.get()


def ready(coupling: Any, prepare: Callable[..., Sequence[tf.Tensor]],
          weights: Sequence[tf.Variable]) -> Sequence[tf.Tensor] | None:
  """What `prepare` makes of a coupling's weights, once within `weights_once`.

  Args:
    coupling: Whose they are.
    prepare: A pure function of the weights.
    weights: The weights.

  Returns:
    What this graph has of it; None where each pass is to do so itself.
  """
  found = _ready.get()
  # XLA merges what passes have in common itself, and knows no EuclideanNorm.
  if found is None or not shared_function.is_shared():
    return None
  key = (id(coupling), None if tf.executing_eagerly() else
         id(tf.compat.v1.get_default_graph()))
  if key not in found:
    found[key] = coupling, shared_function.call(prepare, (), *weights)
  return found[key][1]

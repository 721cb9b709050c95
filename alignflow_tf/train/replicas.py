"""Work that the replicas of one training step do together.

A replica is a device's share of a step. It computes gradients from its part of
the batch with noise of its own, all replicas take the mean of the gradients,
and each updates its own copy of every variable with it.

Without a `tf.distribute.Strategy` there is one replica.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf


def _context() -> Any:
  return tf.distribute.get_replica_context()


def count() -> int:
  """Number of replicas."""
  return 1 if _context() is None else _context().num_replicas_in_sync


def fold_in(seed: tf.Tensor) -> tf.Tensor:
  """This replica's stateless seed, from one that all have."""
  return seed if count() == 1 else tf.random.experimental.stateless_fold_in(
      seed, _context().replica_id_in_sync_group)


def part(values: tf.Tensor, number: int) -> tf.Tensor:
  """This replica's part `[B, ...]` of the `[number * B, ...]` of `number`."""
  if number == 1:
    return values
  size = values.shape[0] // number
  start = _context().replica_id_in_sync_group % number * size
  return tf.ensure_shape(
      values[start:start + size], [size, *values.shape[1:]])


def gather(values: tf.Tensor) -> tf.Tensor:
  """The values `[B, ...]` of all replicas, one after another."""
  if count() == 1:
    return values
  size, *shape = values.shape
  return tf.ensure_shape(
      _context().all_gather(values, axis=0), [count() * size, *shape])


def mean(
    gradients: Sequence[tf.Tensor], scalars: Mapping[str, tf.Tensor]
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
  """Means over replicas of gradients and of scalars, equal on all of them."""
  if count() == 1:
    return list(gradients), dict(scalars)
  *means, values = _context().all_reduce(
      'MEAN', [*gradients, tf.stack(list(scalars.values()))])
  return means, dict(zip(scalars, tf.unstack(values), strict=True))


def assign(variable: tf.Variable, value: tf.Tensor) -> None:
  """Assigns a value that all replicas have to this replica's own copy.

  The variable's own methods would compare it with the other copies first.
  """
  tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

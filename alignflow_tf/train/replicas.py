"""Work that the replicas of one training step do together.

A replica is a device's share of a step. It computes gradients from its part of
the batch with noise of its own, all replicas take the mean of the gradients,
and each updates its own copy of every variable with it.

All functions are to be called within `tf.distribute.Strategy.run`. Elsewhere
there is one replica, and they return their arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

# Gradients travel in packs, so that the first ones are on their way while the
# last are computed.
_PACK = 2**25


def count() -> int:
  """Number of replicas."""
  context = tf.distribute.get_replica_context()
  return 1 if context is None else context.num_replicas_in_sync


def _index() -> tf.Tensor:
  return tf.distribute.get_replica_context().replica_id_in_sync_group


def fold_in(seed: tf.Tensor) -> tf.Tensor:
  """This replica's stateless seed, from one that all have."""
  if count() == 1:
    return seed
  return tf.random.experimental.stateless_fold_in(seed, _index())


def part(values: tf.Tensor, number: int) -> tf.Tensor:
  """This replica's part `[B, ...]` of its process's `[number * B, ...]`."""
  size = values.shape[0] // number
  start = _index() % number * size
  return tf.ensure_shape(
      values[start:start + size], [size, *values.shape[1:]])


def own(values: tf.Tensor) -> tf.Tensor:
  """This replica's part of the values of all replicas, as of `gather`."""
  return values if count() == 1 else part(values, count())


def gather(values: tf.Tensor) -> tf.Tensor:
  """The values `[B, ...]` of all replicas, one after another."""
  if count() == 1:
    return values
  size, *shape = values.shape
  gathered = tf.distribute.get_replica_context().all_gather(values, axis=0)
  return tf.ensure_shape(gathered, [count() * size, *shape])


def mean(
    gradients: Sequence[tf.Tensor], scalars: Mapping[str, tf.Tensor]
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
  """Means over replicas of gradients and of scalars, equal on all of them."""
  if count() == 1:
    return list(gradients), dict(scalars)
  *means, values = tf.distribute.get_replica_context().all_reduce(
      tf.distribute.ReduceOp.MEAN,
      [*gradients, tf.stack(list(scalars.values()))],
      options=tf.distribute.experimental.CommunicationOptions(
          bytes_per_pack=_PACK))
  return means, dict(zip(scalars, tf.unstack(values), strict=True))


def assign(variable: tf.Variable, value: tf.Tensor) -> None:
  """Assigns a value that all replicas have to this replica's own copy.

  The variable's own methods would compare it with the other copies first.
  """
  tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

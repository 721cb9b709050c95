"""What replicas of a step do together, and what of it each does alone.

A replica is a device's share of a step: it computes gradients of its part of
the batch, the replicas take their mean, and each updates its own copy of all
variables with it. What is drawn at random is drawn for the whole batch, of
which each takes its part, so that a step of many devices is the step of one.

All functions are to be called within `tf.distribute.Strategy.run`. Elsewhere
there is one replica, and they give back what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import math
from typing import Any

import tensorflow as tf

__all__ = [
    'assign', 'count', 'gather_first', 'local_part', 'mean', 'normal', 'part',
    'replace_first', 'uniform'
]

# Gradients travel in packs, so that the first are on their way while the last
# are computed.
_PACK = 2**25
# TensorFlow's number for its generator on CPUs and GPUs, which gives so many
# numbers at a count.
_PHILOX = 1
_GROUP = 4


def count() -> int:
  """Number of replicas."""
  context = tf.distribute.get_replica_context()
  return 1 if context is None else context.num_replicas_in_sync


def part(values: tf.Tensor, blocks: int = 1) -> tf.Tensor:
  """This replica's part of a batch that all have.

  Args:
    values: `[blocks * replicas * B, ...]`: so many blocks, one after another,
      of the images of all replicas.
    blocks: Number of blocks.

  Returns:
    `[blocks * B, ...]`.
  """
  number = count()
  if number == 1:
    return values
  index = tf.distribute.get_replica_context().replica_id_in_sync_group
  return _part(values, blocks, number, index)


def local_part(values: tf.Tensor, blocks: int, number: int) -> tf.Tensor:
  """As `part`, of a batch that the `number` replicas of this process have."""
  if number == 1:
    return values
  index = tf.distribute.get_replica_context().replica_id_in_sync_group
  return _part(values, blocks, number, index % number)


def _part(values: tf.Tensor, blocks: int, number: int, index: Any) -> tf.Tensor:
  size, *shape = values.shape
  one = size // (blocks * number)
  values = tf.reshape(values, [blocks, number, one, *shape])
  return tf.reshape(values[:, index], [blocks * one, *shape])


def uniform(shape: Any, seed: Any, blocks: int = 1,
            dtype: tf.DType = tf.float32) -> tf.Tensor:
  """This replica's part of what `tf.random.stateless_uniform` draws for all.

  Args:
    shape: What this replica needs: `[blocks * B, ...]`.
    seed: Stateless seed, the same for all replicas.
    blocks: As in `part`.
    dtype: Floating type.

  Returns:
    A `Tensor` of that shape.
  """
  return _draw(tf.random.stateless_uniform, tf.raw_ops.StatelessRandomUniformV2,
               shape, seed, blocks, dtype)


def normal(shape: Any, seed: Any, blocks: int = 1,
           dtype: tf.DType = tf.float32) -> tf.Tensor:
  """As `uniform`, of `tf.random.stateless_normal`."""
  return _draw(tf.random.stateless_normal, tf.raw_ops.StatelessRandomNormalV2,
               shape, seed, blocks, dtype)


def _draw(function: Callable[..., tf.Tensor], op: Callable[..., tf.Tensor],
          shape: Any, seed: Any, blocks: int, dtype: tf.DType) -> tf.Tensor:
  number = count()
  if number == 1:
    return function(shape, seed, dtype=dtype)
  size, *rest = (int(n) for n in tf.get_static_value(shape))
  one = size // blocks * math.prod(rest)
  if dtype != tf.float32 or one % _GROUP:
    return part(function([number * size, *rest], seed, dtype=dtype), blocks)
  # The generator counts in groups, and can begin anywhere: what the others
  # need is not drawn here.
  index = tf.cast(
      tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)
  key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
  parts = []
  for block in range(blocks):
    skip = (block * number + index) * (one // _GROUP)
    parts.append(op(
        shape=[size // blocks, *rest], key=key,
        counter=counter + tf.cast(tf.stack([skip, 0]), tf.uint64),
        alg=_PHILOX, dtype=dtype))
  return tf.concat(parts, axis=0)


def mean(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
  """The means over replicas, equal on all of them."""
  values = list(values)
  if count() == 1:
    return values
  return tf.distribute.get_replica_context().all_reduce(
      tf.distribute.ReduceOp.MEAN, values,
      options=tf.distribute.experimental.CommunicationOptions(
          bytes_per_pack=_PACK))


def gather_first(values: tf.Tensor, most: int) -> tf.Tensor:
  """The first `most` of all replicas' images, one batch after another."""
  number = count()
  if number == 1:
    return values[:most]
  context = tf.distribute.get_replica_context()
  size, *shape = values.shape
  if most >= number * size:
    return tf.ensure_shape(
        context.all_gather(values, axis=0), [number * size, *shape])
  # What travels does not grow with the number of replicas: each adds what it
  # has of them to zeros.
  places, found = _places(size, most)
  mine = tf.where(found, values, tf.zeros_like(values))
  mine = tf.scatter_nd(places[:, tf.newaxis], mine, [most, *shape])
  return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)


def replace_first(values: tf.Tensor, first: tf.Tensor,
                  most: int) -> tf.Tensor:
  """This replica's images, those among the first of all replaced.

  Args:
    values: This replica's images.
    first: What `gather_first` gave, changed.
    most: As there.

  Returns:
    As many images as `values`.
  """
  number = count()
  if number == 1:
    return tf.concat([first, values[tf.shape(first)[0]:]], axis=0)
  size = values.shape[0]
  places, found = _places(size, min(most, number * size))
  return tf.where(found, tf.gather(first, places), values)


def _places(size: int, most: int) -> tuple[tf.Tensor, tf.Tensor]:
  """Of each image its place among the first, and whether it is there."""
  index = tf.distribute.get_replica_context().replica_id_in_sync_group
  places = index * size + tf.range(size)
  found = (places < most)[:, tf.newaxis, tf.newaxis, tf.newaxis]
  return tf.minimum(places, most - 1), found


def assign(variable: tf.Variable, value: tf.Tensor) -> None:
  """Assigns to this replica's copy of a variable.

  The variable's own methods want to agree with the other copies; all replicas
  assign the same.
  """
  tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

"""Batches by position: the training order, and passes in stored order.

The training order is a pure function of (seed, step).

A `shuffle` buffer has a state, so a resumed run needs the iterator saved with
the checkpoint, and starting at step k means reading k batches. Here, the
image at position p of a domain's stream is

    epoch = p // n,    index = permutation[seed, domain, epoch](p % n)

with a permutation that is computed index by index (a small block cipher:
TensorFlow's `RandomIndexShuffle`). Nothing is stored, any step is reached at
once, a batch may span two epochs, and two domains never share an order.
"""

from __future__ import annotations

from collections.abc import Callable
import hashlib
from typing import Any

import numpy as np

from alignflow_tf._lazy import tensorflow as tf

# Rounds of the cipher. The op's default of 4 leaves neighbouring indices
# slightly correlated (-0.06 at n = 1,097); the cost of 16 is not measurable.
_ROUNDS = 16


def stream_key(seed: int, *names: str) -> tuple[int, int]:
  """Two 31-bit numbers that stand for a seed and a purpose.

  Args:
    seed: The run's seed, any integer.
    *names: The use of the stream, for example a domain's name.

  Returns:
    Two integers in [0, 2**31).
  """
  text = '\x1f'.join((str(int(seed)), *names))
  digest = hashlib.sha256(text.encode('utf-8')).digest()
  mask = 0x7fffffff
  return (
      int.from_bytes(digest[:4], 'big') & mask,
      int.from_bytes(digest[4:8], 'big') & mask,
  )


def shuffled_indices(
    positions: tf.Tensor, size: int, key: tuple[int, int]
) -> tf.Tensor:
  """Indices of the images at the given positions of an endless stream.

  Args:
    positions: int64 [B], positions in the stream, from 0.
    size: Number of images n of the split, at least 1.
    key: From `stream_key`.

  Returns:
    int64 [B], each in [0, n). Over one epoch, positions [e n, (e + 1) n),
    every index occurs once.
  """
  positions = tf.convert_to_tensor(positions, tf.int64)
  n = tf.constant(size, tf.int64)
  epoch = positions // n
  seeds = tf.stack(
      [tf.fill(tf.shape(epoch), tf.constant(part, tf.int64)) for part in key]
      + [epoch],
      axis=-1,
  )
  # The raw op takes a seed [B, 3], one an index. The Python wrapper pads the
  # wrong axis of such a matrix (TF 2.21), so it serves for one epoch only.
  return tf.raw_ops.RandomIndexShuffle(
      index=positions % n, seed=seeds, max_index=n - 1, rounds=_ROUNDS
  )


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
  """Marks a function that AutoGraph need not convert.

  AutoGraph would read the source again, to no use, and warns where it cannot.
  """
  return tf.autograph.experimental.do_not_convert(function)


def one_pass(
    count: int,
    batch_size: int,
    element: Callable[[tf.Tensor], dict[str, tf.Tensor]],
) -> tf.data.Dataset:
  """One pass over `count` images, in order.

  Args:
    count: Number of images n.
    batch_size: Images in a batch; the last batch may be smaller.
    element: Graph function from int64 [b] positions in [0, n) to a batch.

  Returns:
    A finite dataset of the results of `element`.
  """
  starts = tf.data.Dataset.range(0, count, batch_size)
  return starts.map(
      plain(lambda start: element(
          tf.range(start, tf.minimum(start + batch_size, count)))),
      num_parallel_calls=tf.data.AUTOTUNE,
      deterministic=True,
  ).prefetch(tf.data.AUTOTUNE).with_options(options())


def joined(batches: tf.data.Dataset) -> dict[str, np.ndarray]:
  """All batches of a finite dataset, joined into NumPy arrays."""
  parts = list(batches.as_numpy_iterator())
  return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def options() -> tf.data.Options:
  """The options of all datasets here: deterministic, and not rewritten."""
  result = tf.data.Options()
  result.deterministic = True
  # Grappler's rewriting copies every captured tensor, that is, the data set,
  # once more into memory (measured on TF 2.21) and finds nothing to fuse here.
  result.experimental_optimization.apply_default_optimizations = False
  # Batches are made from step numbers; cutting up the source by files, as
  # distribution strategies do by default, would only repeat steps.
  result.experimental_distribute.auto_shard_policy = (
      tf.data.experimental.AutoShardPolicy.OFF)
  return result

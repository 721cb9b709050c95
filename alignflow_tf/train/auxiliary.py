"""An additional objective of training, with variables of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import tensorflow as tf


class Auxiliary(Protocol):
  """An additional objective with variables and an update of its own.

  A `tf.Module`, whose variables are in the trainer's checkpoints. Its methods
  run within the step's `tf.function`, `loss` within the gradient tape. For a
  term without an update, see `objectives.Term`.

  Attributes:
    labels: Names of the domains whose labels it is given.
    critic_classes: Number of classes, where critics are to see the class of a
      real image, and of a translation that of its source; 0 where they are
      not. It needs the labels of all domains.
  """
  labels: tuple[str, ...]
  critic_classes: int

  def loss(
      self, real: Mapping[str, tf.Tensor],
      fakes: Mapping[tuple[str, str], tf.Tensor],
      labels: Mapping[str, tf.Tensor], seed: tf.Tensor,
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """A scalar that is added to the generator's loss, and scalars to log.

    Args:
      real: For each domain, images `[B, H, W, C]` in [0, 1].
      fakes: For each (source, target), translations.
      labels: For each domain of `labels`, integers `[B]`.
      seed: Stateless seed, two integers.
    """

  def update(
      self, real: Mapping[str, tf.Tensor],
      fakes: Mapping[tuple[str, str], tf.Tensor],
      labels: Mapping[str, tf.Tensor], seed: tf.Tensor,
  ) -> None:
    """Its update, after the generator's; the arguments are those of `loss`."""

"""Protocols by which programs know the abilities of a model.

Training, evaluation, adaptation and export take any model that `Translates`.
They offer more for one that `HasLatents`, `HasDensity` or `HasBound`, and find
out by `isinstance(model, HasDensity)`, never by the model's class. For example,
evaluation reports exact bits per dimension only of models that have densities.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import tensorflow as tf
import tensorflow_probability as tfp

__all__ = [
    'HasBound', 'HasDensity', 'HasLatents', 'Translates', 'Translator',
    'check_batches', 'check_domains'
]

tfd = tfp.distributions


class Translator(Protocol):
  """A map from images of one domain to images of another."""

  def forward(self, x: tf.Tensor) -> tf.Tensor:
    """Translates images `[B, H, W, C]` in [0, 1]."""


@runtime_checkable
class Translates(Protocol):
  """A model that translates between domains: what every program needs."""

  @property
  def domains(self) -> tuple[str, ...]:
    """Names of the domains, in order."""

  @property
  def event_shape(self) -> tuple[int, int, int]:
    """`(height, width, channels)` of images."""

  @property
  def event_size(self) -> int:
    """Number of dimensions of an image."""

  @property
  def dtype(self) -> tf.DType:
    """Floating type of the images that the model takes and gives."""

  @property
  def variables(self) -> Sequence[tf.Variable]:
    """All variables."""

  @property
  def trainable_variables(self) -> Sequence[tf.Variable]:
    """The variables that the generator's loss trains."""

  def translator(self, source: str, target: str) -> Translator:
    """G_{source->target}; KeyError if there is no such pair of domains."""

  def initialize(self, images: Mapping[str, tf.Tensor]) -> None:
    """Sets data-dependent weights from a batch `[B, H, W, C]` a domain."""


@runtime_checkable
class HasLatents(Translates, Protocol):
  """A model with one latent space, from which each domain is decoded."""

  @property
  def prior(self) -> tfd.Distribution:
    """The distribution of latents."""

  def encode(self, images: tf.Tensor, domain: str) -> tf.Tensor:
    """Latents of images `[B, H, W, C]` of a domain."""

  def decode(self, latents: tf.Tensor, domain: str) -> tf.Tensor:
    """Images of a domain from latents."""


@runtime_checkable
class HasDensity(Translates, Protocol):
  """A model with a density of each domain's images."""

  def __getitem__(self, domain: str) -> tfd.Distribution:
    """The distribution of a domain, with `log_prob` and `sample`."""

  def bits_per_dim(self, images: tf.Tensor, domain: str) -> tf.Tensor:
    """Bits per dimension `[B]` of dequantised images of a domain."""


@runtime_checkable
class HasBound(Translates, Protocol):
  """A model with a lower bound on the density of each domain's images."""

  def log_prob_bound(self, images: tf.Tensor, domain: str,
                     seed: tf.Tensor) -> tf.Tensor:
    """The bound on log-densities `[B]` of dequantised images, in nats.

    `seed` is a stateless seed, of a bound that draws latents.
    """


def check_domains(domains: Any) -> tuple[str, ...]:
  """Checks the names of a model's domains.

  Args:
    domains: Names, two or more different strings.

  Returns:
    The names.

  Raises:
    ValueError: If they are anything else.
  """
  if isinstance(domains, str) or not isinstance(
      domains, Collection) or len(domains) < 2 or not all(
          isinstance(d, str) and d for d in domains):
    raise ValueError(
        f'`domains` must be two or more names, got {domains!r}.')
  if len(set(domains)) != len(domains):
    raise ValueError(f'`domains` must be different, got {domains!r}.')
  return tuple(domains)


def check_batches(images: Mapping[str, Any], domains: tuple[str, ...]) -> None:
  """Raises ValueError unless there is a batch for each domain, and no other."""
  if set(images) != set(domains):
    raise ValueError(
        f'`images` must have a batch for each of {domains}, got '
        f'{tuple(images)}.')

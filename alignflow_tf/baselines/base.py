"""The part that baselines have in common: domains, shapes and generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import itertools
import math
from typing import Any, NamedTuple

import tensorflow as tf

from alignflow_tf import bijectors
from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf import protocols

__all__ = ['Baseline', 'Generator', 'Generators', 'build']


class Baseline(tf.Module):
  """A model of images in float32."""

  def __init__(self, domains: Sequence[str], event_shape: tuple[int, int, int],
               name: str, framing: bool = False):
    """Checks the domains and the shape.

    Args:
      domains: Names of the domains, two or more different strings.
      event_shape: `(height, width, channels)` of the images of all domains.
      name: Name of the module.
      framing: Whether networks see images in a frame that all domains share, by
        a `bijectors.Framing` for each, which `initialize` sets.

    Raises:
      ValueError: If the domains are not two or more different names, or the
        shape is none of images.
    """
    super().__init__(name=name)
    self._domains = protocols.check_domains(domains)
    self._event_shape = images_lib.check_event_shape(event_shape)
    self._framings = {d: bijectors.Framing(self._event_shape)
                      for d in self._domains} if framing else {}

  def __repr__(self) -> str:
    return (f'{type(self).__name__}(domains={self._domains}, '
            f'event_shape={self._event_shape})')

  @property
  def domains(self) -> tuple[str, ...]:
    """Names of the domains, in order."""
    return self._domains

  @property
  def event_shape(self) -> tuple[int, int, int]:
    """`(height, width, channels)` of images."""
    return self._event_shape

  @property
  def event_size(self) -> int:
    """Number of dimensions of an image."""
    return math.prod(self._event_shape)

  @property
  def dtype(self) -> tf.DType:
    """Floating type of images, whatever that of the networks' insides."""
    return tf.float32

  def check_pair(self, source: str, target: str) -> None:
    """Raises KeyError unless they are two domains."""
    if source == target or not {source, target} <= set(self._domains):
      raise KeyError(
          f'`source` and `target` must be two of {self._domains}, got '
          f'{source!r} and {target!r}.')

  def frame(self, images: tf.Tensor, domain: str) -> tf.Tensor:
    """Images in [0, 1] as networks see them."""
    if not self._framings:
      return images
    return self._framings[domain].inverse(images)

  def unframe(self, images: tf.Tensor, domain: str) -> tf.Tensor:
    """What networks give, as images in [0, 1]."""
    if not self._framings:
      return images
    return tf.clip_by_value(self._framings[domain].forward(images), 0., 1.)

  def initialize(self, images: Mapping[str, tf.Tensor]) -> None:
    """Sets the framings, if there are any.

    Args:
      images: For each domain, a batch `[B, H, W, C]` in [0, 1].

    Raises:
      TypeError: If images are not of a floating type.
      ValueError: If a domain is missing or its images do not fit: shape,
        range, NaN or infinity.
    """
    protocols.check_batches(images, self._domains)
    for domain in self._domains:
      images_lib.validate(images[domain], self._event_shape,
                          f'images[{domain!r}]')
      if self._framings:
        bijectors.initialize_from_data(
            self._framings[domain], images[domain])


class Generator(NamedTuple):
  """G_{source->target}, with the one method it shares with a bijector.

  Attributes:
    model: The model, which brings images into their frame and back.
    source: Name of the domain that `forward` takes images of.
    target: Name of the domain that `forward` gives images of.
    network: Network from [-1, 1] to [-1, 1].
  """
  model: Baseline
  source: str
  target: str
  network: networks.Tracked

  def forward(self, images: tf.Tensor) -> tf.Tensor:
    """Translates images `[B, H, W, C]` in [0, 1]; the result is in [0, 1]."""
    framed = images_lib.to_critic(self.model.frame(images, self.source))
    return self.model.unframe(0.5 * (self.network(framed) + 1.), self.target)


class Generators(Baseline):
  """A model of a residual generator for each direction."""

  def __init__(
      self,
      domains: Sequence[str],
      event_shape: tuple[int, int, int],
      filters: int = 64,
      num_blocks: int = 9,
      num_halvings: int = 2,
      seed: int = 0,
      network_dtype: Any = 'float32',
      framing: bool = False,
      name: str | None = None,
  ):
    """Builds the model.

    Args:
      domains: Names of the domains, two or more different strings.
      event_shape: `(height, width, channels)` of the images of all domains.
      filters: See `networks.resnet_generator`, as the next three.
      num_blocks: Residual blocks a generator.
      num_halvings: How often a generator halves the image.
      seed: Non-negative integer that fixes the initial weights.
      network_dtype: Keras dtype or policy of the generators.
      framing: See `Baseline`.
      name: Name of the module; that of its class by default.

    Raises:
      ValueError: If the domains are not two or more different names, or the
        images do not fit the generators.
    """
    super().__init__(
        domains, event_shape, name or type(self).__name__.lower(), framing)
    self._seed = seed
    generators: dict[tuple[str, str], Generator] = {}
    for source, target in itertools.permutations(self.domains, 2):
      name = f'{source}_to_{target}'
      network = networks.resnet_generator(
          self.event_shape, filters, num_blocks, num_halvings,
          seed=seed * 997 + len(generators), dtype=network_dtype, name=name)
      generators[source, target] = Generator(
          self, source, target, networks.Tracked(network, name=name))
    self._generators = self._no_dependency(generators)
    self._networks = {
        f'{s}_to_{t}': g.network for (s, t), g in generators.items()}

  def translator(self, source: str, target: str) -> Generator:
    """G_{source->target}.

    Args:
      source: Name of the domain that `forward` takes images of.
      target: Name of the domain that `forward` gives images of.

    Returns:
      The generator.

    Raises:
      KeyError: If there is no such pair of domains.
    """
    self.check_pair(source, target)
    return self._generators[source, target]


def build(system: Any, config: Any, domains: tuple[str, ...],
          event_shape: tuple[int, int, int]) -> Any:
  """Builds a system of residual networks that halve the images.

  Args:
    system: The class, with the arguments of `Generators`.
    config: The configuration.
    domains: Names of the domains.
    event_shape: `(height, width, channels)` of the images.

  Returns:
    The model, with initial weights.

  Raises:
    ValueError: If the architecture does not fit the images.
  """
  framing = {'framing': True} if config.framing else {}
  try:
    return system(
        domains, event_shape, filters=config.width,
        num_blocks=config.num_blocks, num_halvings=config.num_scales - 1,
        seed=config.seed, network_dtype=config.precision, **framing)
  except ValueError as e:
    raise ValueError(
        f'`num_scales` (one more than the halvings), `image_size`: {e}') from e

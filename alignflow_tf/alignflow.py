"""AlignFlow: one latent space, one flow a domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import bijectors
from alignflow_tf import flows
from alignflow_tf import images as images_lib

__all__ = ['AlignFlow']

tfb = tfp.bijectors
tfd = tfp.distributions

Flow = Callable[[tuple[int, int, int]], tfb.Bijector]


class AlignFlow(tf.Module):
  """Domains modelled by normalising flows over one shared latent space.

  With a flow G_{Z->A} for each domain A and one prior p_Z for all,

  ```
  model['a']:                 p_A, the density of G_{Z->A}(z) for z ~ p_Z
  model.translator('a', 'b'): G_{A->B} = G_{Z->B} o G_{Z->A}^-1
  ```

  Both are TFP objects: a `tfd.TransformedDistribution` and a `tfb.Bijector`, so
  `tfb.Invert(model.translator('a', 'b'))` is `model.translator('b', 'a')`, and
  translating there and back gives back the image: cycle consistency is a
  property of the types, not of training.

  TFP caches: `inverse(forward(x))` on one tensor object hands `x` back without
  computing anything. To *measure* a round trip, break the cache with
  `tf.identity` between the two calls.

  ```python
  model = alignflow_tf.AlignFlow(('svhn', 'mnist'), (32, 32, 3))
  model.initialize({'svhn': images_a, 'mnist': images_b})
  model['mnist'].log_prob(x)                  # nats, shape [B]
  model['mnist'].sample(8, seed=(0, 1))       # shape [8, 32, 32, 3]
  model.translator('svhn', 'mnist').forward(x)
  ```

  Images are NHWC with pixels in [0, 1]. Translations and samples may lie a
  little outside (they are not clipped, since that would lose the way back).

  #### References

  [1]: Aditya Grover, Christopher Chute, Rui Shu, Zhangjie Cao, Stefano Ermon.
       AlignFlow: Cycle Consistent Learning from Multiple Domains via
       Normalizing Flows. In _AAAI_, 2020, section 3.
       https://arxiv.org/abs/1905.12892
  """

  def __init__(
      self,
      domains: Sequence[str],
      event_shape: tuple[int, int, int],
      flow: Flow | Mapping[str, tfb.Bijector] = flows.real_nvp,
      share: bool = False,
      dtype: tf.DType = tf.float32,
      name: str = 'alignflow',
  ):
    """Builds the model.

    Args:
      domains: Names of the domains, two or more different strings.
      event_shape: `(height, width, channels)` of the images of all domains.
      flow: A function from an event shape to a `tfb.Bijector` from latent to
        image, called once a domain; or the bijectors themselves, by domain. To
        share the parameters of some scales only, see `flows.SharedScales`.
      share: Whether all domains have one flow, G_{Z->A} = G_{Z->B} (section
        3.3). Translation is then the identity.
      dtype: Type of the flows and the prior.
      name: Name of the module.

    Raises:
      ValueError: If the domains are not two or more different names, the shape
        is not that of images, or the flows do not fit.
    """
    super().__init__(name=name)
    if isinstance(domains, str) or len(domains) < 2 or not all(
        isinstance(d, str) and d for d in domains):
      raise ValueError(
          f'`domains` must be two or more names, got {domains!r}.')
    if len(set(domains)) != len(domains):
      raise ValueError(f'`domains` must be different, got {domains!r}.')
    shape = tuple(event_shape)
    if len(shape) != 3 or not all(
        isinstance(size, (int, np.integer)) and size > 0 for size in shape):
      raise ValueError(
          '`event_shape` must be (height, width, channels), three positive '
          f'integers, got {event_shape}.')
    self._domains = tuple(domains)
    height, width, channels = (int(size) for size in shape)
    self._event_shape = (height, width, channels)
    self._prior = tfd.Sample(
        tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)),
        sample_shape=self._event_shape, name='prior')
    self._flows = self._make_flows(flow, share)
    self._distributions = {
        domain: tfd.TransformedDistribution(
            self._prior, self._flows[domain], name=f'p_{domain}')
        for domain in self._domains
    }
    # Made on demand. One object a pair, so that its cache serves all callers.
    self._translators = self._no_dependency({})

  def _make_flows(
      self, flow: Flow | Mapping[str, tfb.Bijector], share: bool
  ) -> dict[str, tfb.Bijector]:
    if isinstance(flow, Mapping):
      if set(flow) != set(self._domains):
        raise ValueError(
            f'`flow` must have one bijector for each of {self._domains}, got '
            f'{tuple(flow)}.')
      made = {domain: flow[domain] for domain in self._domains}
    elif share:
      one = flow(self._event_shape)
      made = {domain: one for domain in self._domains}
    else:
      made = {domain: flow(self._event_shape) for domain in self._domains}
    for domain, bijector in made.items():
      if not isinstance(bijector, tfb.Bijector):
        raise ValueError(
            f'`flow` must give a tfb.Bijector, got {bijector!r} for domain '
            f'{domain!r}.')
      image = bijector.forward_event_shape(tf.TensorShape(self._event_shape))
      if not image.is_compatible_with(self._event_shape):
        raise ValueError(
            f'`flow` of domain {domain!r} takes latents of shape '
            f'{self._event_shape} to {image}; it must keep the shape.')
    return made

  @property
  def domains(self) -> tuple[str, ...]:
    """Names of the domains, in order."""
    return self._domains

  @property
  def event_shape(self) -> tuple[int, int, int]:
    """`(height, width, channels)` of images and latents."""
    return self._event_shape

  @property
  def event_size(self) -> int:
    """Number of dimensions of an image."""
    return math.prod(self._event_shape)

  @property
  def prior(self) -> tfd.Distribution:
    """The prior p_Z over latents, the base of all domains' distributions."""
    return self._prior

  def __getitem__(self, domain: str) -> tfd.Distribution:
    """The distribution of a domain: `log_prob`, `sample` and the rest of TFP.

    Args:
      domain: Name of a domain.

    Returns:
      A `tfd.TransformedDistribution` whose base is `prior`.

    Raises:
      KeyError: If there is no such domain.
    """
    self._check_domain(domain, 'domain')
    return self._distributions[domain]

  def flow(self, domain: str) -> tfb.Bijector:
    """The bijector G_{Z->domain}, from latent to image."""
    self._check_domain(domain, 'domain')
    return self._flows[domain]

  def translator(self, source: str, target: str) -> tfb.Bijector:
    """The bijector G_{source->target}, equations 3 to 5 of the paper.

    Args:
      source: Name of the domain that `forward` takes images of.
      target: Name of the domain that `forward` gives images of.

    Returns:
      A `tfb.Bijector`; `model.translator(target, source)` is its inverse.

    Raises:
      KeyError: If there is no such domain.
    """
    self._check_domain(source, 'source')
    self._check_domain(target, 'target')
    if (source, target) not in self._translators:
      self._translators[source, target] = tfb.Chain(
          [self._flows[target], tfb.Invert(self._flows[source])],
          name=f'{source}_to_{target}')
    return self._translators[source, target]

  def initialize(self, images: Mapping[str, tf.Tensor]) -> None:
    """Initialises the activation normalisations from data, domain by domain.

    To be called once, eagerly, before the first training step.

    Args:
      images: For each domain, a batch `[B, H, W, C]` in [0, 1].

    Raises:
      TypeError: If images are not of a floating type.
      ValueError: If a domain is missing or its images do not fit: shape, range,
        NaN or infinity.
    """
    if set(images) != set(self._domains):
      raise ValueError(
          f'`images` must have a batch for each of {self._domains}, got '
          f'{tuple(images)}.')
    for domain in self._domains:
      images_lib.validate(images[domain], self._event_shape,
                          f'images[{domain!r}]')
    # Domains that have one flow initialise it together.
    batches: dict[int, list[tf.Tensor]] = {}
    for domain in self._domains:
      batches.setdefault(id(self._flows[domain]), []).append(images[domain])
    for domain in self._domains:
      batch = batches.pop(id(self._flows[domain]), None)
      if batch is not None:
        bijectors.initialize_act_norms(
            self._flows[domain], tf.concat(batch, axis=0))

  def sample_joint(
      self, sample_shape: Any = (), seed: Any = None
  ) -> dict[str, tf.Tensor]:
    """Samples all domains from the same latents (section 3.4).

    Args:
      sample_shape: Number of samples, or a shape.
      seed: Seed as in TFP: two integers for a stateless one.

    Returns:
      For each domain, a `Tensor` of shape `sample_shape + event_shape`.
    """
    z = self._prior.sample(sample_shape, seed=seed)
    return {d: self._flows[d].forward(z) for d in self._domains}

  def interpolate(
      self, x0: tf.Tensor, x1: tf.Tensor, source: str, num: int = 9
  ) -> dict[str, tf.Tensor]:
    """Interpolates between images in the latent space, in all domains at once.

    The polar path of section 5.3, `z = sin(phi) * z0 + cos(phi) * z1`, with
    `phi` from pi / 2 to 0 in equal steps, decoded into each domain: the first
    and the last frame of the source domain are `x0` and `x1` themselves.

    Args:
      x0: Images `[B, H, W, C]` of the source domain.
      x1: As many images of the source domain.
      source: Name of the domain.
      num: Number of frames, at least 2.

    Returns:
      For each domain, a `Tensor` of shape `[B, num, H, W, C]`.

    Raises:
      KeyError: If there is no such domain.
      ValueError: If `num` is below 2 or the shapes are wrong.
    """
    self._check_domain(source, 'source')
    if not isinstance(num, int) or isinstance(num, bool) or num < 2:
      raise ValueError(f'`num` must be an integer of 2 or more, got {num!r}.')
    x0, x1 = tf.convert_to_tensor(x0), tf.convert_to_tensor(x1)
    for argument, x in (('x0', x0), ('x1', x1)):
      if x.shape.rank != 4 or not x.shape[1:].is_compatible_with(
          self._event_shape):
        raise ValueError(
            f'`{argument}` must have shape [B, *{self._event_shape}], got '
            f'{x.shape}.')
    if not x0.shape.is_compatible_with(x1.shape):
      raise ValueError(
          f'`x0` and `x1` must have one shape, got {x0.shape} and {x1.shape}.')
    phi = np.linspace(np.pi / 2., 0., num)
    weights = [tf.constant(w.reshape([num, 1, 1, 1]), x0.dtype)
               for w in (np.sin(phi), np.cos(phi))]
    z0 = self._flows[source].inverse(x0)[:, tf.newaxis]
    z1 = self._flows[source].inverse(x1)[:, tf.newaxis]
    z = weights[0] * z0 + weights[1] * z1
    flat = tf.reshape(z, [-1, *self._event_shape])
    return {
        d: tf.reshape(self._flows[d].forward(flat),
                      [-1, num, *self._event_shape]) for d in self._domains
    }

  def bits_per_dim(self, images: tf.Tensor, domain: str) -> tf.Tensor:
    """Bits per dimension of dequantised 8-bit images of a domain.

    Args:
      images: Dequantised images `[B, H, W, C]` in [0, 1]; see
        `alignflow_tf.images.dequantize`.
      domain: Name of the domain.

    Returns:
      A `Tensor` of shape `[B]`; lower is better.
    """
    return images_lib.bits_per_dim(
        self[domain].log_prob(images), self.event_size)

  def _check_domain(self, domain: str, argument: str) -> None:
    if domain not in self._flows:
      raise KeyError(
          f'`{argument}` must be one of {self._domains}, got {domain!r}.')

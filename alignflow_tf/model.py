"""AlignFlow: one latent space, and a flow for each domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import functools
import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks
from alignflow_tf import bijectors
from alignflow_tf import flows
from alignflow_tf import images as images_lib
from alignflow_tf import protocols

__all__ = [
    'AlignFlow', 'HasDensity', 'HasLatents', 'Translates', 'Translator'
]

tfb = tfp.bijectors
tfd = tfp.distributions

Flow = Callable[[tuple[int, int, int]], tfb.Bijector]
Translator = protocols.Translator
Translates = protocols.Translates
HasLatents = protocols.HasLatents
HasDensity = protocols.HasDensity


class AlignFlow(tf.Module):
  """Domains modelled by normalising flows over one shared latent space.

  With a flow G_{Z->A} for each domain A and one prior p_Z for all,

  ```
  model['a']:                 p_A, the density of G_{Z->A}(z) for z ~ p_Z
  model.translator('a', 'b'): G_{A->B} = G_{Z->B} o G_{Z->A}^-1
  ```

  The paper's section 3.3 lets the flows share parameters. Here they share a
  trunk, under an adapter for each domain:

  ```
  G_{Z->A} = adapter_A o trunk
  G_{A->B} = adapter_B o adapter_A^-1
  ```

  The trunk cancels, and no translation evaluates it. Likelihoods train the
  trunk and the adapters, critics the adapters alone. Without a trunk this is
  the paper's model; without adapters, all domains have one flow.

  Both are TFP objects: a `tfd.TransformedDistribution` and a `tfb.Bijector`, so
  `tfb.Invert(model.translator('a', 'b'))` is `model.translator('b', 'a')`, and
  translating there and back gives back the image: cycle consistency is a
  property of the types, not of training.

  TFP's cache is keyed by tensor objects, which has two consequences:

  - `inverse(forward(x))` returns `x` without computing anything. To measure a
    round trip, put `tf.identity` between the two calls.
  - After an update of the weights, `log_prob(x)` may return the value of the
    old weights. `initialize` clears the cache. After any other update, call
    `bijectors.clear_cache()`, or pass `tf.identity(x)`.

  >>> model = alignflow_tf.AlignFlow(
  ...     ('a', 'b'), (4, 4, 1), lambda shape: flows.couplings(shape, 1, 4))
  >>> x = tf.constant(0.5, shape=[2, 4, 4, 1])
  >>> model['a'].log_prob(x).shape  # Nats.
  TensorShape([2])
  >>> model['b'].sample(8, seed=(0, 1)).shape
  TensorShape([8, 4, 4, 1])
  >>> model.translator('a', 'b').forward(x).shape
  TensorShape([2, 4, 4, 1])

  With a trunk, and MNIST as the hub whose images the trunk models itself:

  ```python
  model = alignflow_tf.AlignFlow(
      ('svhn', 'mnist'), (32, 32, 3), adapter=my_adapter,
      trunk=alignflow_tf.flows.glow, hub='mnist')
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
      adapter: Flow | Mapping[str, tfb.Bijector] | None = flows.real_nvp,
      trunk: Flow | tfb.Bijector | None = None,
      hub: str | None = None,
      dtype: tf.DType = tf.float32,
      name: str = 'alignflow',
  ):
    """Builds the model.

    Args:
      domains: Names of the domains, two or more different strings.
      event_shape: `(height, width, channels)` of the images of all domains.
      adapter: A function from an event shape to a `tfb.Bijector`, called once a
        domain, or the bijectors by domain. Its forward direction ends at the
        image; it begins at the latent, or at the trunk's output where there is
        a trunk. None for no adapters: all domains have the trunk as their one
        flow, G_{Z->A} = G_{Z->B}, and translation is the identity.
      trunk: A bijector, or a function from an event shape to one, that all
        domains share; from latent to what the adapters take. None for none.
      hub: Name of a domain without an adapter, whose images the trunk models
        itself. A translation from or to it evaluates one adapter, not two.
      dtype: Floating type of the prior, which the flows must have too.
        The functions of `flows.FLOWS` are called with it; of
        others, say `functools.partial(flows.real_nvp, dtype=tf.float64)`.
      name: Name of the module.

    Raises:
      ValueError: If the domains are not two or more different names, the shape
        is not that of images, the bijectors do not fit in type or in shape,
        `hub` is no domain, or `adapter` or `hub` needs a trunk.
    """
    super().__init__(name=name)
    self._domains = protocols.check_domains(domains)
    self._event_shape = images_lib.check_event_shape(event_shape)
    dtype = _checks.floating_type('dtype', dtype)
    self._prior = tfd.Sample(
        tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)),
        sample_shape=self._event_shape, name='prior')
    if trunk is None and (adapter is None or hub is not None):
      missing = '`adapter` is None' if adapter is None else f'`hub` is {hub!r}'
      raise ValueError(f'`trunk` must be a flow where {missing}, got None.')
    if hub is not None:
      self._check_domain(hub, 'hub', ValueError)
    self._trunk = None if trunk is None else self._made(trunk, '`trunk`')
    self._adapters = self._make_adapters(adapter, hub)
    self._flows = {
        d: _chain([self._adapters.get(d), self._trunk], f'flow_{d}')
        for d in self._domains}
    self._distributions = {
        domain: tfd.TransformedDistribution(
            self._prior, self._flows[domain], name=f'p_{domain}')
        for domain in self._domains
    }
    # Made on demand. One object a pair, so that its cache serves all callers.
    self._translators = self._no_dependency({})

  def __repr__(self) -> str:
    return (f'AlignFlow(domains={self._domains}, '
            f'event_shape={self._event_shape}, dtype={self.dtype.name})')

  def _make_adapters(
      self, adapter: Flow | Mapping[str, tfb.Bijector] | None, hub: str | None
  ) -> dict[str, tfb.Bijector]:
    """The adapters by domain; none for the hub."""
    adapted = [d for d in self._domains if d != hub]
    if adapter is None:
      return {}
    if isinstance(adapter, Mapping):
      if set(adapter) != set(adapted):
        raise ValueError(
            f'`adapter` must have one bijector for each of {tuple(adapted)}, '
            f'got {tuple(adapter)}.')
      return {d: self._made(adapter[d], f'`adapter` of domain {d!r}')
              for d in adapted}
    if isinstance(adapter, tfb.Bijector) or not callable(adapter):
      # TFP's bijectors are callable, with what they transform.
      raise ValueError(
          '`adapter` must be a function from an event shape to a tfb.Bijector, '
          f'or a bijector for each domain, got {adapter!r}.')
    return {d: self._made(adapter, f'`adapter` of domain {d!r}')
            for d in adapted}

  def _made(self, flow: Flow | tfb.Bijector, argument: str) -> tfb.Bijector:
    """A bijector as it is given, or made for the event shape."""
    made = flow
    if not isinstance(flow, tfb.Bijector) and callable(flow):
      named: Callable[..., tfb.Bijector] = flow
      if named in flows.FLOWS.values():
        flow = functools.partial(named, dtype=self._prior.dtype)
      made = flow(self._event_shape)
    return _checks.bijector(argument, made, self._event_shape, self.dtype)

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
  def dtype(self) -> tf.DType:
    """Floating type of images, latents and densities."""
    return self._prior.dtype

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

  @property
  def trunk(self) -> tfb.Bijector | None:
    """The bijector that all domains share, from latents on; None for none."""
    return self._trunk

  def adapter(self, domain: str) -> tfb.Bijector | None:
    """The bijector of one domain, up to its images; None for none."""
    self._check_domain(domain, 'domain')
    return self._adapters.get(domain)

  def flow(self, domain: str) -> tfb.Bijector:
    """The bijector G_{Z->domain}, from latent to image."""
    self._check_domain(domain, 'domain')
    return self._flows[domain]

  def translator(self, source: str, target: str) -> tfb.Bijector:
    """The bijector G_{source->target}, equations 3 to 5 of the paper.

    It composes the two adapters; the trunk has no part in it.

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
      adapter = self._adapters.get(source)
      self._translators[source, target] = _chain(
          [self._adapters.get(target),
           None if adapter is None else tfb.Invert(adapter)],
          f'{source}_to_{target}')
    return self._translators[source, target]

  def encode(self, images: tf.Tensor, domain: str) -> tf.Tensor:
    """Latents `[B, H, W, C]` of images: `flow(domain).inverse(images)`."""
    return self.flow(domain).inverse(images)

  def decode(self, latents: tf.Tensor, domain: str) -> tf.Tensor:
    """Images `[B, H, W, C]` of latents: `flow(domain).forward(latents)`."""
    return self.flow(domain).forward(latents)

  def initialize(self, images: Mapping[str, tf.Tensor]) -> None:
    """Sets activation normalisations and framings from data, by domain.

    To be called once, eagerly, before the first training step. At its end it
    clears TFP's cache (`bijectors.clear_cache`), as other updates do not.

    Args:
      images: For each domain, a batch `[B, H, W, C]` in [0, 1], of any floating
        type.

    Raises:
      RuntimeError: If called inside a `tf.function`.
      TypeError: If images are not of a floating type.
      ValueError: If there is not one batch for each domain, or images do not
        fit: number, shape, range, NaN or infinity.
    """
    protocols.check_batches(images, self._domains)
    checked = {
        domain: self._images(images[domain], f'images[{domain!r}]')
        for domain in self._domains}
    # Domains with one adapter initialise it together, and all the trunk.
    batches: dict[int, tuple[tfb.Bijector, list[tf.Tensor]]] = {}
    for domain, adapter in self._adapters.items():
      batches.setdefault(id(adapter), (adapter, []))[1].append(checked[domain])
    for adapter, parts in batches.values():
      bijectors.initialize_from_data(adapter, tf.concat(parts, axis=0))
    if self._trunk is not None:
      bijectors.initialize_from_data(self._trunk, tf.concat([
          self._adapters[d].inverse(x) if d in self._adapters else x
          for d, x in checked.items()], axis=0))
    bijectors.clear_cache()

  def sample_joint(
      self, sample_shape: Any = (), seed: Any = None
  ) -> dict[str, tf.Tensor]:
    """Samples all domains from the same latents (section 3.4).

    Args:
      sample_shape: Number of samples, or a shape.
      seed: Seed as in TFP: two integers for a stateless one.

    Returns:
      For each domain, a `Tensor` of shape `sample_shape + event_shape`.

    Raises:
      ValueError: If `sample_shape` is not a number or a shape.
    """
    _checks.sample_shape('sample_shape', sample_shape)
    z = self._prior.sample(sample_shape, seed=seed)
    return {d: self._flows[d].forward(z) for d in self._domains}

  def interpolate(
      self, x0: tf.Tensor, x1: tf.Tensor, source: str, num: int = 9
  ) -> dict[str, tf.Tensor]:
    """Interpolates between images in the latent space, in all domains at once.

    The polar path of section 5.3, `z = sin(phi) * z0 + cos(phi) * z1`, with
    `phi` from pi / 2 to 0 in equal steps, decoded into each domain: the first
    and the last frame of the source domain are `x0` and `x1` themselves. In a
    `tf.function`, values are not checked.

    Args:
      x0: Images `[B, H, W, C]` of the source domain in [0, 1], of any floating
        type.
      x1: As many images of the source domain.
      source: Name of the domain.
      num: Number of frames, at least 2.

    Returns:
      For each domain, a `Tensor` of shape `[B, num, H, W, C]`.

    Raises:
      KeyError: If there is no such domain.
      TypeError: If images are not of a floating type.
      ValueError: If `num` is below 2 or images do not fit: shape, range, NaN or
        infinity.
    """
    self._check_domain(source, 'source')
    num = _checks.integer('num', num, least=2)
    x0, x1 = self._images(x0, 'x0'), self._images(x1, 'x1')
    if not x0.shape.is_compatible_with(x1.shape):
      raise ValueError(
          f'`x0` and `x1` must have one shape, got {x0.shape} and {x1.shape}.')
    sin, cos = images_lib.polar_weights(num, self.dtype)
    z = (sin * self._flows[source].inverse(x0)[:, tf.newaxis] +
         cos * self._flows[source].inverse(x1)[:, tf.newaxis])
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

  def _images(self, images: Any, argument: str) -> tf.Tensor:
    return images_lib.as_tensor(
        images, self._event_shape, argument, self._prior.dtype)

  def _check_domain(self, domain: str, argument: str,
                    error: type[Exception] = KeyError) -> None:
    if domain not in self._domains:
      raise error(
          f'`{argument}` must be one of {self._domains}, got {domain!r}.')


def _chain(parts: Sequence[tfb.Bijector | None], name: str) -> tfb.Bijector:
  """The composition of bijectors, the last of which is applied first."""
  found = [part for part in parts if part is not None]
  return found[0] if len(found) == 1 else tfb.Chain(found, name=name)

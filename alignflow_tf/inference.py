"""Batched inference with a model: translations, densities, round trips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
import os
from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf import images as images_lib
from alignflow_tf import model as model_lib
from alignflow_tf import one_to_many
from alignflow_tf import protocols

# Largest number of batches that run at a time; each holds its own activations.
_CONCURRENT = 4


class Evaluator:
  """Compiled evaluation of a model, batch by batch.

  All methods take NumPy arrays, and give them or Python's floats. Images are
  floating numbers in [0, 1]; they are computed with, and returned, in the
  model's own type. TypeError is raised for an ability that the model lacks.
  Each call reads the model's variables, so one evaluator serves a whole run. On
  a CPU, a few batches run at a time.

  Examples:
    >>> model = alignflow_tf.AlignFlow(('a', 'b'), (4, 4, 1), flows.view)
    >>> evaluator = inference.Evaluator(model)
    >>> evaluator.translate(np.zeros([2, 4, 4, 1], np.float32), 'a', 'b').shape
    (2, 4, 4, 1)
  """

  def __init__(self, model: model_lib.Translates, batch_size: int = 100,
               any_size: bool = False):
    """Prepares the functions; they are traced on first use.

    Args:
      model: The model.
      batch_size: Number of images at a time.
      any_size: Whether images and latents may have another height and width
        than the model's. Convolutional models take those that their scales
        divide; there are no densities then.

    Raises:
      ValueError: If it is not a positive integer.
    """
    self.model = model
    self.batch_size = _checks.integer('batch_size', batch_size)
    self._shape = (None, None, model.event_shape[2]) if any_size else (
        model.event_shape)
    self._functions: dict[Any, Callable[..., Any]] = {}

  @property
  def has_densities(self) -> bool:
    """Whether the model has a density of each domain."""
    return isinstance(self.model, model_lib.HasDensity)

  @property
  def has_latents(self) -> bool:
    """Whether the model encodes images into latents and decodes them."""
    return isinstance(self.model, model_lib.HasLatents)

  @property
  def has_bounds(self) -> bool:
    """Whether the model has a bound on the density of each domain."""
    return isinstance(self.model, protocols.HasBound)

  def _with_latents(self) -> model_lib.HasLatents:
    if not isinstance(self.model, model_lib.HasLatents):
      raise TypeError(
          f'`model` must have latents, got {type(self.model).__name__}, which '
          'has none.')
    return self.model

  def _with_density(self) -> model_lib.HasDensity:
    if not isinstance(self.model, model_lib.HasDensity):
      raise TypeError(
          f'`model` must have densities, got {type(self.model).__name__}, '
          'which has none.')
    return self.model

  def _function(self, key: Any, fn: Callable[[tf.Tensor], tf.Tensor]
               ) -> Callable[[tf.Tensor], tf.Tensor]:
    if key not in self._functions:
      spec = tf.TensorSpec([None, *self._shape], self.model.dtype)
      self._functions[key] = tf.function(
          fn, input_signature=[spec], autograph=False)
    return self._functions[key]

  def _map(self, fn: Callable[..., Any], images: np.ndarray) -> np.ndarray:
    shape = np.shape(images)
    if len(shape) != 4 or not shape[0] or any(
        want not in (None, got)
        for want, got in zip(self._shape, shape[1:], strict=True)):
      raise ValueError(
          f'`images` must have shape [N, *{self._shape}] with N > 0, got '
          f'{list(shape)}.')
    images = np.asarray(images)
    if not np.issubdtype(images.dtype, np.floating):
      raise TypeError(
          '`images` must be floating numbers in [0, 1], got dtype '
          f'{images.dtype}: use alignflow_tf.images.from_uint8 for uint8 '
          'pixels.')
    starts = range(0, len(images), self.batch_size)

    def part(start: int) -> np.ndarray:
      batch = images[start:start + self.batch_size]
      return fn(tf.constant(batch, self.model.dtype)).numpy()

    first = part(0)  # Alone: it traces.
    concurrent = self._concurrent() if len(starts) > 2 else 1
    if concurrent < 2:
      return np.concatenate([first, *map(part, starts[1:])])
    pool = futures.ThreadPoolExecutor(min(concurrent, len(starts) - 1))
    try:
      return np.concatenate([first, *pool.map(part, starts[1:])])
    finally:
      pool.shutdown(cancel_futures=True)

  def _concurrent(self) -> int:
    """The number of batches to run at a time.

    A flow is one long chain of operations, none of which uses several threads
    (`_threads`), so one batch keeps one core busy.
    """
    if tf.config.list_logical_devices('GPU') or any(
        isinstance(v, tf.distribute.DistributedValues)
        for v in self.model.variables):
      return 1  # A strategy is not known in other threads.
    return min(_CONCURRENT, len(os.sched_getaffinity(0)))

  def translate(self, images: np.ndarray, source: str,
                target: str) -> np.ndarray:
    """G_{source->target} of images `[N, H, W, C]`."""
    g = self.model.translator(source, target)
    return self._map(
        self._function((source, target), lambda x: g.forward(x)), images)

  def draws(self, images: np.ndarray, source: str, target: str, every: int,
            seeds: Iterable[int]) -> Iterator[np.ndarray]:
    """Several translations of each image (`one_to_many`), one a seed.

    The pixels that are drawn are those of all images, whatever the batches.

    Args:
      images: Images `[N, H, W, C]` of the source.
      source: Its name.
      target: Name of the target.
      every: As in `one_to_many.redraw`.
      seeds: Non-negative integers.

    Yields:
      Translations `[N, H, W, C]`.
    """
    z = self.encode(images, source)
    for seed in seeds:
      drawn = np.random.RandomState(seed).standard_normal((1, *z.shape[1:]))
      yield self.decode(np.asarray(one_to_many.redraw(
          z, drawn.astype(z.dtype), every)), target)

  def encode(self, images: np.ndarray, domain: str) -> np.ndarray:
    """Latents of images of a domain."""
    model = self._with_latents()
    return self._map(self._function(
        ('encode', domain), lambda x: model.encode(x, domain)), images)

  def decode(self, latents: np.ndarray, domain: str) -> np.ndarray:
    """Images of a domain from latents."""
    model = self._with_latents()
    return self._map(self._function(
        ('decode', domain), lambda z: model.decode(z, domain)), latents)

  def log_prob(self, images: np.ndarray, domain: str) -> np.ndarray:
    """Log-densities of images, in nats, of shape `[N]`."""
    distribution = self._with_density()[domain]
    return self._map(self._function(
        ('log_prob', domain), lambda x: distribution.log_prob(x)), images)

  def log_prob_bound(self, images: np.ndarray, domain: str,
                     seed: int = 0) -> np.ndarray:
    """A lower bound on log-densities of images, in nats, of shape `[N]`."""
    model = self.model
    if not isinstance(model, protocols.HasBound):
      raise TypeError(
          f'`model` must have a bound, got {type(model).__name__}, which has '
          'none.')
    return self._map(self._function(
        ('log_prob_bound', domain, seed),
        lambda x: model.log_prob_bound(x, domain, tf.constant([seed, 0]))),
                     images)

  def bits_per_dim(self, levels: np.ndarray, domain: str,
                   seed: int = 0) -> np.ndarray:
    """Bits per dimension of uint8 images, dequantised with a fixed seed.

    Of a model that `has_bounds`, an upper bound.

    Args:
      levels: uint8 images `[N, H, W, C]`.
      domain: Their domain.
      seed: Seed of the noise.

    Returns:
      Bits per dimension of each image, `[N]`.

    Raises:
      TypeError: If the levels are not integers, or the model has neither
        densities nor a bound.
    """
    if not np.issubdtype(levels.dtype, np.integer):
      raise TypeError(
          f'`levels` must be uint8 levels, got dtype {levels.dtype}.')
    # Drawn for all images at once: the noise of an image does not depend on the
    # batch size.
    noise = np.random.RandomState(seed).random_sample(levels.shape)
    images = ((levels + noise) / 256.).astype(np.float32)
    # float32 may round up to 1.
    images = np.minimum(images, np.float32(1. - 2.**-24))
    log_prob = self.log_prob_bound(images, domain, seed) if (
        self.has_bounds) else self.log_prob(images, domain)
    return np.asarray(images_lib.bits_per_dim(log_prob, self.model.event_size))

  def interpolate(self, first: np.ndarray, last: np.ndarray, source: str,
                  num: int) -> dict[str, np.ndarray]:
    """Frames between images of one domain, decoded into all domains.

    The polar path of section 5.3, as in `AlignFlow.interpolate`.

    Args:
      first: N images `[N, H, W, C]` at the first frame.
      last: N images at the last frame.
      source: Their domain.
      num: Number of frames, at least 2.

    Returns:
      For each domain, images `[N, num, H, W, C]`.
    """
    num = _checks.integer('num', num, least=2)
    if np.shape(first) != np.shape(last):
      raise ValueError(
          '`first` and `last` must have one shape, got '
          f'{np.shape(first)} and {np.shape(last)}.')
    z0, z1 = (self.encode(x, source)[:, np.newaxis] for x in (first, last))
    sin, cos = images_lib.polar_weights(num, self.model.dtype)
    z = sin * z0 + cos * z1
    flat = z.reshape([-1, *self.model.event_shape])
    return {d: self.decode(flat, d).reshape(z.shape)
            for d in self.model.domains}

  def round_trip(self, images: np.ndarray, source: str, target: str,
                 as_picture: bool = False,
                 translated: np.ndarray | None = None) -> dict[str, float]:
    """Error of translating to the target and back, without TFP's cache.

    Args:
      images: Images `[N, H, W, C]` of the source domain.
      source: Its name.
      target: The domain in between.
      as_picture: Whether the translation is clipped and rounded to 8 bits
        before the way back, as in a PNG. No model is exact then.
      translated: The translations, where `translate` has given them already.

    Returns:
      `max` and `mean` absolute error of a pixel, in units of [0, 1], and
      `outside` and `saturated`, the shares of translated pixels outside [0, 1],
      and of those not strictly inside.
    """
    # Through NumPy and two separate functions: nothing can be cached.
    if translated is None:
      translated = self.translate(images, source, target)
    handed = np.asarray(images_lib.from_uint8(images_lib.to_uint8(
        tf.constant(translated)))) if as_picture else translated
    back = self.translate(handed, target, source)
    error = np.abs(back - images)
    return {
        'max': float(error.max()),
        'mean': float(error.mean(dtype=np.float64)),
        'outside': float(((translated < 0.) | (translated > 1.)).mean()),
        'saturated': float(((translated <= 0.) | (translated >= 1.)).mean())}

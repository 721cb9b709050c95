"""Servables: translators and domains, with their signatures.

Every input and output has the batch as its first dimension, and every row of an
answer depends on the same row of the request alone, so that a server may batch
requests together. A request of no rows gets an answer of no rows.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import functools
import itertools
import math
from typing import Any

import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf import images as images_lib
from alignflow_tf import model as model_lib
from alignflow_tf import one_to_many
from alignflow_tf.export import checks
from alignflow_tf.export import codec
from alignflow_tf.networks import tracked

# Small requests can cause much work: a PNG of one pixel becomes a whole image,
# and a seed a whole sample.
MAX_BATCH = 256
MAX_TEMPERATURE = 10.
_SEEDS = tf.TensorSpec([None, 2], tf.int64)

Function = Any  # A `tf.function` of a fixed input signature.
Outputs = dict[str, tf.Tensor]
Pass = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Options:
  """Limits and rules of an export.

  Attributes:
    max_batch: Largest number of rows of a request (frames of an interpolation
      count).
    max_pixels: Largest width * height of a picture that is decoded.
    preparations: By domain, how pictures are brought to the model's size.
    many: Domains whose translations may be drawn, and `every` of
      `one_to_many.redraw`.
  """
  max_batch: int = MAX_BATCH
  max_pixels: int = codec.MAX_PIXELS
  preparations: dict[str, codec.Preparation] = dataclasses.field(
      default_factory=dict)
  many: dict[str, int] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    for name in ('max_batch', 'max_pixels'):
      _checks.integer(name, getattr(self, name))
    for every in self.many.values():
      _checks.integer('many', every)


@dataclasses.dataclass(frozen=True)
class Servable:
  """A model to be saved.

  Attributes:
    name: Name of the servable.
    signatures: Functions of a fixed input signature, by name.
  """
  name: str
  signatures: dict[str, Function]

  def module(self) -> tf.Module:
    """An object that holds the variables of the signatures and nothing else.

    Bijectors and Keras objects do not go into the export: loading it must need
    neither, and a Keras variable in a `tf.Module` breaks TF Serving.
    """
    found = {
        id(variable): variable for function in self.signatures.values()
        for variable in function.get_concrete_function().variables}
    module = tf.Module(name=self.name)
    module.weights = list(found.values())
    return module


class Factory:
  """Makes the servables of a model.

  Each pass, such as encoding images of one domain, is traced once and called by
  all signatures that need it, which keeps a large model's export small and
  quick to make and to load. A model with latents translates by encoding and
  decoding, unless it has a trunk, so that its translators need no passes of
  their own.
  """

  def __init__(self, model: model_lib.Translates,
               options: Options | None = None):
    """Prepares the passes that the model has."""
    self._model = model
    self._options = options or Options()
    self._shape = model.event_shape
    self._images = tf.TensorSpec([None, *model.event_shape], tf.float32)
    self._fractions = tf.TensorSpec([None, None], tf.float32)
    self._translators: dict[tuple[str, str], Pass] = {}
    self._encoders: dict[str, Pass] = {}
    self._decoders: dict[str, Pass] = {}
    self._densities: dict[str, Pass] = {}
    if isinstance(model, model_lib.HasLatents):
      for d in model.domains:
        self._encoders[d] = self._pass(functools.partial(
            model.encode, domain=d))
        self._decoders[d] = self._pass(functools.partial(
            model.decode, domain=d))
    # Through the latent, a translation needs no pass of its own; but a trunk,
    # which cancels in the model's translators, would be evaluated twice.
    if not self._encoders or getattr(model, 'trunk', None) is not None:
      for pair in itertools.permutations(model.domains, 2):
        self._translators[pair] = self._pass(model.translator(*pair).forward)
    if isinstance(model, model_lib.HasDensity):
      for d in model.domains:
        self._densities[d] = self._pass(model[d].log_prob)

  def translator(self, source: str, target: str) -> Servable:
    """The servable `<source>_to_<target>`.

    Signatures, for images `[B, H, W, C]`:

    ```
    serving_default    image -> image
    translate_encoded  image_bytes -> image_bytes (PNG or JPEG in, PNG out)
    round_trip         image -> translated, image, error
    interpolate        image_0, image_1, fraction [B, K] -> source, target, both
                       [B, K, H, W, C]
    encode             image of the source -> latent
    decode             latent -> image of the target
    draw               image, seed [B, 2] -> image
    ```

    `round_trip` gives the translation, the image that comes back, and its
    largest absolute error a row, in units of [0, 1]. A model without latents
    (CycleGAN) has the first three only. `draw` gives one of many translations
    (`one_to_many`), where the target's may be drawn.
    """
    translate = functools.partial(self._translate, source, target)

    def serving_default(image: tf.Tensor) -> Outputs:
      y = translate(self._check(image, 'image'))
      return {'image': checks.finite(y, 'image')}

    def translate_encoded(image_bytes: tf.Tensor) -> Outputs:
      x = codec.decode(
          checks.batch(image_bytes, 'image_bytes', [], self._options.max_batch),
          self._shape,
          self._options.preparations.get(source, codec.Preparation()),
          self._options.max_pixels)
      y = checks.finite(translate(x), 'image_bytes')
      return {'image_bytes': codec.encode(y)}

    def round_trip(image: tf.Tensor) -> Outputs:
      image = self._check(image, 'image')
      translated = checks.finite(translate(image), 'translated')
      back = checks.finite(
          self._translate(target, source, translated), 'image')
      return {'translated': translated, 'image': back,
              'error': tf.reduce_max(tf.abs(back - image), axis=[1, 2, 3])}

    def interpolate(image_0: tf.Tensor, image_1: tf.Tensor,
                    fraction: tf.Tensor) -> Outputs:
      return self._interpolate(image_0, image_1, fraction, source,
                               {'source': source, 'target': target})

    def draw(image: tf.Tensor, seed: tf.Tensor) -> Outputs:
      image = self._check(image, 'image')
      drawn = self._normal(checks.batch(
          seed, 'seed', [2], self._options.max_batch))
      image = checks.same_rows(image, drawn, ('image', 'seed'))
      z = one_to_many.redraw(
          self._encoders[source](image), drawn, self._options.many[target])
      return {'image': checks.finite(self._decoders[target](z), 'image')}

    functions = {
        'serving_default': _function(serving_default, image=self._images),
        'round_trip': _function(round_trip, image=self._images),
    }
    if self._encoders:
      functions |= {
          'interpolate': self._interpolation(interpolate),
          'encode': self._encode(source),
          'decode': self._decode(target),
      }
      if target in self._options.many:
        functions['draw'] = _function(draw, image=self._images, seed=_SEEDS)
    if self._shape[2] in (1, 3):
      functions['translate_encoded'] = _function(
          translate_encoded, image_bytes=tf.TensorSpec([None], tf.string))
    return Servable(f'{source}_to_{target}', functions)

  def _translate(self, source: str, target: str, x: tf.Tensor) -> tf.Tensor:
    if self._translators:
      return self._translators[source, target](x)
    return self._decoders[target](self._encoders[source](x))

  def domain(self, name: str) -> Servable:
    """The servable of one domain.

    Signatures, for images `[B, H, W, C]`:

    ```
    serving_default  the same as log_prob; as encode without densities
    log_prob         image -> log_prob (nats), bits_per_dim
    encode           image -> latent
    decode           latent -> image
    sample           seed [B, 2], temperature [B] -> image, latent
    interpolate      image_0, image_1, fraction [B, K] -> image [B, K, H, W, C]
    ```

    A row of `sample` is a function of its own seed. Domains of one model that
    are given equal seeds give samples of one latent, that is paired samples
    (section 3.4 of the paper). A model has `log_prob` if it has densities, and
    the others if it has latents.

    Raises:
      ValueError: If the model has neither densities nor latents.
    """
    if not self._encoders and not self._densities:
      raise ValueError(
          f'`name` {name!r}: {type(self._model).__name__} has no densities and '
          'latents, so domains cannot be served; translators can.')

    def log_prob(image: tf.Tensor) -> Outputs:
      nats = checks.finite(
          self._densities[name](self._check(image, 'image')), 'log_prob')
      return {
          'log_prob': nats,
          'bits_per_dim': images_lib.bits_per_dim(nats, self._model.event_size)
      }

    def sample(seed: tf.Tensor, temperature: tf.Tensor) -> Outputs:
      limit = self._options.max_batch
      seed = checks.batch(seed, 'seed', [2], limit)
      temperature = checks.values(
          checks.batch(temperature, 'temperature', [], limit), 'temperature',
          0., MAX_TEMPERATURE)
      seed = checks.same_rows(seed, temperature, ('seed', 'temperature'))
      z = self._normal(seed)
      z *= temperature[:, tf.newaxis, tf.newaxis, tf.newaxis]
      x = checks.finite(self._decoders[name](z), 'image')
      return {'image': x, 'latent': z}

    def interpolate(image_0: tf.Tensor, image_1: tf.Tensor,
                    fraction: tf.Tensor) -> Outputs:
      return self._interpolate(
          image_0, image_1, fraction, name, {'image': name})

    signatures: dict[str, Function] = {}
    if self._densities:
      signatures['log_prob'] = _function(log_prob, image=self._images)
    if self._encoders:
      signatures |= {
          'encode': self._encode(name),
          'decode': self._decode(name),
          'sample': _function(
              sample, seed=_SEEDS,
              temperature=tf.TensorSpec([None], tf.float32)),
          'interpolate': self._interpolation(interpolate),
      }
    default = signatures['log_prob' if self._densities else 'encode']
    return Servable(name, {'serving_default': default, **signatures})

  def _pass(self, fn: Pass) -> Pass:
    """A pass in the model's type, traced on its own.

    Tensors of different functions are different, so TFP's cache cannot hand an
    earlier input back in place of an inverse.
    """
    def cast(x: tf.Tensor) -> tf.Tensor:
      x = tf.cast(x, self._model.dtype)
      return tf.cast(tracked.for_any_batch(fn, x), tf.float32)

    return tf.function(
        cast, autograph=False, input_signature=[self._images])

  def _check(self, image: tf.Tensor, name: str) -> tf.Tensor:
    return checks.images(image, name, self._shape, self._options.max_batch)

  def _normal(self, seed: tf.Tensor) -> tf.Tensor:
    """A latent for each row of seeds `[B, 2]`."""
    # Philox by name: 'auto' depends on the device.
    return tf.map_fn(
        lambda s: tf.random.stateless_normal(self._shape, s, alg='philox'),
        seed, fn_output_signature=tf.TensorSpec(self._shape, tf.float32))

  def _encode(self, domain: str) -> Function:
    def encode(image: tf.Tensor) -> Outputs:
      z = self._encoders[domain](self._check(image, 'image'))
      return {'latent': checks.finite(z, 'latent')}

    return _function(encode, image=self._images)

  def _decode(self, domain: str) -> Function:
    def decode(latent: tf.Tensor) -> Outputs:
      latent = checks.latents(
          latent, 'latent', self._shape, self._options.max_batch)
      return {'image': checks.finite(self._decoders[domain](latent), 'image')}

    return _function(decode, latent=self._images)

  def _interpolation(self, fn: Callable[..., Outputs]) -> Function:
    return _function(fn, image_0=self._images, image_1=self._images,
                     fraction=self._fractions)

  def _interpolate(
      self, image_0: tf.Tensor, image_1: tf.Tensor, fraction: tf.Tensor,
      domain: str, outputs: dict[str, str]) -> Outputs:
    """Frames on the polar path between images (section 5.3).

    Args:
      image_0: Images `[B, H, W, C]` where the fraction is 0.
      image_1: Images where it is 1.
      fraction: Fractions of the way, `[B, K]` in [0, 1].
      domain: Domain of the images.
      outputs: For each output, the domain that the path is decoded into.

    Returns:
      The outputs, `[B, K, H, W, C]`.
    """
    limit = self._options.max_batch
    fraction = checks.values(
        checks.batch(fraction, 'fraction', [None], limit), 'fraction', 0., 1.)
    frames = tf.size(fraction)
    count = tf.debugging.Assert(frames <= limit, [
        tf.strings.join([
            f'`fraction` must ask for at most {limit} frames a request, got ',
            tf.strings.as_string(frames)])])
    with tf.control_dependencies([count]):
      fraction = tf.identity(fraction)
    x0 = self._check(image_0, 'image_0')
    x1 = self._check(image_1, 'image_1')
    x0 = checks.same_rows(x0, x1, ('image_0', 'image_1'))
    x0 = checks.same_rows(x0, fraction, ('image_0', 'fraction'))
    phi = math.pi / 2. * (1. - fraction)[..., None, None, None]
    z = (tf.sin(phi) * self._encoders[domain](x0)[:, tf.newaxis] +
         tf.cos(phi) * self._encoders[domain](x1)[:, tf.newaxis])
    flat = tf.reshape(z, [-1, *self._shape])
    return {
        output: tf.reshape(
            checks.finite(self._decoders[d](flat), output), tf.shape(z))
        for output, d in outputs.items()
    }


def _function(fn: Callable[..., Outputs], **specs: tf.TensorSpec) -> Function:
  """A function whose inputs have the names that clients use."""
  return tf.function(fn, autograph=False, input_signature=[
      tf.TensorSpec(spec.shape, spec.dtype, name)
      for name, spec in specs.items()])

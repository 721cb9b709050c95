"""PNG and JPEG in, PNG out, as graph operations."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf.data import pictures
from alignflow_tf.data import pixels

__all__ = ['MAX_PIXELS', 'Preparation', 'decode', 'encode']

# Decoding is row by row, so this bounds the memory of a request of any length:
# as float32 with alpha, a picture of this size takes 256 MB.
MAX_PIXELS = 2**24
_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8\xff'
# Cameras put the Exif block right after the first marker.
_EXIF_WINDOW = 8192


@dataclasses.dataclass(frozen=True)
class Preparation:
  """How a picture of any size becomes an image of the model, as in training.

  Attributes:
    fit: 'crop', 'stretch' or 'pad'; see `alignflow_tf.data.pictures.FITS`.
    method: Method of `tf.image.resize`, with antialiasing.
    load_size: Height and width before the middle of the model's size is cut
      out, as in evaluation; None for the model's size itself.
  """
  fit: str = 'crop'
  method: str = 'bilinear'
  load_size: int | None = None

  @classmethod
  def of(cls, facts: Mapping[str, Any], domain: str,
         load_size: int | None = None) -> Preparation:
    """Reads the rule of a domain from a run's `data.json`.

    Args:
      facts: What `DomainSet.describe` gave; may be empty.
      domain: Name of the domain.
      load_size: `load_size` of the run's configuration.

    Returns:
      The rule; where nothing is known, that of picture folders.
    """
    rule = facts.get('domains', {}).get(domain, {}).get('resizing')
    if rule is None:
      return cls(load_size=load_size)
    for fit, words in pictures.FITS.items():
      if rule.startswith(words):
        return cls(fit, load_size=load_size)
    # Data sets of one image size are resized whole.
    return cls('stretch', 'bicubic' if rule.startswith('bicubic') else
               'bilinear')

  def apply(self, image: tf.Tensor, orientation: tf.Tensor,
            event_shape: tuple[int, int, int]) -> tf.Tensor:
    """Brings a decoded picture to the model's size and channels.

    Args:
      image: uint8 `[h, w, c]`, c from 1 to 4.
      orientation: Exif orientation, 1 to 8.
      event_shape: `(H, W, C)`, C being 1 or 3.

    Returns:
      uint8 `[H, W, C]`.
    """
    size, channels = event_shape[:2], event_shape[2]
    if self.method == 'bilinear':
      loaded = (self.load_size,) * 2 if self.load_size else size
      image = pictures.Recipe(loaded, channels, self.fit).apply(
          image, orientation)
      top, left = ((a - b) // 2 for a, b in zip(loaded, size, strict=True))
      return image[top:top + size[0], left:left + size[1]]
    image = pixels.to_channels(tf.cast(image, tf.float32), channels)
    image = tf.ensure_shape(image, [None, None, channels])
    image = tf.image.resize(image, size, self.method, antialias=True)
    return tf.ensure_shape(pixels.to_uint8(image), event_shape)


def decode(data: tf.Tensor, event_shape: tuple[int, int, int],
           preparation: Preparation, max_pixels: int = MAX_PIXELS,
           name: str = 'image_bytes') -> tf.Tensor:
  """Decodes PNG and JPEG pictures into images of a model.

  The size that a header claims is checked before anything is decoded.

  Args:
    data: Strings `[B]`.
    event_shape: `(H, W, C)` of the model's images, C being 1 or 3.
    preparation: How pictures are brought to that shape.
    max_pixels: Largest width * height that is decoded.
    name: Name of the input, for messages.

  Returns:
    float32 images `[B, H, W, C]` in (0, 1), levels at the middle of their bins.
  """

  def one(args: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    row, text = args
    says = tf.strings.join(
        [f'`{name}` must hold PNG or JPEG pictures, but row ',
         tf.strings.as_string(row), ' '])
    kind = _check_kind(text, says)
    with tf.control_dependencies([kind]):
      text = tf.identity(text)
    with tf.control_dependencies([_check_size(text, says, max_pixels)]):
      image = tf.io.decode_image(
          text, channels=0, expand_animations=False, name='decode_picture')
    image = tf.ensure_shape(image, [None, None, None])
    return preparation.apply(image, _orientation(text), event_shape)

  levels = tf.map_fn(
      one, (tf.range(tf.size(data)), data), parallel_iterations=1,
      fn_output_signature=tf.TensorSpec(event_shape, tf.uint8))
  return images_lib.from_uint8(levels)


def encode(images: tf.Tensor) -> tf.Tensor:
  """Encodes images `[B, H, W, C]` as PNG, clipped to [0, 1]; strings `[B]`."""
  return tf.map_fn(
      tf.io.encode_png, images_lib.to_uint8(images),
      fn_output_signature=tf.TensorSpec([], tf.string))


def _starts_with(text: tf.Tensor, start: bytes) -> tf.Tensor:
  return tf.equal(tf.strings.substr(text, 0, len(start)), start)


def _check_kind(text: tf.Tensor, says: tf.Tensor) -> tf.Operation:
  """Checks the magic numbers; other formats have weaker decoders."""
  png = _starts_with(text, _PNG) & tf.equal(
      _bytes(text, 26)[12:16], tf.constant(list(b'IHDR'), tf.uint8))
  size = tf.strings.length(text)
  words = tf.where(
      tf.equal(size, 0), tf.constant('is an empty string'),
      tf.strings.join([
          'is something else (', tf.strings.as_string(size), ' bytes)']))
  return tf.debugging.Assert(
      tf.reduce_all(png) | _starts_with(text, _JPEG),
      [tf.strings.join([says, words])])


def _check_size(text: tf.Tensor, says: tf.Tensor,
                max_pixels: int) -> tf.Operation:
  def png_size() -> tf.Tensor:
    head = tf.cast(_bytes(text, 24)[16:24], tf.int64)
    weights = tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64)
    width, height = tf.unstack(
        tf.reduce_sum(tf.reshape(head, [2, 4]) * weights, axis=1))
    return tf.stack([height, width])

  def jpeg_size() -> tf.Tensor:
    return tf.cast(tf.io.extract_jpeg_shape(text)[:2], tf.int64)

  size = tf.cond(_starts_with(text, _PNG), png_size, jpeg_size)
  size = tf.ensure_shape(size, [2])
  # PNG allows 2**31 - 1 a side, whose product is within int64.
  good = tf.reduce_all(size > 0) & (size[0] * size[1] <= max_pixels)
  return tf.debugging.Assert(good, [tf.strings.join([
      says, 'is ', tf.strings.as_string(size[1]), ' by ',
      tf.strings.as_string(size[0]),
      f' pixels; from 1 to {max_pixels} are decoded'])])


def _bytes(text: tf.Tensor, count: int) -> tf.Tensor:
  """The first bytes of a string, zeros where it is shorter; uint8 `[count]`."""
  padded = tf.strings.substr(text, 0, count) + b'\0' * count
  head = tf.io.decode_raw(tf.strings.substr(padded, 0, count), tf.uint8)
  return tf.ensure_shape(head, [count])


def _orientation(text: tf.Tensor) -> tf.Tensor:
  """Exif orientation of a JPEG, 1 (upright) where it says nothing."""
  return tf.cond(
      _starts_with(text, _JPEG), lambda: _exif_orientation(text),
      lambda: tf.constant(1))


def _exif_orientation(text: tf.Tensor) -> tf.Tensor:
  head = tf.cast(_bytes(text, _EXIF_WINDOW), tf.int32)
  # Marker APP1, two bytes of length, 'Exif', two zeros, then a TIFF header.
  pattern = [0xff, 0xe1, None, None, *b'Exif', 0, 0]
  room = _EXIF_WINDOW - len(pattern)
  match = tf.ones([room], tf.bool)
  for i, byte in enumerate(pattern):
    if byte is not None:
      match &= tf.equal(head[i:i + room], byte)
  found = tf.reduce_any(match)
  tiff = tf.argmax(tf.cast(match, tf.int32), output_type=tf.int32) + len(
      pattern)
  little = tf.equal(tf.gather(head, tiff), ord('I'))

  def number(at: tf.Tensor, size: int) -> tf.Tensor:
    """Unsigned integers at offsets; those outside of the window are 0."""
    at = tf.convert_to_tensor(at)
    places = at[..., tf.newaxis] + tf.range(size)
    inside = (places >= 0) & (places < _EXIF_WINDOW)
    digits = tf.where(
        inside, tf.gather(head, tf.where(inside, places, 0)), 0)
    digits = tf.where(little, tf.reverse(digits, [-1]), digits)
    # Four bytes may come out negative, which is outside of the window too.
    return tf.reduce_sum(
        digits * [1 << 8 * (size - 1 - i) for i in range(size)], axis=-1)

  # An offset beyond the window finds no entries.
  directory = tiff + tf.clip_by_value(number(tiff + 4, 4), 0, _EXIF_WINDOW)
  entries = tf.minimum(number(directory, 2), _EXIF_WINDOW // 12)
  places = directory + 2 + 12 * tf.range(entries)
  is_orientation = tf.equal(number(places, 2), 0x0112)
  value = number(places + 8, 2)
  value = tf.reduce_max(tf.where(is_orientation, value, 0))
  return tf.where(found & (value >= 1) & (value <= 8), value, 1)

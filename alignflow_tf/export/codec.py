"""PNG and JPEG in, PNG out, as graph operations."""

from __future__ import annotations

import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf.data import decoding
from alignflow_tf.data.preparation import Preparation
from alignflow_tf.export import orientation as orientation_lib

# The limit of training. A request's pictures are decoded one by one, so it
# bounds the memory of a request of any length: 0.65 GB, measured, for an
# upright PNG of this size with transparency.
MAX_PIXELS = decoding.MAX_PIXELS
_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8\xff'


def decode(data: tf.Tensor, event_shape: tuple[int, int, int],
           preparation: Preparation, max_pixels: int = MAX_PIXELS,
           name: str = 'image_bytes') -> tf.Tensor:
  """Decodes PNG and JPEG pictures into images of a model.

  The size that a header claims is checked before anything is decoded. The
  pixels are those of training: the same decoders' arithmetic as Pillow's,
  transparency over white, the Exif orientation applied.

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
      text = tf.identity(text)
    is_png = _starts_with(text, _PNG)
    image = tf.cond(is_png, lambda: _decode_png(text), lambda: _decode_jpeg(
        text))
    image = tf.ensure_shape(image, [None, None, None])
    orientation = orientation_lib.read(text, is_png, says)
    return preparation.apply(image, orientation, event_shape)

  levels = tf.map_fn(
      one, (tf.range(tf.size(data)), data), parallel_iterations=1,
      fn_output_signature=tf.TensorSpec(event_shape, tf.uint8))
  return images_lib.from_uint8(levels)


def encode(images: tf.Tensor) -> tf.Tensor:
  """Encodes images `[B, H, W, C]` as PNG, clipped to [0, 1]; strings `[B]`."""
  return tf.map_fn(
      tf.io.encode_png, images_lib.to_uint8(images),
      fn_output_signature=tf.TensorSpec([], tf.string))


def _decode_png(text: tf.Tensor) -> tf.Tensor:
  # Four channels have transparent colours and palettes expanded to alpha.
  image = tf.io.decode_png(text, channels=4, name='decode_picture')
  head = tf.cast(_bytes(text, 26), tf.int32)
  bits, kind = head[24], head[25]
  colour, alpha = image[..., :3], image[..., 3:]
  # TF 2.21 writes an opaque alpha of 1, 2 or 4 bits into 8 without scaling it.
  full = tf.cast(tf.bitwise.left_shift(1, bits) - 1, tf.uint8)
  alpha = tf.cond(
      (bits < 8) & tf.reduce_all(alpha == full),
      lambda: tf.ones_like(alpha) * 255, lambda: alpha)
  # Colour types 0 and 4: grey, and grey with alpha.
  colour = tf.cond(
      (kind == 0) | (kind == 4), lambda: colour[..., :1], lambda: colour)
  return tf.concat([colour, alpha], axis=-1)


def _decode_jpeg(text: tf.Tensor) -> tf.Tensor:
  # Pillow's arithmetic; the default is faster, and up to 5 levels off.
  return tf.io.decode_jpeg(text, dct_method='INTEGER_ACCURATE')


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

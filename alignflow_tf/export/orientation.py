"""Exif orientation of a JPEG or PNG, as graph operations.

A server turns a picture as training does, where Pillow reads the orientation
from Exif or XMP in many places. The graph reads the Exif block wherever it
stands before the pixels. It cannot read an Exif block behind the pixels of a
PNG, compressed metadata, or an orientation in XMP alone. It refuses pictures
with these, so that no picture is left unturned silently.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Blocks of metadata before the pixels; real pictures have a dozen.
_MOST_BLOCKS = 1000
# Length of a JPEG's block of metadata, which says it in 16 bits.
_WINDOW = 2**16
# Orientations that Pillow reads and this graph does not. `\C` is any byte.
_HIDDEN = (
    r'(?s)\C*(?:eXIf(?:II\*\x00|MM\x00\*|Exif)|Raw profile type exif\x00|'
    r'XML:com\.adobe\.xmp\x00\x01|tiff:Orientation(?:="|>)[2-8])\C*')
_TAG = 0x0112
# Bytes of a value by its type: BYTE, SHORT, LONG and their signed kinds.
_TYPES = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4}


def read(text: tf.Tensor, is_png: tf.Tensor, says: tf.Tensor) -> tf.Tensor:
  """The orientation of a picture.

  Returns:
    int32 scalar, 1 to 8 as in Exif 2.3, section 4.6.4; 1 (upright) where the
    picture says nothing.

  Raises:
    tf.errors.InvalidArgumentError: If the picture may have to be turned and
      the graph can't tell how.
  """
  start, size, blocks = tf.cond(
      is_png, lambda: _find(text, 8, _png_block),
      lambda: _find(text, 2, _jpeg_block))
  too_many = tf.debugging.Assert(blocks < _MOST_BLOCKS, [tf.strings.join([
      says, f'has {_MOST_BLOCKS} blocks of metadata or more before its '
      'pixels'])])
  with tf.control_dependencies([too_many]):
    block = tf.strings.substr(text, start, size)
  # Some programs repeat the JPEG's mark in a PNG.
  block = tf.cond(
      _begins(block, b'Exif\0\0'),
      lambda: tf.strings.substr(block, 6, _WINDOW), lambda: block)
  value = tf.cond(size > 0, lambda: _parse(block), lambda: tf.constant(0))
  hidden = (value == 0) & tf.strings.regex_full_match(text, _HIDDEN)
  check = tf.debugging.Assert(tf.logical_not(hidden), [tf.strings.join([
      says, 'has metadata that may turn it, where this server cannot read them '
      '(in XMP, compressed, or behind the pixels); save it upright'])])
  with tf.control_dependencies([check]):
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _begins(text: tf.Tensor, start: bytes) -> tf.Tensor:
  return tf.equal(tf.strings.substr(text, 0, len(start)), start)


def _bytes(text: tf.Tensor, count: int) -> tf.Tensor:
  """The first bytes of a string, zeros behind its end; int32 `[count]`."""
  padded = tf.strings.substr(text, 0, count) + b'\0' * count
  head = tf.io.decode_raw(tf.strings.substr(padded, 0, count), tf.uint8)
  return tf.cast(tf.ensure_shape(head, [count]), tf.int32)


def _number(digits: tf.Tensor) -> tf.Tensor:
  """Big-endian unsigned integers from `[..., n]`; n = 4 may come out < 0."""
  count = digits.shape[-1]
  return tf.reduce_sum(
      digits * [1 << 8 * (count - 1 - i) for i in range(count)], axis=-1)


def _find(
    text: tf.Tensor,
    first: int,
    look: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor,
                                      tf.Tensor]],
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Walks over the blocks of a file, up to its Exif block or its pixels.

  Args:
    text: The file.
    first: Offset of the first block.
    look: From the first 12 bytes at a block: whether to stop, the bytes to the
      next block, and the offset and size of the Exif data (0 for none).

  Returns:
    Offset and size of the Exif data, 0 for none, and the number of blocks.
  """
  length = tf.strings.length(text)
  zero = tf.constant(0)

  def step(at: tf.Tensor, count: tf.Tensor, start: tf.Tensor, size: tf.Tensor,
           going: tf.Tensor) -> tuple[tf.Tensor, ...]:
    del start, size, going
    stop, skip, inner, size = look(_bytes(tf.strings.substr(text, at, 12), 12))
    start = tf.where(size > 0, at + inner, 0)
    # A block that ends behind the file is the decoder's to refuse.
    skip = tf.where((skip > 0) & (skip < length - at), skip, length - at)
    at += skip
    going = tf.logical_not(stop) & (size <= 0) & (at < length)
    return at, count + 1, start, size, going

  at = tf.minimum(first, length)
  _, count, start, size, _ = tf.while_loop(
      lambda at, count, start, size, going: going & (count < _MOST_BLOCKS),
      step, (at, zero, zero, zero, at < length), parallel_iterations=1)
  start = tf.minimum(start, length)
  return start, tf.clip_by_value(size, 0, length - start), count


def _png_block(head: tf.Tensor) -> tuple[tf.Tensor, ...]:
  """A chunk: length, name, data, checksum."""
  size, name = _number(head[:4]), _number(head[4:8])
  stop = (name == _code(b'IDAT')) | (name == _code(b'IEND'))
  is_exif = name == _code(b'eXIf')
  # A length of 2**31 and more is negative here, and ends the walk.
  skip = tf.where((size >= 0) & (size < 2**30), size + 12, -1)
  return stop, skip, tf.constant(8), tf.where(is_exif, size, 0)


def _code(name: bytes) -> int:
  return int.from_bytes(name, 'big')


def _jpeg_block(head: tf.Tensor) -> tuple[tf.Tensor, ...]:
  """A segment: two bytes of marker, then two of length, which count."""
  marker = head[1]
  alone = (marker == 0x01) | ((marker >= 0xd0) & (marker <= 0xd8))
  stop = (head[0] != 0xff) | (marker == 0xd9) | (marker == 0xda)
  size = _number(head[2:4])
  is_exif = (marker == 0xe1) & tf.reduce_all(
      tf.equal(head[4:10], tf.constant(list(b'Exif\0\0'))))
  skip = tf.where(marker == 0xff, 1, tf.where(alone, 2, size + 2))
  return stop, skip, tf.constant(10), tf.where(is_exif, size - 8, 0)


def _parse(block: tf.Tensor) -> tf.Tensor:
  """The orientation in a TIFF structure; 0 where there is none."""
  data = _bytes(block, _WINDOW)
  little = tf.equal(data[0], ord('I'))
  known = tf.reduce_any(tf.reduce_all(tf.equal(
      data[:4], tf.constant([list(b'II*\0'), list(b'MM\0*')])), axis=1))

  def number(at: tf.Tensor, size: int) -> tf.Tensor:
    """Unsigned integers at offsets; those outside of the block are 0."""
    places = tf.convert_to_tensor(at)[..., tf.newaxis] + tf.range(size)
    inside = (places >= 0) & (places < _WINDOW)
    digits = tf.where(
        inside, tf.gather(data, tf.where(inside, places, 0)), 0)
    digits = tf.ensure_shape(digits, digits.shape[:-1].concatenate(size))
    return _number(tf.where(little, tf.reverse(digits, [-1]), digits))

  # An offset behind the block finds no entries.
  directory = tf.clip_by_value(number(tf.constant(4), 4), 0, _WINDOW)
  entries = tf.minimum(number(directory, 2), _WINDOW // 12)
  places = directory + 2 + 12 * tf.range(entries)
  is_tag = (number(places, 2) == _TAG) & (number(places + 4, 4) == 1)
  kind = number(places + 2, 2)
  value = tf.zeros_like(kind)
  for code, size in _TYPES.items():
    value = tf.where(kind == code, number(places + 8, size), value)
  value = tf.reduce_max(tf.where(is_tag, value, 0))
  return tf.where(known, tf.maximum(value, 0), 0)

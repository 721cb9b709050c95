"""Reads picture files with Pillow.

`inspect` reads a header, without TensorFlow and without decoding; `decode`
reads the pixels, by these rules:

* Orientation: the picture is turned as its Exif or XMP block says, in every
format.
* Transparency: kept as an alpha channel, be it one in the file, a transparent
colour, or transparent entries of a palette. `pixels.resize` blends it over
white.
* 16 bits: the range 0..65535 becomes 0..255 by dropping the low byte, so pure
white stays white. Whole numbers of 32 bits and floats have no known range and
are refused.
* Palettes, CMYK, YCbCr: Pillow's conversion to RGB. Colour profiles are not
applied.
* Animations and multi-page files: the first picture.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import os
import re
from typing import Any, BinaryIO

import numpy as np
from PIL import features
from PIL import Image
from PIL import ImageOps

from alignflow_tf import _io

MAX_PIXELS = 64_000_000
# Trusted decoders only: Pillow would start Ghostscript for an EPS file.
_FORMATS = ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'AVIF', 'HEIF')
_HEIF = ('.heic', '.heics', '.heif', '.heifs', '.hif')
_AVIF = ('.avif', '.avifs')
_JPEG_END = b'\xff\xd9'
_TAIL = 4096
# White is 1, 3 or 15 in the file.
_FEW_BITS = {'1': 255, 'L;2': 85, 'L;4': 17}
_GREY = ('1', 'L', 'LA', 'La')


class UnreadableError(Exception):
  """A file that is no picture of a supported format; the text says why."""


@dataclasses.dataclass(frozen=True)
class Header:
  """The facts of a picture in its header.

  Attributes:
    kind: Pillow's name of the format, such as 'JPEG'.
    width: Width in pixels, once the picture is upright.
    height: Height in pixels, once the picture is upright.
    grey: Whether the file can hold greys only.
    bits: Bits per channel, 8 or 16.
  """

  kind: str
  width: int
  height: int
  grey: bool = False
  bits: int = 8


@functools.cache
def formats() -> tuple[str, ...]:
  """Pillow's names of the formats that can be read here.

  HEIF needs the package pillow-heif (`pip install 'alignflow_tf[heif]'`).
  """
  try:
    import pillow_heif  # pylint: disable=import-outside-toplevel
    pillow_heif.register_heif_opener()
  except ImportError:
    pass
  Image.init()
  lacking = {name.upper() for name in ('avif', 'webp')
             if not features.check(name)}
  return tuple(f for f in _FORMATS if f in Image.OPEN and f not in lacking)


@functools.cache
def extensions() -> frozenset[str]:
  """Extensions of the files that are read, in lower case: '.jpg', ..."""
  known = (*formats(), 'MPO')  # JPEGs of two views; the first is read.
  return frozenset(
      e for e, f in Image.registered_extensions().items() if f in known)


def way_out(extension: str) -> str:
  """Advice on files of an extension that is not read, or ''."""
  if extension in _HEIF:
    return "pip install 'alignflow_tf[heif]'"
  if extension in _AVIF:
    return "pip install 'pillow>=11.3'"
  return ''


def inspect(path: str, max_pixels: int = MAX_PIXELS) -> Header:
  """Reads the header of a picture, and looks for its end.

  The end is looked for in JPEG, in WebP, and in PNG together with the
  checksums. Other formats show that they are cut short when they are decoded.

  Raises:
    UnreadableError: If it is not a supported picture, cut short, or too large.
  """
  with _opened(path) as (file, image):
    width, height = image.size
    if width * height > max_pixels:
      raise UnreadableError(
          f'it has {width}x{height} = {width * height:,} pixels, above '
          f'`max_pixels` = {max_pixels:,}')
    if image.mode in ('I', 'F') and image.format != 'PNG':
      raise UnreadableError(_range_unknown(image))
    # Pillow turns a TIFF itself, and would decode a PNG without Exif to look
    # behind its pixels.
    turnable = image.format != 'TIFF' and (
        image.format != 'PNG' or 'exif' in image.info)
    if turnable and _orientation(image) >= 5:
      width, height = height, width
    header = Header(
        str(image.format), width, height, _is_grey(image),
        16 if image.mode.startswith('I') or ';16' in _raw_mode(image) else 8)
    if image.format == 'PNG':
      if image.mode == 'P' and image.palette is None:
        raise UnreadableError('its PNG palette is missing')
      try:
        image.verify()
      except Exception as error:
        raise UnreadableError(
            f'it is damaged or cut short ({_io.first_line(error)})') from error
    elif image.format == 'JPEG':
      _check_jpeg_end(file)
  return header


def decode(path: str) -> np.ndarray:
  """Decodes a picture and turns it upright.

  Args:
    path: The file. Its size in pixels has been checked by `inspect`.

  Returns:
    uint8 [height, width, c]; c is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4
    (RGB, alpha).

  Raises:
    UnreadableError: If it cannot be decoded.
  """
  with _opened(path) as (_, image):
    raw = _raw_mode(image)
    try:
      image.load()
      if ';16' in raw and image.mode == 'RGB' and 'transparency' in image.info:
        raise UnreadableError(
            'it has 16-bit colours and a transparent one, which cannot be told '
            'apart in 8 bits; save it with 8 bits a channel')
      if image.format == 'PNG' and raw in _FEW_BITS and (
          'transparency' in image.info):
        # Pillow scales the levels to 8 bits, and not the transparent one.
        image.info['transparency'] *= _FEW_BITS[raw]
      if _orientation(image) > 1:
        image = ImageOps.exif_transpose(image)
      if raw.startswith('LA'):  # Of 16 bits; Pillow makes it RGBA.
        image = image.convert('LA')
      return _to_array(image)
    except UnreadableError:
      raise
    except Exception as error:
      raise UnreadableError(
          f'it cannot be decoded ({_io.first_line(error)})') from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[BinaryIO, Any]]:
  """A picture file, open, and Pillow's image of its header.

  Raises:
    UnreadableError: If it cannot be opened, or its header is no picture's.
  """
  try:
    file = open(path, 'rb')  # pylint: disable=consider-using-with
  except OSError as error:
    raise UnreadableError(f'{error.strerror or error}') from error
  with file:
    yield file, _identified(file)


def _identified(file: BinaryIO) -> Any:
  start = file.read(12)
  if not start:
    raise UnreadableError('it is empty (0 bytes)')
  file.seek(0)
  try:
    return Image.open(file, formats=formats())
  except (Image.DecompressionBombError,
          Image.DecompressionBombWarning) as error:
    found = re.search(r'\((\d+) pixels\)', str(error))
    count = f'{int(found[1]):,}' if found else 'too many'
    raise UnreadableError(
        f'it has {count} pixels, more than `max_pixels` and than Pillow '
        'reads (twice PIL.Image.MAX_IMAGE_PIXELS)') from error
  except Image.UnidentifiedImageError as error:
    raise UnreadableError(
        f'its content is not {", ".join(formats())}, or its header is '
        f'damaged (it begins with {start!r})') from error
  except Exception as error:
    raise UnreadableError(
        f'its header is damaged ({_io.first_line(error)})') from error


def _orientation(image: Any) -> int:
  """Exif or XMP orientation, 1 to 8; 1 where the block is damaged."""
  try:
    value = image.getexif().get(0x0112, 1)
  except Exception:  # Pillow's parsers raise whatever they meet.
    return 1
  return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _raw_mode(image: Any) -> str:
  """Layout of the pixels in the file, such as 'RGB;16B'; before `load`."""
  if not image.tile:
    return ''
  arguments = image.tile[0][3]
  return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _is_grey(image: Any) -> bool:
  if image.mode != 'P':
    return (image.mode in _GREY or image.mode.startswith('I')
            or _raw_mode(image).startswith('LA'))
  order, table = image.palette.getdata() if image.palette else ('', b'')
  if order not in ('RGB', 'BGR', 'BGRX'):
    return False
  size = len(order)
  colours = np.frombuffer(table[:len(table) // size * size], np.uint8)
  colours = colours.reshape(-1, size)[:, :3]
  return bool((colours == colours[:, :1]).all())


def _check_jpeg_end(file: BinaryIO) -> None:
  """Looks for the marker that ends a JPEG; pixels never look like it.

  Pillow has read up to the pixels; a thumbnail before them has an end of its
  own. Data after the end are legal (phones append a film), so where the tail
  has no marker the whole rest is read.
  """
  pixels = file.tell()
  size = file.seek(0, os.SEEK_END)
  for start in (max(pixels, size - _TAIL), pixels):
    file.seek(start)
    if _JPEG_END in file.read():
      return
  raise UnreadableError(
      f'it is cut short: it ends after {size:,} bytes, before its end marker')


def _range_unknown(image: Any) -> str:
  kind = 'whole numbers' if image.mode == 'I' else 'floats'
  return (f'it holds {kind} of 32 bits, whose range for black and white is not '
          'known; save it with 8 or 16 bits a channel')


def _to_array(image: Any) -> np.ndarray:
  """Pixels as uint8 [h, w, c], transparency as an alpha channel."""
  mode, key = image.mode, image.info.get('transparency')
  if mode.startswith('I'):
    values = np.asarray(image)
    if values.ndim != 2 or values.min() < 0 or values.max() > 65535:
      raise UnreadableError(_range_unknown(image))
    planes = [(values >> 8).astype(np.uint8)]
    if isinstance(key, int):
      planes.append(np.where(values == key, 0, 255).astype(np.uint8))
    return np.stack(planes, axis=-1)
  if mode == 'F':
    raise UnreadableError(_range_unknown(image))
  wanted = 'L' if mode in _GREY else 'RGB'
  if image.has_transparency_data:
    wanted += 'A'
  if image.mode != wanted:
    image = image.convert(wanted)
  array = np.asarray(image)
  return array[..., np.newaxis] if array.ndim == 2 else array

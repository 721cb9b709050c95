"""Reads what a picture's header says, before anything is decoded.

A 30,000 x 30,000 PNG of one colour is a few kilobytes on disk and gigabytes
in memory, so sizes are looked up here first. The header also says what
TensorFlow's decoders do not apply: a JPEG's Exif orientation, the palette of
an 8-bit BMP, the unused fourth byte of a 32-bit BMP.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from typing import BinaryIO

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.webp')
MAX_PIXELS = 64_000_000
_TAIL = 4096


class UnreadableError(Exception):
  """A file that is no picture of a supported format; the text says why."""


@dataclasses.dataclass(frozen=True)
class Header:
  """What is known of a picture without decoding it.

  Attributes:
    kind: 'JPEG', 'PNG', 'BMP', 'GIF' or 'WebP'.
    width: Stored width in pixels.
    height: Stored height in pixels.
    grey: Whether the file can only hold greys.
    bits: Bits per sample.
    orientation: Exif orientation, 1 to 8.
    ignore_alpha: Whether a fourth channel is padding.
    whole: Whether the end of the file looks as it should. If not, only
      decoding tells (trailing data is legal in most formats).
  """

  kind: str
  width: int
  height: int
  grey: bool = False
  bits: int = 8
  orientation: int = 1
  ignore_alpha: bool = False
  whole: bool = True


def read(path: str, max_pixels: int = MAX_PIXELS) -> Header:
  """Reads the header of a picture.

  Args:
    path: The file.
    max_pixels: Largest width * height that is accepted.

  Returns:
    The header.

  Raises:
    UnreadableError: If it is not a supported picture, or too large.
  """
  try:
    size = os.path.getsize(path)
    if size == 0:
      raise UnreadableError('it is empty (0 bytes)')
    with open(path, 'rb') as file:
      start = file.read(64)
      file.seek(max(0, size - _TAIL))
      tail = file.read(_TAIL)
      file.seek(0)
      header = _parse(file, start, tail, size)
  except OSError as error:
    raise UnreadableError(f'{error.strerror or error}') from error
  except (struct.error, IndexError) as error:
    raise UnreadableError('its header is cut short') from error
  if header.width < 1 or header.height < 1:
    raise UnreadableError(
        f'its header says {header.width}x{header.height} pixels')
  if header.width * header.height > max_pixels:
    raise UnreadableError(
        f'it has {header.width}x{header.height} = '
        f'{header.width * header.height:,} pixels, above `max_pixels` = '
        f'{max_pixels:,}')
  return header


def _parse(file: BinaryIO, start: bytes, tail: bytes, size: int) -> Header:
  if start.startswith(b'\x89PNG\r\n\x1a\n'):
    return _png(file, start, tail)
  if start.startswith(b'\xff\xd8\xff'):
    return _jpeg(file, tail)
  if start.startswith((b'GIF87a', b'GIF89a')):
    return _gif(file, start, tail)
  if start.startswith(b'BM'):
    return _bmp(file, start, size)
  if start[:4] == b'RIFF' and start[8:12] == b'WEBP':
    return _webp(start, size)
  raise UnreadableError(
      'its content is not JPEG, PNG, BMP, GIF or WebP (it begins with '
      f'{start[:12]!r})')


def _png(file: BinaryIO, start: bytes, tail: bytes) -> Header:
  if start[12:16] != b'IHDR':
    raise UnreadableError('its PNG header is damaged')
  width, height, bits, colour = struct.unpack('>IIBB', start[16:26])
  grey = colour in (0, 4)
  if colour == 3:
    file.seek(33)
    while True:
      length, name = struct.unpack('>I4s', file.read(8))
      if name == b'PLTE':
        grey = _grey_table(file.read(length), 3)
        break
      if name in (b'IDAT', b'IEND'):
        raise UnreadableError('its PNG palette is missing')
      file.seek(length + 4, os.SEEK_CUR)
  return Header('PNG', width, height, grey, 8 if colour == 3 else bits,
                whole=b'IEND' in tail)


def _grey_table(table: bytes, step: int) -> bool:
  return all(
      table[i] == table[i + 1] == table[i + 2]
      for i in range(0, len(table) - 2, step))


def _jpeg(file: BinaryIO, tail: bytes) -> Header:
  file.seek(2)
  orientation = 1
  while True:
    marker = file.read(2)
    if len(marker) < 2 or marker[0] != 0xff:
      raise UnreadableError('its JPEG header is damaged or cut short')
    code = marker[1]
    if code == 0xff:  # Padding before a marker.
      file.seek(-1, os.SEEK_CUR)
      continue
    if code == 0x01 or 0xd0 <= code <= 0xd8:
      continue
    if code in (0xd9, 0xda):
      raise UnreadableError('its JPEG header names no size')
    length = struct.unpack('>H', file.read(2))[0]
    if 0xc0 <= code <= 0xcf and code not in (0xc4, 0xc8, 0xcc):
      bits, height, width, parts = struct.unpack('>BHHB', file.read(6))
      if bits != 8:
        raise UnreadableError(f'it is a JPEG of {bits} bits a sample, not 8')
      return Header('JPEG', width, height, parts == 1, bits, orientation,
                    whole=b'\xff\xd9' in tail)
    body = file.read(length - 2) if code == 0xe1 else b''
    if body:
      orientation = _exif_orientation(body) or orientation
    else:
      file.seek(length - 2, os.SEEK_CUR)


def _exif_orientation(body: bytes) -> int | None:
  if not body.startswith(b'Exif\x00\x00'):
    return None
  tiff = body[6:]
  order = {b'II': '<', b'MM': '>'}.get(tiff[:2])
  if order is None:
    return None
  try:
    offset = struct.unpack(order + 'I', tiff[4:8])[0]
    count = struct.unpack(order + 'H', tiff[offset:offset + 2])[0]
    for entry in range(count):
      at = offset + 2 + 12 * entry
      tag, _, _, value = struct.unpack(order + 'HHIH', tiff[at:at + 10])
      if tag == 0x0112:
        return value if 1 <= value <= 8 else None
  except struct.error:
    pass  # A damaged Exif block does not make a picture unreadable.
  return None


def _gif(file: BinaryIO, start: bytes, tail: bytes) -> Header:
  width, height, flags = struct.unpack('<HHB', start[6:11])
  grey = False
  if flags & 0x80:
    file.seek(13)
    grey = _grey_table(file.read(3 * 2 ** ((flags & 7) + 1)), 3)
  return Header('GIF', width, height, grey, whole=b'\x3b' in tail)


def _bmp(file: BinaryIO, start: bytes, size: int) -> Header:
  offset = struct.unpack('<I', start[10:14])[0]
  header_size, width, height = struct.unpack('<Iii', start[14:26])
  bits, compression = struct.unpack('<HI', start[28:34])
  height = abs(height)
  grey = False
  if bits == 8:
    file.seek(14 + header_size)
    table = file.read(max(0, offset - 14 - header_size))
    # TensorFlow takes 8-bit values for greys and never reads the palette.
    grey = len(table) == 1024 and all(
        table[4 * i:4 * i + 3] == bytes((i, i, i)) for i in range(256))
  if compression not in (0, 3) or bits not in (8, 24, 32) or (
      bits == 8 and not grey):
    raise UnreadableError(
        f'it is a BMP of a kind that TensorFlow cannot read ({bits} bits a '
        f'pixel{", with a palette" if bits <= 8 else ""}, compression '
        f'{compression}); save it as PNG')
  row = (width * bits + 31) // 32 * 4
  return Header('BMP', width, height, grey, ignore_alpha=True,
                whole=offset + row * height <= size)


def _webp(start: bytes, size: int) -> Header:
  whole = struct.unpack('<I', start[4:8])[0] + 8 <= size
  kind = start[12:16]
  if kind == b'VP8X':
    if start[20] & 2:
      # Asked for the first frame, TF 2.21 decodes all of them into the memory
      # of one and kills the process.
      raise UnreadableError(
          'it is an animated WebP, which TensorFlow cannot read; save one '
          'frame as PNG')
    width = int.from_bytes(start[24:27], 'little') + 1
    height = int.from_bytes(start[27:30], 'little') + 1
  elif kind == b'VP8L':
    packed = struct.unpack('<I', start[21:25])[0]
    width = (packed & 0x3fff) + 1
    height = (packed >> 14 & 0x3fff) + 1
  elif kind == b'VP8 ':
    width, height = (v & 0x3fff for v in struct.unpack('<HH', start[26:30]))
  else:
    raise UnreadableError('its WebP header is damaged')
  return Header('WebP', width, height, whole=whole)

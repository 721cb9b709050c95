"""Reads what a picture's header says, before anything is decoded.

A 30,000 x 30,000 PNG of one colour is a few kilobytes on disk and gigabytes
in memory, so sizes are looked up here first, and whether the file goes on to
the picture's end, which each format tells without its pixels. The header also
says what TensorFlow's decoders do not apply: a JPEG's Exif orientation, the
palette of an 8-bit BMP, the unused fourth byte of a 32-bit BMP.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from typing import BinaryIO, NoReturn

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.webp')
MAX_PIXELS = 64_000_000
_TAIL = 4096
_JPEG_END = b'\xff\xd9'


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
  """

  kind: str
  width: int
  height: int
  grey: bool = False
  bits: int = 8
  orientation: int = 1
  ignore_alpha: bool = False


def read(path: str, max_pixels: int = MAX_PIXELS) -> Header:
  """Reads the header of a picture, and looks for its end.

  Args:
    path: The file.
    max_pixels: Largest width * height that is accepted.

  Returns:
    The header.

  Raises:
    UnreadableError: If it is not a supported picture, cut short, or too large.
  """
  try:
    size = os.path.getsize(path)
    if size == 0:
      raise UnreadableError('it is empty (0 bytes)')
    with open(path, 'rb') as file:
      start = file.read(64)
      header = _parse(file, start, size)
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


def _parse(file: BinaryIO, start: bytes, size: int) -> Header:
  if start.startswith(b'\x89PNG\r\n\x1a\n'):
    return _png(file, start, size)
  if start.startswith(b'\xff\xd8\xff'):
    return _jpeg(file, size)
  if start.startswith((b'GIF87a', b'GIF89a')):
    return _gif(file, start, size)
  if start.startswith(b'BM'):
    return _bmp(file, start, size)
  if start[:4] == b'RIFF' and start[8:12] == b'WEBP':
    return _webp(start, size)
  raise UnreadableError(
      'its content is not JPEG, PNG, BMP, GIF or WebP (it begins with '
      f'{start[:12]!r})')


def _cut(size: int, what: str) -> NoReturn:
  raise UnreadableError(
      f'it is cut short: it ends after {size:,} bytes, {what}')


def _png(file: BinaryIO, start: bytes, size: int) -> Header:
  if start[12:16] != b'IHDR':
    raise UnreadableError('its PNG header is damaged')
  width, height, bits, colour = struct.unpack('>IIBB', start[16:26])
  grey = colour in (0, 4)
  palette = False
  at, name = 33, b''
  while name != b'IEND':
    file.seek(at)
    chunk = file.read(8)
    if len(chunk) < 8:
      _cut(size, 'before its last chunk')
    length, name = struct.unpack('>I4s', chunk)
    if not name.isalpha():
      raise UnreadableError(f'its PNG is damaged at byte {at:,} of {size:,}')
    if name == b'PLTE':
      palette = True
      grey = grey or colour == 3 and _grey_table(file.read(length), 3)
    elif name == b'IDAT' and colour == 3 and not palette:
      raise UnreadableError('its PNG palette is missing')
    at += length + 12
    if at > size:
      _cut(size, f'within its chunk {name.decode("latin-1")}')
  return Header('PNG', width, height, grey, 8 if colour == 3 else bits)


def _grey_table(table: bytes, step: int) -> bool:
  return all(
      table[i] == table[i + 1] == table[i + 2]
      for i in range(0, len(table) - 2, step))


def _jpeg(file: BinaryIO, size: int) -> Header:
  file.seek(2)
  orientation = 1
  header: Header | None = None
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
      if header is None:
        raise UnreadableError('its JPEG header names no size')
      if code == 0xd9:
        raise UnreadableError('it is a JPEG without pixels')
      _check_jpeg_end(file, size)
      return dataclasses.replace(header, orientation=orientation)
    length = struct.unpack('>H', file.read(2))[0]
    frame = 0xc0 <= code <= 0xcf and code not in (0xc4, 0xc8, 0xcc)
    if length < (8 if frame else 2):  # It counts itself.
      raise UnreadableError('its JPEG header is damaged')
    if frame:
      bits, height, width, parts = struct.unpack('>BHHB', file.read(6))
      if bits != 8:
        raise UnreadableError(f'it is a JPEG of {bits} bits a sample, not 8')
      header = Header('JPEG', width, height, parts == 1, bits)
      file.seek(length - 8, os.SEEK_CUR)
      continue
    body = file.read(length - 2) if code == 0xe1 else b''
    if body:
      orientation = _exif_orientation(body) or orientation
    else:
      file.seek(length - 2, os.SEEK_CUR)


def _check_jpeg_end(file: BinaryIO, size: int) -> None:
  """Looks for the marker that ends a JPEG, which no pixels look like.

  From the pixels on: a thumbnail before them has an end of its own. Data after
  it are legal (phones append a film), so all is read if the tail has none.
  """
  pixels = file.tell()
  file.seek(max(pixels, size - _TAIL))
  if _JPEG_END in file.read():
    return
  file.seek(pixels)
  if _JPEG_END not in file.read():
    _cut(size, 'before its end marker')


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


def _gif(file: BinaryIO, start: bytes, size: int) -> Header:
  """The first frame is what is read, so it is what must be there."""
  width, height, flags = struct.unpack('<HHB', start[6:11])
  grey = False
  file.seek(13)
  if flags & 0x80:
    grey = _grey_table(file.read(3 * 2 ** ((flags & 7) + 1)), 3)
  while (block := file.read(1)) not in (b',', b''):
    if block != b'!':
      raise UnreadableError('it is a GIF without a picture' if block == b';'
                            else 'its GIF header is damaged')
    file.seek(1, os.SEEK_CUR)
    _skip_gif_blocks(file, size)
  descriptor = file.read(9)
  if len(descriptor) < 9:
    _cut(size, 'before its first frame')
  if descriptor[8] & 0x80:  # The frame has colours of its own.
    table = file.read(3 * 2 ** ((descriptor[8] & 7) + 1))
    grey = grey and _grey_table(table, 3)
  file.seek(1, os.SEEK_CUR)
  _skip_gif_blocks(file, size)
  return Header('GIF', width, height, grey)


def _skip_gif_blocks(file: BinaryIO, size: int) -> None:
  """Skips blocks that each begin with their length, to the empty one."""
  while length := file.read(1):
    if length == b'\x00':
      return
    file.seek(length[0], os.SEEK_CUR)
  _cut(size, 'within its first frame')


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
  need = offset + (width * bits + 31) // 32 * 4 * height
  if size < need:
    _cut(size, f'of {need:,}')
  if size > need:
    raise UnreadableError(
        f'it is a BMP with {size - need:,} bytes after its pixels, which '
        'TensorFlow cannot read; save it as PNG')
  return Header('BMP', width, height, grey, ignore_alpha=True)


def _webp(start: bytes, size: int) -> Header:
  need = struct.unpack('<I', start[4:8])[0] + 8
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
  if size < need:
    _cut(size, f'of {need:,}')
  return Header('WebP', width, height)

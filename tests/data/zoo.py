"""A zoo of picture files: formats, modes, orientations, ways of transparency.

`make` writes them with Pillow, and by hand where Pillow cannot write a kind.
"""

import io
import struct
import zlib

import numpy as np
from PIL import features
from PIL import Image

from tests.data import fakes

HEIGHT, WIDTH = 24, 36
RGB = fakes.colour(HEIGHT, WIDTH)
GREY = np.asarray(Image.fromarray(RGB).convert('L'))
# Transparent on the left third, half so in the middle.
ALPHA = np.repeat(np.array([[0, 128, 255]], np.uint8), 12, 1)
ALPHA = np.repeat(ALPHA, HEIGHT, 0)
_T = Image.Transpose
# What undoes each orientation: the stored picture from the upright one.
_STORED = {2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM,
           5: _T.TRANSPOSE, 6: _T.ROTATE_90, 7: _T.TRANSVERSE,
           8: _T.ROTATE_270}
_XMP = ('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
        'tiff:Orientation="{}"/></x:xmpmeta>')


def stored(orientation, array=RGB):
  """The picture that the orientation turns into `array`."""
  image = Image.fromarray(array)
  if orientation in _STORED:
    image = image.transpose(_STORED[orientation])
  return image


def tiff_block(orientation, order='<', kind='H'):
  """Exif data with an orientation as SHORT ('H') or LONG ('L')."""
  value = struct.pack(order + kind, orientation).ljust(4, b'\0')
  return (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(
      order + 'IHHHI', 8, 1, 0x0112, 3 if kind == 'H' else 4, 1) + value + (
          bytes(4))


def chunk(name, body):
  """A chunk of a PNG."""
  return (struct.pack('>I', len(body)) + name + body
          + struct.pack('>I', zlib.crc32(name + body)))


def png_header(width, height):
  """A PNG that claims a size and has no pixels."""
  return (b'\x89PNG\r\n\x1a\n'
          + chunk(b'IHDR', struct.pack('>II5B', width, height, 8, 0, 0, 0, 0))
          + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b''))


def encode(image, kind, **more):
  """A picture as bytes."""
  stream = io.BytesIO()
  image.copy().save(stream, kind, **more)
  return stream.getvalue()


def with_segments(jpeg, *bodies):
  """A JPEG with segments APP1 before its others."""
  segments = b''.join(
      b'\xff\xe1' + struct.pack('>H', len(b) + 2) + b for b in bodies)
  return jpeg[:2] + segments + jpeg[2:]


def with_chunk(png, name, body, last=False):
  """A PNG with a chunk more, before or behind its pixels."""
  at = png.rindex(b'IEND') - 4 if last else 33
  return png[:at] + chunk(name, body) + png[at:]


def _deep_png(array, colour, key=b''):
  """A PNG of 16 bits, which Pillow writes for grey only."""
  return _raw_png(array.astype('>u2').reshape(len(array), -1), 16, colour, key)


def _raw_png(rows, bits, colour, key=b''):
  raw = b''.join(b'\0' + row.tobytes() for row in rows)
  return (b'\x89PNG\r\n\x1a\n'
          + chunk(b'IHDR', struct.pack('>II5B', WIDTH, HEIGHT, bits, colour, 0,
                                       0, 0))
          + (chunk(b'tRNS', key) if key else b'')
          + chunk(b'IDAT', zlib.compress(raw)) + chunk(b'IEND', b''))


def _turned():
  """Name, bytes, and levels by which the reading may differ from RGB."""
  jpeg = {o: encode(stored(o), 'JPEG', quality=95) for o in range(1, 9)}
  png = {o: encode(stored(o), 'PNG') for o in range(1, 9)}
  exif = {o: b'Exif\0\0' + tiff_block(o) for o in range(1, 9)}
  for o in range(1, 9):
    yield f'short{o}.jpg', with_segments(jpeg[o], exif[o]), 60
    yield f'long{o}.jpeg', with_segments(
        jpeg[o], b'Exif\0\0' + tiff_block(o, '>', 'L')), 60
    yield f'exif{o}.png', with_chunk(png[o], b'eXIf', tiff_block(o)), 0
    yield f'exif{o}.webp', encode(
        stored(o), 'WEBP', lossless=True, exif=exif[o]), 0
    yield f'tag{o}.tif', encode(stored(o), 'TIFF', tiffinfo={0x0112: o}), 0
  junk = b'http://ns.adobe.com/xap/1.0/\0' + b' ' * 12_000
  yield 'behind_xmp.jpg', with_segments(jpeg[6], junk, exif[6]), 60
  more = [b'x' * 60_000] * 3
  yield 'far_behind.jpg', with_segments(jpeg[8], *more, exif[8]), 60
  xmp = b'http://ns.adobe.com/xap/1.0/\0' + _XMP.format(6).encode()
  yield 'xmp.jpg', with_segments(jpeg[6], xmp), 60
  yield 'xmp_and_exif.jpg', with_segments(jpeg[3], xmp, exif[3]), 60
  yield 'behind_pixels.png', with_chunk(
      png[6], b'eXIf', tiff_block(6), last=True), 0
  text = b'XML:com.adobe.xmp\0%b\0\0\0'
  yield 'xmp.png', with_chunk(
      png[6], b'iTXt', text % b'\0' + _XMP.format(6).encode()), 0
  yield 'packed_xmp.png', with_chunk(
      png[6], b'iTXt', text % b'\1' + zlib.compress(
          _XMP.format(6).encode())), 0
  raw = f'\nexif\n{len(exif[6]):8}\n{exif[6].hex()}\n'.encode()
  yield 'raw_profile.png', with_chunk(
      png[6], b'zTXt', b'Raw profile type exif\0\0' + zlib.compress(raw)), 0
  yield 'damaged_exif.jpg', with_segments(
      jpeg[1], b'Exif\0\0MM\0*\x7f\xff\xff\xff'), 60
  if features.check('avif'):
    yield 'exif6.avif', encode(
        stored(6), 'AVIF', quality=95, exif=exif[6]), 60


def _of_every_mode():
  image, grey = Image.fromarray(RGB), Image.fromarray(GREY)
  rgba = Image.fromarray(np.dstack([RGB, ALPHA]))
  la = Image.fromarray(np.dstack([GREY, ALPHA]))
  palette = image.quantize(32)
  others = [Image.fromarray(255 - RGB) for _ in range(4)]
  key = tuple(int(v) for v in RGB[3, 3])
  for mode, picture in (('rgb', image), ('grey', grey), ('rgba', rgba),
                        ('la', la), ('palette', palette),
                        ('bits', grey.convert('1'))):
    yield f'{mode}.png', encode(picture, 'PNG'), None
  yield 'palette4.png', encode(image.quantize(5), 'PNG', bits=4), None
  yield 'grey_palette.png', encode(grey.convert('P'), 'PNG'), None
  yield 'palette_key.png', encode(palette, 'PNG', transparency=3), None
  yield 'palette_alpha.png', encode(
      palette, 'PNG', transparency=bytes(range(0, 256, 8))), None
  yield 'rgb_key.png', encode(image, 'PNG', transparency=key), None
  yield 'grey_key.png', encode(
      grey, 'PNG', transparency=int(GREY[2, 2])), None
  deep = GREY.astype(np.uint16) * 200 + 77
  yield 'deep.png', encode(Image.fromarray(deep), 'PNG'), None
  yield 'deep_key.png', _deep_png(
      deep, 0, struct.pack('>H', int(deep[2, 2]))), None
  few = GREY >> 4
  few = few[:, ::2] << 4 | few[:, 1::2]
  yield 'few_bits.png', _raw_png(few, 4, 0), None
  yield 'few_bits_key.png', _raw_png(few, 4, 0, b'\0\x07'), None
  yield 'deep_la.png', _deep_png(
      np.dstack([deep, ALPHA.astype(np.uint16) * 257]), 4), None
  yield 'deep_rgb.png', _deep_png(RGB.astype(np.uint16) * 257, 2), None
  yield 'deep_rgba.png', _deep_png(
      np.dstack([RGB, ALPHA]).astype(np.uint16) * 257, 6), None
  yield 'grey.jpg', encode(grey, 'JPEG'), None
  yield 'cmyk.jpg', encode(image.convert('CMYK'), 'JPEG'), None
  yield 'progressive.jpg', encode(image, 'JPEG', progressive=True), None
  yield 'chroma_full.jpg', encode(image, 'JPEG', subsampling=0), None
  yield 'chroma_half.jpg', encode(image, 'JPEG', subsampling=1), None
  yield 'two_views.mpo', encode(
      image, 'MPO', save_all=True, append_images=others[:1]), None
  yield 'rgb.gif', encode(palette, 'GIF'), None
  yield 'grey.gif', encode(grey, 'GIF'), None
  yield 'key.gif', encode(palette, 'GIF', transparency=3), None
  yield 'animated.gif', encode(
      palette, 'GIF', save_all=True, append_images=others[1:2]), None
  for mode, picture in (('rgb', image), ('grey', grey), ('palette', palette),
                        ('bits', grey.convert('1'))):
    yield f'{mode}.bmp', encode(picture, 'BMP'), None
  rows = np.dstack([RGB[::-1, :, ::-1], np.zeros_like(GREY)]).tobytes()
  yield 'padded.bmp', b'BM' + struct.pack(
      '<IHHI', 54 + len(rows), 0, 0, 54) + struct.pack(
          '<IiiHHIIiiII', 40, WIDTH, HEIGHT, 1, 32, 0, len(rows), 0, 0, 0,
          0) + rows, None
  yield 'lossy.webp', encode(image, 'WEBP', quality=80), None
  yield 'alpha.webp', encode(rgba, 'WEBP', lossless=True), None
  yield 'animated.webp', encode(
      image, 'WEBP', save_all=True, append_images=others[2:3]), None
  for mode, picture in (('grey', grey), ('rgba', rgba), ('palette', palette),
                        ('cmyk', image.convert('CMYK')),
                        ('bits', grey.convert('1')), ('la', la),
                        ('deep', Image.fromarray(deep))):
    yield f'{mode}.tiff', encode(picture, 'TIFF'), None
  yield 'lzw.tif', encode(image, 'TIFF', compression='tiff_lzw'), None
  yield 'jpeg.tif', encode(image, 'TIFF', compression='jpeg'), None
  yield 'pages.TIFF', encode(
      image, 'TIFF', save_all=True, append_images=others[3:]), None
  if features.check('avif'):
    yield 'rgb.avif', encode(image, 'AVIF'), None
    yield 'rgba.avif', encode(rgba, 'AVIF'), None


def make(folder):
  """Writes the zoo.

  Args:
    folder: A `pathlib.Path`; it is made.

  Returns:
    Names of the files, and for each the largest difference of its pixels from
    `RGB`; None where they need not be those of `RGB`.
  """
  folder.mkdir(parents=True, exist_ok=True)
  result = {}
  for name, content, error in (*_turned(), *_of_every_mode()):
    assert name not in result
    (folder / name).write_bytes(content)
    result[name] = error
  return result

"""What headers say, for every format, and what decoding makes of it."""

import struct
import zlib

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from alignflow_tf.data import headers
from alignflow_tf.data import pictures
from alignflow_tf.data import pixels
from tests.data import fakes

_RGB = fakes.colour(20, 24)
_GREY = _RGB[..., 0]


def _decoded(path, channels=3, size=(20, 24), fit='stretch', side='whole'):
  header = headers.read(str(path))
  store = pictures.PathStore(
      [pictures.Picture(str(path), 'k', header)],
      pictures.Recipe(size, channels, fit, side))
  return store.images(tf.constant([0], tf.int64)).numpy()[0]


@pytest.mark.parametrize(('file', 'array', 'kind', 'grey', 'exact'), [
    ('a.png', _RGB, 'PNG', False, True),
    ('a.png', _GREY, 'PNG', True, True),
    ('a.jpg', _RGB, 'JPEG', False, False),
    ('a.JPEG', _GREY, 'JPEG', True, False),
    ('a.bmp', _RGB, 'BMP', False, True),
    ('a.bmp', _GREY, 'BMP', True, True),
    ('a.gif', _GREY, 'GIF', True, True),
    ('a.webp', _RGB, 'WebP', False, True),
])
def test_formats(tmp_path, file, array, kind, grey, exact):
  more = {'lossless': True} if kind == 'WebP' else {}
  path = fakes.write_picture(tmp_path / file, array, **more)
  header = headers.read(str(path))
  assert (header.kind, header.width, header.height, header.grey) == (
      kind, 24, 20, grey)
  want = array if array.ndim == 3 else np.repeat(array[..., None], 3, -1)
  error = np.abs(_decoded(path).astype(int) - want).max()
  assert error <= (0 if exact else 40)


@pytest.mark.parametrize('lossless', [True, False])
def test_webp_with_alpha_and_without(tmp_path, lossless):
  path = fakes.write_picture(tmp_path / 'a.webp', _RGB, lossless=lossless)
  header = headers.read(str(path))
  assert (header.width, header.height) == (24, 20)
  rgba = np.dstack([_RGB, np.full((20, 24), 128, np.uint8)])
  path = fakes.write_picture(tmp_path / 'b.webp', rgba, lossless=lossless)
  assert (headers.read(str(path)).width, headers.read(str(path)).height) == (
      24, 20)


def test_animations(tmp_path):
  frames = [Image.fromarray(np.full((6, 8, 3), v, np.uint8))
            for v in (10, 200)]
  for name in ('a.gif', 'a.webp'):
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
  first = _decoded(tmp_path / 'a.gif', size=(6, 8))
  assert np.abs(first.astype(int) - 10).max() <= 2
  # TensorFlow would crash on it, so it must not get that far.
  with pytest.raises(headers.UnreadableError, match='animated WebP.*as PNG'):
    headers.read(str(tmp_path / 'a.webp'))


def test_palette(tmp_path):
  image = Image.fromarray(_RGB).quantize(32)
  image.save(tmp_path / 'a.png')
  np.testing.assert_array_equal(
      _decoded(tmp_path / 'a.png'), np.asarray(image.convert('RGB')))
  assert not headers.read(str(tmp_path / 'a.png')).grey
  greys = Image.fromarray(_GREY).convert('P')
  greys.save(tmp_path / 'g.png')
  assert headers.read(str(tmp_path / 'g.png')).grey
  image.save(tmp_path / 'p.bmp')
  with pytest.raises(headers.UnreadableError, match='palette.*save it as PNG'):
    headers.read(str(tmp_path / 'p.bmp'))


@pytest.mark.parametrize('grey', [True, False])
def test_a_gif_frame_with_a_palette_of_its_own(tmp_path, grey):
  path = tmp_path / 'a.gif'
  Image.fromarray(_GREY).save(path)
  content = bytearray(path.read_bytes())
  size = 3 * 2 ** ((content[10] & 7) + 1)
  table = content[13:13 + size]
  assert headers.read(str(path)).grey
  if not grey:
    table[::3] = bytes(size // 3)
  at = content.index(b',', 13 + size) + 9
  content[at] = 0x80 | content[10] & 7
  path.write_bytes(content[:at + 1] + table + content[at + 1:])
  assert headers.read(str(path)).grey == grey
  red, green = np.moveaxis(_decoded(path), -1, 0)[:2]
  assert (red == green).all() == grey


def test_alpha_is_blended_over_white(tmp_path):
  rgba = np.zeros((4, 4, 4), np.uint8)
  rgba[:2, :, 3] = 255
  path = fakes.write_picture(tmp_path / 'a.png', rgba)
  for channels in (1, 3):
    image = _decoded(path, channels, (4, 4))
    assert (image[:2] == 0).all()
    assert (image[2:] == 255).all()
  path = fakes.write_picture(tmp_path / 'b.png', rgba[..., 2:])
  assert headers.read(str(path)).grey
  assert _decoded(path, 1, (4, 4))[3, 3] == 255


def test_fourth_byte_of_a_bmp_is_not_alpha(tmp_path):
  row = b''.join(bytes((30, 20, 10, 0)) for _ in range(4))
  body = row * 4
  path = tmp_path / 'a.bmp'
  path.write_bytes(
      b'BM' + struct.pack('<IHHI', 54 + len(body), 0, 0, 54)
      + struct.pack('<IiiHHIIiiII', 40, 4, 4, 1, 32, 0, len(body), 0, 0, 0, 0)
      + body)
  assert (_decoded(path, 3, (4, 4)) == (10, 20, 30)).all()


def test_sixteen_bits_keep_the_high_byte(tmp_path):
  values = np.array([[0, 255, 256, 65535]] * 4, np.uint16)
  path = fakes.write_picture(tmp_path / 'a.png', values)
  assert headers.read(str(path)).bits == 16
  assert _decoded(path, 1, (4, 4))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path, orientation):
  from PIL import ImageOps
  big = Image.fromarray(_RGB).resize((96, 80))
  exif = Image.Exif()
  exif[0x0112] = orientation
  path = tmp_path / 'a.jpg'
  big.save(path, exif=exif, quality=95)
  assert headers.read(str(path)).orientation == orientation
  with Image.open(path) as opened:
    want = np.asarray(ImageOps.exif_transpose(opened).convert('RGB'))
  got = _decoded(path, 3, want.shape[:2])
  assert np.abs(got.astype(int) - want).mean() < 2


def test_luma_and_copies():
  image = tf.constant([[[255.0, 0, 0], [0, 255.0, 0], [0, 0, 255.0]]])
  grey = pixels.to_uint8(pixels.to_channels(image, 1)).numpy()[0, :, 0]
  assert grey.tolist() == [76, 150, 29]
  white = tf.fill((1, 1, 3), 255.0)
  assert pixels.to_uint8(pixels.to_channels(white, 1)).numpy().item() == 255
  assert pixels.to_channels(image[..., :1], 3).shape == (1, 3, 3)


def test_shrinking_is_antialiased():
  stripes = np.zeros((1, 32, 32, 1), np.uint8)
  stripes[:, ::2] = 255
  small = pixels.resize_array(stripes, (8, 8), 1)
  assert np.abs(small[:, 1:-1].astype(int) - 127).max() <= 1


@pytest.mark.parametrize('method', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(32, 32), (16, 16), (9, 40)])
def test_resizing_arrays_is_the_op(method, size):
  random = np.random.RandomState(0)
  for channels in (1, 3):
    images = random.randint(0, 256, (5, 28, 28, channels)).astype(np.uint8)
    want = tf.image.resize(
        tf.cast(images, tf.float32), size, method, antialias=True)
    want = pixels.to_uint8(want).numpy().astype(int)
    got = pixels.resize_array(images, size, channels, method)
    assert np.abs(got - want).max() <= 1  # Ties may round either way.
    assert (got == want).mean() > 0.99
    copied = pixels.resize_array(images[..., :1], size, 3, method)
    np.testing.assert_array_equal(copied[..., 1], copied[..., 0])
    np.testing.assert_array_equal(copied[..., 0], got[..., 0])


def test_fits(tmp_path):
  wide = np.zeros((10, 30, 3), np.uint8)
  wide[:, 10:20] = 200
  path = fakes.write_picture(tmp_path / 'w.png', wide)
  assert (_decoded(path, 3, (10, 10), 'crop') == 200).all()
  stretched = _decoded(path, 3, (10, 30), 'stretch')
  np.testing.assert_array_equal(stretched, wide)
  padded = _decoded(path, 3, (30, 30), 'pad')
  np.testing.assert_array_equal(padded[10:20], wide)
  assert padded[:10].max() == padded[20:].max() == 0
  assert (_decoded(path, 3, (10, 15), 'stretch', 'left')[:, :9] == 0).all()
  assert (_decoded(path, 3, (10, 15), 'stretch', 'right')[:, :4] == 200).all()


def _chunk(name, body):
  return (struct.pack('>I', len(body)) + name + body
          + struct.pack('>I', zlib.crc32(name + body)))


def _png_header(width, height):
  return (b'\x89PNG\r\n\x1a\n'
          + _chunk(b'IHDR', struct.pack('>II5B', width, height, 8, 0, 0, 0, 0))
          + _chunk(b'IDAT', zlib.compress(b'')) + _chunk(b'IEND', b''))


@pytest.mark.parametrize(('content', 'message'), [
    (b'', r'is empty \(0 bytes\)'),
    (b'once upon a time', r"not JPEG.*begins with b'once upon a"),
    (_png_header(30000, 30000),
     r'30000x30000 = 900,000,000 pixels.*max_pixels'),
    (_png_header(0, 5), r'0x5'),
    (b'\x89PNG\r\n\x1a\n\x00\x00', r'damaged|cut short'),
    (b'\xff\xd8\xff\xe0\x00\x10JF', r'cut short|damaged'),
    (b'\xff\xd8\xff\xd9', r'names no size'),
    (b'\xff\xd8\xff\xe1\x00\x00' + bytes(9), r'^its JPEG header is damaged$'),
    (b'\xff\xd8\xff\xe0\x00\x01' + bytes(9), r'^its JPEG header is damaged$'),
    (b'\xff\xd8\xff\xc0\x00\x07\x08\x00\x04\x00\x04\x01',
     r'^its JPEG header is damaged$'),
    (b'\xff\xd8\xff\xc0\x00\x11\x0c\x00\x04\x00\x04\x01', r'12 bits a sample'),
    (b'GIF89a\x01', r'cut short'),
    (b'BM123', r'cut short'),
    (b'RIFF\x10\x00\x00\x00WEBPXXXX', r'WebP header is damaged'),
])
def test_bad_headers(tmp_path, content, message):
  path = tmp_path / 'a.png'
  path.write_bytes(content)
  with pytest.raises(headers.UnreadableError, match=message):
    headers.read(str(path))


_NOISE = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype('u1')
_ENCODED = {
    'png': {},
    'palette.png': {'mode': 'P'},
    'jpg': {},
    'progressive.jpg': {'progressive': True},
    'thumbnail.jpg': {'thumbnail': True},
    'gif': {},
    'animated.gif': {'save_all': True},
    'bmp': {},
    'grey.bmp': {'mode': 'L'},
    'webp': {},
    'lossless.webp': {'lossless': True},
    'alpha.webp': {'mode': 'RGBA'},
}


def _encoded(tmp_path, name):
  more = dict(_ENCODED[name])
  image = Image.fromarray(_NOISE).convert(more.pop('mode', 'RGB'))
  if more.get('save_all'):
    more['append_images'] = [Image.fromarray(255 - _NOISE)]
  path = tmp_path / f'a.{name}'
  if more.pop('thumbnail', False):
    image.resize((16, 16)).save(path)
    inner = b'Exif\x00\x00' + path.read_bytes()
    more['exif'] = inner
  image.save(path, **more)
  return path


def _sees(path):
  try:
    headers.read(str(path))
  except headers.UnreadableError:
    return False
  return True


@pytest.mark.parametrize('name', _ENCODED)
def test_cut_files_are_those_that_cannot_be_decoded(tmp_path, name):
  path = _encoded(tmp_path, name)
  content = path.read_bytes()
  size = len(content)
  for cut in (0, 1, 2, 3, 4, 8, 11, 12, 13, 14, 20, 100, 600, size // 4,
              size // 2, 3 * size // 4, size - 200, size - 70):
    path.write_bytes(content[:size - cut])
    assert _sees(path) == (pictures._fault(str(path)) is None), cut


@pytest.mark.parametrize('name', _ENCODED)
@pytest.mark.parametrize('more', [1, 10_000])
def test_data_after_the_end(tmp_path, name, more):
  # Legal but in a BMP: phones append a film to a photograph.
  path = _encoded(tmp_path, name)
  path.write_bytes(path.read_bytes() + b'\x00' * more)
  assert _sees(path) == (not name.endswith('bmp'))
  assert _sees(path) == (pictures._fault(str(path)) is None)


def test_a_thumbnails_end_is_not_the_pictures(tmp_path):
  path = _encoded(tmp_path, 'thumbnail.jpg')
  content = path.read_bytes()
  first = content.index(b'\xff\xd9')
  assert first < len(content) - 2
  path.write_bytes(content[:first + 800])
  assert not _sees(path)


@pytest.mark.parametrize(('name', 'message'), [
    ('jpg', 'before its end marker'), ('png', 'PNG is damaged at byte')])
def test_an_interrupted_copy_that_ends_in_zeros(tmp_path, name, message):
  path = fakes.write_picture(tmp_path / f'a.{name}', fakes.colour(900, 900))
  content = path.read_bytes()
  if name == 'png':  # As libpng writes it, in pieces of 8 KiB.
    content = _png_header(900, 900)
    content = content[:33] + 5 * _chunk(b'IDAT', b'x' * 8192)
  path.write_bytes(content[:len(content) // 2] + bytes(len(content) // 2))
  with pytest.raises(headers.UnreadableError, match=message):
    headers.read(str(path))


@pytest.mark.parametrize(('content', 'message'), [
    (b'\xff\xd8\xff\xc0\x00\x0b\x08\x00\x04\x00\x04\x01\x01\x11\x00'
     b'\xff\xd9', 'without pixels'),
    (b'GIF89a\x04\x00\x04\x00\x00\x00\x00;', 'without a picture'),
    (b'GIF89a\x04\x00\x04\x00\x00\x00\x00?', 'damaged'),
    (b'GIF89a\x04\x00\x04\x00\x00\x00\x00,ab', 'before its first frame'),
])
def test_pictures_without_pixels(tmp_path, content, message):
  path = tmp_path / 'a.png'
  path.write_bytes(content)
  with pytest.raises(headers.UnreadableError, match=message):
    headers.read(str(path))

"""Decoding and resizing of picture files, and how bad files are refused."""

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from alignflow_tf.data import decoding
from alignflow_tf.data import pictures
from alignflow_tf.data import pixels
from alignflow_tf.data.recipe import Recipe
from tests.data import fakes
from tests.data import zoo

_RGB = fakes.colour(20, 24)
_NEEDS_HEIF = pytest.mark.skipif(
    'HEIF' not in decoding.formats(),
    reason="needs pillow-heif: pip install 'alignflow_tf[heif]'")


def _decoded(path, channels=3, size=(20, 24), fit='stretch', side='whole'):
  header = decoding.inspect(str(path))
  store = pictures.PathStore(
      [pictures.Picture(str(path), 'k', header)],
      Recipe(size, channels, fit, side))
  return store.images(tf.constant([0], tf.int64)).numpy()[0]


def test_alpha_is_blended_over_white(tmp_path):
  rgba = np.zeros((4, 4, 4), np.uint8)
  rgba[:2, :, 3] = 255
  rgba[3, :, 3] = 51
  for array in (rgba, rgba[..., 2:]):
    path = fakes.write_picture(tmp_path / 'a.png', array)
    for channels in (1, 3):
      image = _decoded(path, channels, (4, 4))
      assert image[:, 0, 0].tolist() == [0, 0, 255, 204]


def test_sixteen_bits_keep_the_high_byte(tmp_path):
  values = np.array([[0, 255, 256, 65535]] * 4, np.uint16)
  for name in ('a.png', 'a.tif'):
    path = fakes.write_picture(tmp_path / name, values)
    assert decoding.inspect(str(path)).bits == 16
    assert _decoded(path, 1, (4, 4))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize('dtype', [np.int32, np.float32])
def test_a_range_that_is_not_known_is_refused(tmp_path, dtype):
  path = fakes.write_picture(tmp_path / 'a.tif', np.ones((4, 4), dtype))
  with pytest.raises(decoding.UnreadableError, match='32 bits, whose range'):
    decoding.inspect(str(path))


def test_extensions_and_what_else_a_folder_holds(tmp_path):
  for name in ('a.JPG', 'b.tiff', 'sub/c.webp', 'x.heic', 'sub/y.HEIC',
               'notes.txt', 'Makefile', '.hidden.png'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  found, other = pictures.find(str(tmp_path))
  if 'HEIF' not in decoding.formats():
    assert found == ['a.JPG', 'b.tiff', 'sub/c.webp']
    words = pictures.say_ignored(pictures.count_ignored(other))
    assert words.startswith(
        "2 .heic (pip install 'alignflow_tf[heif]'), ")
    assert '1 .txt' in words
    assert '1 no extension' in words


@_NEEDS_HEIF
@pytest.mark.parametrize('orientation', range(1, 9))
def test_heic_is_turned(tmp_path, orientation):
  path = tmp_path / 'a.HEIC'
  zoo.stored(orientation).save(
      path, 'HEIF', quality=95,
      exif=b'Exif\0\0' + zoo.tiff_block(orientation))
  header = decoding.inspect(str(path))
  assert (header.height, header.width) == (zoo.HEIGHT, zoo.WIDTH)
  assert np.abs(decoding.decode(str(path)).astype(int) - zoo.RGB).mean() < 8
  assert pictures.find(str(tmp_path)) == (['a.HEIC'], [])


@_NEEDS_HEIF
def test_heic_of_other_kinds(tmp_path):
  path = str(tmp_path / 'a.heic')
  Image.fromarray(zoo.GREY).save(path, 'HEIF')
  assert decoding.inspect(path).grey
  assert decoding.decode(path).shape == (*zoo.GREY.shape, 1)
  Image.fromarray(np.dstack([zoo.RGB, zoo.ALPHA])).save(
      path, 'HEIF', quality=95)
  np.testing.assert_allclose(
      decoding.decode(path)[..., 3].astype(int), zoo.ALPHA, atol=30)
  with open(path, 'rb+') as f:
    f.truncate(f.seek(0, 2) - 9)
  with pytest.raises(decoding.UnreadableError, match='cannot be decoded'):
    decoding.decode(path)


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


@pytest.mark.parametrize('size', [(8, 12), (12, 8), (9, 30)])
@pytest.mark.parametrize('fit', ['crop', 'pad', 'stretch'])
@pytest.mark.parametrize('shape', [(16, 36), (36, 16), (24, 24)])
def test_fits_of_any_shape(size, fit, shape):
  """A square in the middle stays one, but where the picture is stretched."""
  picture = np.full((*shape, 3), 100, np.uint8)
  y, x = shape[0] // 2, shape[1] // 2
  picture[y - 4:y + 4, x - 4:x + 4] = 250
  image = Recipe(size, 3, fit).apply(tf.constant(picture)).numpy()[..., 0]
  assert image.shape == size
  light = image > 160
  rows, columns = light.any(1).sum(), light.any(0).sum()
  scales = (size[0] / shape[0], size[1] / shape[1])
  scale = {'crop': (max(scales),) * 2, 'pad': (min(scales),) * 2,
           'stretch': scales}[fit]
  assert abs(rows - min(size[0], 8 * scale[0])) <= 2
  assert abs(columns - min(size[1], 8 * scale[1])) <= 2
  bars = fit == 'pad' and abs(scales[0] - scales[1]) > 0.1
  assert (image == 0).any() == bars


@pytest.mark.parametrize(('content', 'message'), [
    (b'', r'is empty \(0 bytes\)'),
    (b'once upon a time', r"not JPEG.*begins with b'once upon a"),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'not JPEG'),
    (zoo.png_header(30000, 30000), r'900,000,000 pixels.*max_pixels'),
    (zoo.png_header(9000, 9000), r'9000x9000 = 81,000,000 pixels.*max_pixels'),
    (b'\x89PNG\r\n\x1a\n\x00\x00', r'damaged|cut short'),
    (b'\xff\xd8\xff\xe0\x00\x10JF', r'cut short|damaged'),
    (b'\xff\xd8\xff\xd9', r'damaged|not JPEG'),
    (b'GIF89a\x01', r'damaged|not JPEG'),
    (b'BM123', r'damaged|not JPEG'),
    (b'RIFF\x10\x00\x00\x00WEBPXXXX', r'damaged|not JPEG'),
])
def test_bad_headers(tmp_path, content, message):
  path = tmp_path / 'a.png'
  path.write_bytes(content)
  with pytest.raises(decoding.UnreadableError, match=message):
    decoding.inspect(str(path))


def test_a_photo_of_48_megapixels_passes(tmp_path):
  path = tmp_path / 'a.png'
  Image.new('L', (8000, 6000), 77).save(path)
  assert decoding.inspect(str(path)).width == 8000
  image = Recipe((16, 16), 3).apply(tf.constant(decoding.decode(str(path))))
  assert (image.numpy() == 77).all()


_NOISE = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype('u1')


def _encoded(tmp_path, name):
  more = {'progressive.jpg': {'progressive': True},
          'lossless.webp': {'lossless': True}}.get(name, {})
  image = Image.fromarray(_NOISE)
  if name == 'thumbnail.jpg':
    more['exif'] = b'Exif\0\0' + zoo.encode(image.resize((16, 16)), 'JPEG')
  path = tmp_path / f'a.{name}'
  image.save(path, **more)
  return path


@pytest.mark.filterwarnings('ignore:Corrupt EXIF data')
@pytest.mark.parametrize('name', ['png', 'jpg', 'progressive.jpg', 'webp',
                                  'thumbnail.jpg', 'lossless.webp'])
def test_cut_files_are_known_before_they_are_decoded(tmp_path, name):
  path = _encoded(tmp_path, name)
  content = path.read_bytes()
  decoding.inspect(str(path))
  # Phones append a film to a photograph.
  path.write_bytes(content + bytes(10_000))
  decoding.inspect(str(path))
  decoding.decode(str(path))
  for cut in (8, 100, len(content) // 2, len(content) - 200):
    path.write_bytes(content[:-cut])
    with pytest.raises(decoding.UnreadableError):
      decoding.inspect(str(path))


@pytest.mark.parametrize('name', ['gif', 'bmp', 'tif'])
def test_other_cut_files_are_known_when_they_are_decoded(tmp_path, name):
  path = _encoded(tmp_path, name)
  path.write_bytes(path.read_bytes()[:-200])
  decoding.inspect(str(path))
  with pytest.raises(decoding.UnreadableError, match='cannot be decoded'):
    decoding.decode(str(path))


def test_an_interrupted_copy_that_ends_in_zeros(tmp_path):
  for name, message in (('jpg', 'before its end marker'), ('png', 'damaged')):
    path = _encoded(tmp_path, name)
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2] + bytes(len(content) // 2))
    with pytest.raises(decoding.UnreadableError, match=message):
      decoding.inspect(str(path))

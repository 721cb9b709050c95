"""The zoo: training reads what Pillow reads, and serving what training does."""

import numpy as np
from PIL import Image
from PIL import ImageOps
import pytest
import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf.data import decoding
from alignflow_tf.data.recipe import Recipe
from alignflow_tf.export import codec
from tests.data import zoo

# Pillow warns of the Exif block that is damaged.
pytestmark = pytest.mark.filterwarnings('ignore:Corrupt EXIF data')
_SIZE = (zoo.HEIGHT, zoo.WIDTH)
# What the server refuses, since its graph cannot read where it says how the
# picture is to be turned.
_REFUSED = {'xmp.jpg', 'xmp.png', 'packed_xmp.png', 'raw_profile.png',
            'behind_pixels.png'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('zoo')


@pytest.fixture(scope='module')
def animals(folder):
  result = zoo.make(folder)
  assert len(result) >= 60
  return result


def by_pillow(path):
  """RGB over white, by Pillow alone."""
  with Image.open(path) as opened:
    try:
      image = ImageOps.exif_transpose(opened)
    except Exception:  # Its Exif block is damaged.
      image = opened
    if image.mode.startswith('I;16'):
      values = np.asarray(image)
      levels = (values // 256).astype(np.uint8)
      if 'transparency' in image.info:
        levels = np.where(values == image.info['transparency'], 255, levels)
      return np.repeat(levels[..., None], 3, -1)
    rgba = image.convert('RGBA')
  white = Image.new('RGBA', rgba.size, 'white')
  white.alpha_composite(rgba)
  rgb = np.asarray(white.convert('RGB'))
  if path.name == 'few_bits_key.png':  # Pillow compares 4 bits with 8.
    return np.where(rgb == 7 * 17, 255, rgb)
  return rgb


def test_the_zoo_is_read_as_pillow_reads_it(folder, animals):
  recipe = Recipe(_SIZE, 3, 'stretch')
  for name, error in animals.items():
    path = folder / name
    header = decoding.inspect(str(path))
    assert (header.height, header.width) == _SIZE or 'pixels' in name or (
        'xmp' in name or 'raw' in name), name
    got = recipe.apply(tf.constant(decoding.decode(str(path)))).numpy()
    want = by_pillow(path)
    assert got.shape == want.shape, name
    # Pillow blends in whole numbers.
    assert np.abs(got.astype(int) - want).max() <= 1, name
    if error is not None:
      assert np.abs(got.astype(int) - zoo.RGB).max() <= error, name
      assert np.abs(got.astype(int) - zoo.RGB).mean() < 8, name


@pytest.mark.parametrize('name', ['grey.png', 'la.png', 'deep.png', 'bits.bmp',
                                  'grey.jpg', 'grey.gif', 'grey_palette.png'])
def test_greys_are_known_from_the_header(folder, animals, name):
  header = decoding.inspect(str(folder / name))
  assert header.grey
  assert header.bits == (16 if name == 'deep.png' else 8)
  assert not decoding.inspect(str(folder / 'palette.png')).grey


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('fit', ['crop', 'pad', 'stretch'])
def test_serving_reads_what_training_reads(folder, animals, fit, channels):
  shape = (16, 20, channels)
  recipe = Recipe(shape[:2], channels, fit)
  preparation = codec.Preparation(fit)
  serve = tf.function(
      lambda data: codec.decode(data, shape, preparation),
      input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
  refused = set()
  names = [n for n in animals if n.endswith(('.png', '.jpg', '.jpeg'))]
  for name in names:
    path = folder / name
    want = recipe.apply(tf.constant(decoding.decode(str(path)))).numpy()
    try:
      got = images_lib.to_uint8(serve(tf.constant([path.read_bytes()])))
    except tf.errors.InvalidArgumentError as error:
      refused.add(name if 'save it upright' in str(error) else str(error))
    else:
      np.testing.assert_array_equal(got.numpy()[0], want, err_msg=name)
  assert refused == _REFUSED
  assert len(names) > 45


def test_serving_refuses_endless_metadata():
  jpeg = zoo.encode(Image.fromarray(zoo.RGB), 'JPEG')
  jpeg = zoo.with_segments(jpeg, *[b'x'] * 1000)
  with pytest.raises(tf.errors.InvalidArgumentError, match='1000 blocks'):
    codec.decode(tf.constant([jpeg]), (8, 8, 3), codec.Preparation())

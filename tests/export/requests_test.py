"""Bad requests are refused with a reason, and nothing else happens."""

import io
import resource
import struct
import zlib

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from alignflow_tf import baselines
from alignflow_tf import export
from alignflow_tf import images as images_lib
from alignflow_tf.data import decoding
from alignflow_tf.data.recipe import Recipe
from alignflow_tf.export import orientation as orientation_lib
from tests import cpp_loader

_NAN, _INF = np.float32('nan'), np.float32('inf')


@pytest.fixture(scope='module', name='translator')
def _translator(exported):
  with cpp_loader.load(exported.paths['ink_to_chalk']) as model:
    yield model


@pytest.fixture(scope='module', name='domain')
def _domain(exported):
  with cpp_loader.load(exported.paths['ink']) as model:
    yield model


def _images(*shape, value=0.5):
  return np.full(shape, value, np.float32)


def _with(value, row=1):
  x = _images(3, 8, 8, 1)
  x[row, 2, 3, 0] = value
  return x


def _picture(height=9, width=7, mode='RGB'):
  pixels = np.random.RandomState(0).randint(
      0, 256, (height, width, len(mode))).astype(np.uint8)
  return Image.fromarray(pixels[..., 0] if mode == 'L' else pixels)


def _encoded(kind='PNG', **kwargs):
  stream = io.BytesIO()
  _picture(**kwargs).save(stream, kind)
  return stream.getvalue()


def _chunk(kind, content):
  return (struct.pack('>I', len(content)) + kind + content +
          struct.pack('>I', zlib.crc32(kind + content)))


def _bomb(width, height):
  """A valid PNG of one colour: a few kilobytes that claim gigabytes."""
  packer = zlib.compressobj(9)
  rows = b''.join([packer.compress(bytes(60_001)) for _ in range(64)])
  header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
  return (b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', header) +
          _chunk(b'IDAT', rows + packer.flush()) + _chunk(b'IEND', b''))


def _jpeg_bomb():
  """A JPEG whose frame header claims 65,000 by 65,000 pixels."""
  data = bytearray(_encoded('JPEG'))
  at = data.index(b'\xff\xc0') + 5
  data[at:at + 4] = struct.pack('>HH', 65_000, 65_000)
  return bytes(data)


def _refused(model, message, signature='serving_default', **feeds):
  with pytest.raises(cpp_loader.CppLoaderError, match=message) as error:
    model.run(feeds, signature)
  return error.value.code == 'INVALID_ARGUMENT'


@pytest.mark.parametrize(('image', 'message'), [
    (_images(4, 4, 4, 1), r'must have shape \[B, 8, 8, 1\], got \[4, 4, 4, 1'),
    (_images(1, 8, 8, 3), r'must have shape \[B, 8, 8, 1\], got \[1, 8, 8, 3'),
    (_images(1, 8, 8), r'must have shape .*, got \[1, 8, 8\]'),
    (_images(8, 8, 1), r'must have shape .*, got \[8, 8, 1\]'),
    (_images(1, 1, 8, 8, 1), r'must have shape .*, got \[1, 1, 8, 8, 1\]'),
    (_images(), r'must have shape .*, got \[\]'),
    (_images(257, 8, 8, 1), 'at most 256 rows a request, got 257'),
    (_with(_NAN), r'must be finite, got NaN or infinity \(row 1\)'),
    (_with(-_INF), r'must be finite, got NaN or infinity \(row 1\)'),
    (_with(255.), r'from -0.5 to 1.5 .*got 0.5000 to 255.0000 \(row 1\)'),
    (_with(-1., row=2), r'from -0.5 to 1.5 .*\(row 2\)'),
    (_images(1, 8, 8, 1).astype(np.float64), 'float but double'),
    (np.zeros((1, 8, 8, 1), np.uint8), 'float but uint8'),
])
def test_images_that_are_refused(translator, image, message):
  assert _refused(translator, message, image=image)


@pytest.mark.parametrize('signature', [
    'serving_default', 'log_prob', 'encode', 'decode'])
def test_all_signatures_check_what_they_get(domain, translator, signature):
  name = 'latent' if signature == 'decode' else 'image'
  assert _refused(domain, f'`{name}` must have shape', signature,
                  **{name: _images(4, 4, 4, 1)})
  assert _refused(domain, f'`{name}` must be finite', signature,
                  **{name: _with(_NAN)})
  assert _refused(translator, '`image` must be finite', 'round_trip',
                  image=_with(_NAN))
  assert _refused(translator, '`image` and `seed` must have equally many',
                  'draw', image=_images(2, 8, 8, 1), seed=np.zeros(
                      (3, 2), np.int64))


def test_latents_far_away_are_refused(domain):
  assert _refused(domain, '`latent` must have values from -1000 to 1000',
                  'decode', latent=_with(1e6))


def test_seeds_and_temperatures_that_are_refused(domain):
  seed, warm = np.zeros((2, 2), np.int64), np.ones(2, np.float32)
  for message, feeds in (
      (r'`seed` must have shape \[B, 2\]', (np.zeros((2, 3), np.int64), warm)),
      ('`seed` and `temperature` must have equally many', (seed, warm[:1])),
      ('`temperature` must be finite', (seed, warm * _NAN)),
      ('`temperature` must have values from 0 to 10', (seed, -warm)),
      ('`seed` must hold at most 256', (np.zeros((9999, 2), np.int64), warm))):
    assert _refused(domain, message, 'sample', seed=feeds[0],
                    temperature=feeds[1])


def test_interpolations_that_are_refused(translator):
  x, half = _images(2, 8, 8, 1), np.full((2, 3), 0.5, np.float32)
  for message, feeds in (
      ('`image_0` and `image_1` must have equally many', (x, x[:1], half)),
      ('`image_0` and `fraction` must have equally many', (x, x, half[:1])),
      ('at most 256 frames a request, got 400', (x, x, _images(2, 200))),
      ('`fraction` must have values from 0 to 1', (x, x, half * 3)),
      ('`image_1` must be finite', (x, x * _NAN, half))):
    names = ('image_0', 'image_1', 'fraction')
    assert _refused(translator, message, 'interpolate',
                    **dict(zip(names, feeds, strict=True)))


@pytest.mark.parametrize(('data', 'message'), [
    (b'', 'row 1 is an empty string'),
    (b'no picture', r'row 1 is something else \(10 bytes\)'),
    (b'GIF89a' + bytes(100), 'row 1 is something else'),
    (b'\x89PNG\r\n\x1a\n', 'row 1 is something else'),
    (b'\xff\xd8\xff', 'Invalid JPEG data'),
    (_encoded('PNG')[:60], 'Invalid PNG'),
    (_encoded('PNG')[:-20], 'Invalid PNG'),
    (_encoded('JPEG')[:300], 'Invalid JPEG data'),
    (_encoded('JPEG')[:-40], 'Invalid JPEG data'),
    (_bomb(60_000, 60_000), 'row 1 is 60000 by 60000 pixels; from 1 to 64000'),
    (_bomb(2**31 - 1, 2**31 - 1), 'row 1 is 2147483647 by 2147483647 pixels'),
    (_jpeg_bomb(), 'row 1 is 65000 by 65000 pixels'),
    (_bomb(0, 5), 'row 1 is 0 by 5 pixels'),
])
def test_bytes_that_are_refused(translator, data, message):
  assert _refused(translator, message, 'translate_encoded',
                  image_bytes=[_encoded(), data, _encoded()])


def test_a_scalar_and_too_many_pictures_are_refused(translator):
  assert _refused(translator, r'`image_bytes` must have shape \[B\]',
                  'translate_encoded', image_bytes=_encoded())
  assert _refused(translator, 'at most 256 rows', 'translate_encoded',
                  image_bytes=[_encoded()] * 300)


def test_bombs_take_no_memory(translator):
  # Kilobytes.
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  for _ in range(5):
    assert _refused(translator, 'pixels', 'translate_encoded',
                    image_bytes=[_bomb(60_000, 60_000)])
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert after - before < 200_000


@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
@pytest.mark.parametrize(
    ('height', 'width', 'mode'),
    [(8, 8, 'L'), (1, 1, 'L'), (33, 20, 'RGB'), (5, 300, 'RGB'),
     (20, 20, 'RGBA'), (12, 9, 'LA')])
def test_pictures_are_prepared_as_in_training(
    exported, translator, tmp_path, kind, height, width, mode):
  if kind == 'JPEG' and mode.endswith('A'):
    pytest.skip('JPEG has no alpha.')
  data = _encoded(kind, height=height, width=width, mode=mode)
  (tmp_path / 'picture').write_bytes(data)
  levels = Recipe((8, 8), 1).apply(tf.constant(decoding.decode(
      str(tmp_path / 'picture'))))[tf.newaxis]
  y = exported.model.translator('ink', 'chalk').forward(
      images_lib.from_uint8(levels))
  answer = translator.run({'image_bytes': [data]}, 'translate_encoded')
  got = np.asarray(Image.open(io.BytesIO(answer['image_bytes'][0])))
  expected = images_lib.to_uint8(y).numpy()[0, ..., 0]
  assert got.shape == (8, 8)
  assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


def _orientation(jpeg):
  return orientation_lib.read(
      tf.constant(jpeg), tf.constant(False), tf.constant('')).numpy()


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('order', ['<', '>'])
def test_exif_orientation_is_read(orientation, order):
  tiff = (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(
      order + 'IHHHIHHHHIHHI', 8, 2, 0x0100, 3, 1, 7, 0, 0x0112, 3, 1,
      orientation, 0, 0)
  body = b'Exif\0\0' + tiff
  jpeg = _encoded('JPEG')
  jpeg = jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body + (
      jpeg[2:])
  assert Image.open(io.BytesIO(jpeg)).getexif()[0x0112] == orientation
  assert _orientation(jpeg) == orientation


@pytest.mark.parametrize('junk', [
    b'\xff\xd8\xff\xe1\0\x10Exif\0\0', b'\xff\xd8\xff\xe1\0\x10Exif\0\0II*\0' +
    b'\xff' * 40, b'\xff\xd8\xff\xe1\0\x10Exif\0\0MM\0*\x7f\xff\xff\xff'])
def test_damaged_exif_means_upright(junk):
  assert _orientation(junk) == 1


def _mutate(random, seeds):
  """A request on `translate_encoded`, damaged in one of several ways."""
  rows = []
  for _ in range(random.choice([1, 1, 1, 2, 4])):
    data = bytearray(seeds[random.randint(len(seeds))])
    for _ in range(random.randint(0, 4)):
      way, at = random.randint(6), random.randint(len(data) + 1)
      if way == 0:
        del data[at:]
      elif way == 1:
        del data[at:at + random.randint(1, 20)]
      elif way == 2:
        data[at:at] = random.bytes(random.randint(1, 20))
      elif way == 3 and at < len(data):
        data[at] ^= 1 << random.randint(8)
      elif way == 4:
        data[at:at + 4] = random.choice([b'\xff' * 4, bytes(4), b'\xff\xd9'])
      else:
        # In the headers, where it hurts.
        at = random.randint(min(64, len(data) + 1))
        data[at:at + 1] = random.bytes(1)
    rows.append(bytes(data))
  return rows


def _fuzz(model, count):
  """Runs mutated requests; how many were answered, and refused."""
  def run(rows):
    return model.run({'image_bytes': rows}, 'translate_encoded')['image_bytes']

  seeds = [_encoded(kind, height=h, width=w, mode=mode)
           for kind in ('PNG', 'JPEG') for h, w, mode in (
               (8, 8, 'L'), (17, 5, 'RGB'), (40, 60, 'RGB'))]
  seeds += [_encoded('PNG', mode='RGBA'), _bomb(30_000, 30_000), b'']
  random, answered, refused = np.random.RandomState(0), 0, 0
  expected = run(seeds[:1])
  for i in range(count):
    rows = _mutate(random, seeds)
    try:
      answer = run(rows)
    except cpp_loader.CppLoaderError as error:
      if error.code != 'INVALID_ARGUMENT':
        raise
      refused += 1
    else:
      assert answer.shape == (len(rows),)
      answered += 1
    if i % 100 == 0:  # And the next one gets the right answer.
      assert run(seeds[:1])[0] == expected[0]
  print(f'{count} mutated requests: {answered} answered, {refused} refused')
  return answered, refused


def test_fuzzed_requests_leave_the_process_up(translator):
  answered, refused = _fuzz(translator, 300)
  assert answered > 20
  assert refused > 100


@pytest.mark.slow
def test_ten_thousand_fuzzed_requests(translator):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  answered, refused = _fuzz(translator, 10_000)
  assert answered + refused == 10_000
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  print(f'memory grew by {(after - before) / 1024:.0f} MB')
  assert after - before < 500_000


def test_a_model_that_only_translates_answers_a_request_of_no_rows(tmp_path):
  model = baselines.CycleGAN(
      ('a', 'b'), (8, 8, 1), filters=2, num_blocks=1, num_halvings=1)
  path = export.export_model(model, str(tmp_path))[0]
  with cpp_loader.load(path) as served:
    answer = served.run({'image': np.zeros([0, 8, 8, 1], np.float32)})
  assert answer['image'].shape == (0, 8, 8, 1)

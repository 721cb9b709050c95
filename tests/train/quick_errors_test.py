"""Mistakes in flags and data are answered before TensorFlow is loaded."""

import json
import os
import subprocess
import sys
import zlib

import numpy as np
from PIL import Image
import pytest

from tests.data import fakes

# Runs the command for each list of flags in one process and prints the message
# that each ends with; fails if TensorFlow was loaded for one.
_SCRIPT = """
import json, sys
from absl import flags
from alignflow_tf.train import __main__ as main
answers = []
for case in json.loads(sys.argv[1]):
  for name in flags.FLAGS:
    flags.FLAGS[name].unparse()
  flags.FLAGS(['train', *case])
  try:
    main.main(['train'])
    answers.append('no error')
  except SystemExit as e:
    answers.append(str(e))
  if 'tensorflow' in sys.modules:
    sys.exit(f'TensorFlow was loaded for {case}: {answers[-1]}')
print(json.dumps(answers))
"""


# Sets of less than 32 training images, and the folders that they are in.
_TOO_FEW = {
    'few records': ('mnist_usps', '.'),
    'few of USPS': ('usps_mnist', '.'),
    'few pairs': ('maps', '.'),
    'few recorded pairs': ('maps', 'pairs'),
    'few horses': ('horse2zebra', '.'),
    'few apples': ('apple2orange', '.'),
}


def _pictures(folder, count, mode='RGB'):
  folder.mkdir()
  random = np.random.RandomState(count)
  shape = (20, 20, 3) if mode == 'RGB' else (20, 20)
  for i in range(count):
    pixels = random.randint(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels).save(folder / f'{i}.png')
  return folder


@pytest.fixture(scope='module')
def answers(tmp_path_factory):
  """Messages by case, of one process that never loads TensorFlow."""
  top = tmp_path_factory.mktemp('data')
  good = _pictures(top / 'good', 20)
  few = _pictures(top / 'few', 4)
  one = _pictures(top / 'one', 1)
  grey = _pictures(top / 'grey', 20, 'L')
  empty = top / 'empty'
  empty.mkdir()
  zero = _pictures(top / 'zero', 5)
  (zero / 'nothing.png').write_bytes(b'')
  text = _pictures(top / 'text', 5)
  (text / 'notes.png').write_text('Not a picture.')
  huge = _pictures(top / 'huge', 5)
  cut = _pictures(top / 'cut', 20)
  pixels = np.random.RandomState(0).randint(0, 256, (64, 64, 3))
  for name in ('png', 'jpg', 'gif', 'bmp', 'webp'):
    path = cut / f'cut.{name}'
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-100])
  sets = top / 'sets'
  fakes.write_pairs(sets / 'pix2pix' / 'maps', {'train': 12, 'val': 4})
  fakes.write_records(sets / 'pairs' / 'pix2pix', 'maps', '1.0.0', (8, 8, 3),
                      {'train': 12, 'validation': 4})
  fakes.write_records(sets, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 20, 'test': 10})
  fakes.write_records(sets / 'cycle_gan', 'horse2zebra', '3.0.0', (8, 8, 3),
                      {'trainA': 12, 'trainB': 9, 'testA': 2, 'testB': 2})
  fakes.write_usps(sets / 'usps', 20, 10)
  for i, part in enumerate(('trainA', 'trainB', 'testA', 'testB')):
    fakes.fill_folder(sets / 'apple2orange' / part, 12 - 3 * i)
  header = bytearray((good / '0.png').read_bytes())
  header[16:24] = (30_000).to_bytes(4, 'big') * 2
  header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, 'big')
  (huge / 'huge.png').write_bytes(bytes(header))

  def folders(other):
    return [f'--domain_a={good}', f'--domain_b={other}', '--batch_size=4']

  cases = {
      'no data': ['--dataset=svhn_mnist', f'--data_dir={empty}',
                  '--nodownload'],
      'no pairs': ['--dataset=maps', f'--data_dir={empty}', '--nodownload'],
      'dataset': ['--dataset=svnh_mnist'],
      'preset': ['--preset=huge'],
      'steps': ['--steps=0'],
      'missing': folders(top / 'nowhere'),
      'empty': folders(empty),
      'one': folders(one),
      'zero': folders(zero),
      'text': folders(text),
      'huge': folders(huge),
      'channels': folders(grey),
      'batch': folders(few),
      'cut': folders(cut),
  }
  for name, (given, data_dir) in _TOO_FEW.items():
    cases[name] = [f'--dataset={given}', f'--data_dir={sets / data_dir}',
                   '--nodownload', '--batch_size=32']
  cases['few digits'] = ['--batch_size=2000']
  run = top / 'run'
  arguments = json.dumps(
      [[*case, f'--run_dir={run}'] for case in cases.values()])
  done = subprocess.run(
      [sys.executable, '-c', _SCRIPT, arguments], check=False, text=True,
      capture_output=True)
  assert done.returncode == 0, done.stderr
  messages = json.loads(done.stdout.splitlines()[-1])
  assert not os.path.exists(run)
  return dict(zip(cases, messages, strict=True))


@pytest.mark.parametrize(('case', 'parts'), [
    ('no data', ['`data_dir`', 'svhn_cropped']),
    ('no pairs', ['`data_dir`', 'maps']),
    ('dataset', ['`dataset`', "'svnh_mnist'", "'svhn_mnist'"]),
    ('preset', ['`preset`', "'huge'", 'paper']),
    ('steps', ['`steps`', 'got 0']),
    ('missing', ['`domain_dirs`', 'nowhere', 'does not exist']),
    ('empty', ['no picture', 'empty']),
    ('one', ['one', '1 usable training picture']),
    ('zero', ['nothing.png']),
    ('text', ['notes.png']),
    ('huge', ['huge.png', '900,000,000', 'max_pixels']),
    ('channels', ['`channels`']),
    ('batch', ['`batch_size` is 4', "domain 'b'", '2 training images']),
    # A cut BMP or GIF shows when it is decoded.
    ('cut', ['3 of 25 pictures', 'cut.jpg: it is', 'cut.png: it is',
             'cut.webp: its']),
    ('few digits', ['`batch_size` is 2000', "'optical'", '1097']),
    ('few records', ['`batch_size` is 32', "'mnist'", '18 training images']),
    ('few of USPS', ['`batch_size` is 32', "'usps'", '18 training images']),
    ('few pairs', ['`batch_size` is 32', "'aerial'", '11 training images']),
    ('few recorded pairs',
     ['`batch_size` is 32', "'aerial'", '11 training images']),
    ('few horses', ['`batch_size` is 32', "'horse'", '11 training images']),
    ('few apples', ['`batch_size` is 32', "'apple'", '11 training images']),
])
def test_answer(answers, case, parts):
  for part in parts:
    assert part in answers[case], answers[case]

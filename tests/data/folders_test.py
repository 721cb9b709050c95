"""`folders`: the user's pictures, and everything that can be wrong."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import data
from alignflow_tf.data import pictures
from tests.data import fakes
from tests.data import zoo


@pytest.fixture
def two(tmp_path):
  return {'a': fakes.fill_folder(tmp_path / 'one', 20, '.jpg', seed=1),
          'b': fakes.fill_folder(tmp_path / 'two', 13, seed=2)}


def _load(dirs, **kwargs):
  return data.load('folders', domain_dirs=dirs, **{'image_size': 8, **kwargs})


def test_two_folders(two):
  found = _load(two)
  assert found.domains == ('a', 'b')
  assert found.event_shape == (8, 8, 3)
  assert found.sizes == {'a': {'train': 17, 'validation': 1, 'test': 2},
                         'b': {'train': 11, 'validation': 1, 'test': 1}}
  assert found.num_classes is None
  batch = next(iter(found.train_batches(4)))
  assert batch['a']['image'].shape == (4, 8, 8, 3)
  keys = set(found.arrays('a', 'train')['key'])
  for split in ('validation', 'test'):
    assert not keys & set(found.arrays('a', split)['key'])
  facts = found.describe()['domains']['a']
  assert 'SHA-256' in facts['splits']
  assert 'antialiasing' in facts['resizing']
  # The cut does not depend on the seed.
  assert set(_load(two, seed=7).arrays('a', 'train')['key']) == keys


def test_files_that_change_show_in_the_facts(two, tmp_path):
  def facts(folders):
    return {d: f['files'] for d, f in _load(folders).describe()[
        'domains'].items()}

  before = facts(two)
  moved = shutil.copytree(two['a'], tmp_path / 'moved')
  assert facts({'a': str(moved), 'b': two['b']}) == before
  path = sorted(moved.iterdir())[3]
  path.rename(path.with_name('other' + path.suffix))
  assert facts({'a': str(moved), 'b': two['b']})['a'] != before['a']
  path = sorted(pathlib.Path(two['b']).iterdir())[3]
  path.write_bytes(path.read_bytes() + b'more')
  after = facts(two)
  assert after['a'] == before['a']
  assert after['b'] != before['b']


def test_domains_in_order_and_more_than_two(two, tmp_path):
  two['third'] = fakes.fill_folder(tmp_path / 'three', 5)
  assert _load(two).domains == ('a', 'b', 'third')
  back = _load({'b': two['b'], 'a': two['a']})
  assert back.domains == ('b', 'a')


def test_caches_agree(two, tmp_path):
  sets = {c: _load(two, cache=c, cache_dir=str(tmp_path / 'cache'))
          for c in ('memory', 'file', 'none')}
  for split in ('train', 'test'):
    want = sets['memory'].arrays('a', split)
    for cache in ('file', 'none'):
      got = sets[cache].arrays('a', split)
      for key, value in want.items():
        np.testing.assert_array_equal(got[key], value)
  streams = {c: list(s.train_batches(5, seed=1).take(8).as_numpy_iterator())
             for c, s in sets.items()}
  for cache in ('file', 'none'):
    for one, two_ in zip(streams['memory'], streams[cache], strict=True):
      np.testing.assert_array_equal(one['b']['image'], two_['b']['image'])
  # A changed picture is not served from the file.
  path = pathlib.Path(two['a']) / 'p000.jpg'
  fakes.write_picture(path, np.zeros((30, 30, 3), np.uint8))
  again = _load(two, cache='file', cache_dir=str(tmp_path / 'cache'))
  images = np.concatenate([
      again.arrays('a', s)['image'] for s in ('train', 'validation', 'test')])
  assert (images.reshape(20, -1).max(1) == 0).sum() == 1


def test_split_folders_nested_hidden_and_other_files(tmp_path):
  for name in ('x', 'y'):
    root = tmp_path / name
    fakes.fill_folder(root / 'train' / 'deep' / 'er', 9)
    fakes.fill_folder(root / 'val', 2, seed=1)
    fakes.fill_folder(root / 'test', 4, seed=2)
    (root / 'train' / 'notes.txt').write_text('hello')
    (root / 'train' / '._p000.png').write_text('a Mac was here')
    (root / '.git').mkdir()
    (root / 'train' / 'loop').symlink_to(root)
  found = _load({n: str(tmp_path / n) for n in 'xy'})
  assert found.sizes['x'] == {'train': 9, 'validation': 2, 'test': 4}
  facts = found.describe()['domains']['x']
  assert 'as the source has it' in facts['splits']
  assert facts['ignored_files'] == {'.txt': 1}


def test_labels_by_folder(tmp_path):
  for name, classes in (('x', ('cat', 'dog')), ('y', ('dog', 'train'))):
    for i, kind in enumerate(classes):
      fakes.fill_folder(tmp_path / name / kind, 10, seed=i)
  dirs = {n: str(tmp_path / n) for n in 'xy'}
  found = _load(dirs, label_by_folder=True)
  assert found.num_classes == 3
  assert found.describe()['classes'] == ['cat', 'dog', 'train']
  for domain, classes in (('x', (b'cat', b'dog')), ('y', (b'dog', b'train'))):
    arrays = found.arrays(domain, 'train')
    for key, label in zip(arrays['key'], arrays['label'], strict=True):
      kind = key.split(b'/')[0]
      assert kind in classes
      assert found.describe()['classes'][label] == kind.decode()
  batch = next(iter(found.train_batches(4, labels=['x'])))
  assert 'label' not in batch['y']
  fakes.fill_folder(tmp_path / 'x', 1)
  with pytest.raises(data.DataError, match=r'`label_by_folder`.*no sub-folder'):
    _load(dirs, label_by_folder=True)


def test_labels_of_one_domain(tmp_path):
  for kind in ('cat', 'dog'):
    fakes.fill_folder(tmp_path / 'x' / kind, 10)
    fakes.fill_folder(tmp_path / 'z' / kind, 10)
  fakes.fill_folder(tmp_path / 'y', 20)
  found = _load({n: str(tmp_path / n) for n in 'xyz'}, label_by_folder='x')
  assert found.describe()['classes'] == ['cat', 'dog']
  assert [found.has_labels(n) for n in 'xyz'] == [True, False, True]
  assert 'label' not in found.arrays('y', 'train')
  fakes.fill_folder(tmp_path / 'z' / 'cow', 3)
  found = _load({n: str(tmp_path / n) for n in 'xz'}, label_by_folder='x')
  assert not found.has_labels('z')
  with pytest.raises(data.DataError, match="`label_by_folder` is 'w'"):
    _load({n: str(tmp_path / n) for n in 'xz'}, label_by_folder='w')
  with pytest.raises(data.DataError, match='no sub-folder'):
    _load({n: str(tmp_path / n) for n in 'xy'}, label_by_folder='y')


def test_grey_pictures(tmp_path):
  dirs = {n: fakes.fill_folder(tmp_path / n, 5, grey=True) for n in 'ab'}
  assert _load(dirs).event_shape == (8, 8, 1)
  copied = _load(dirs, channels=3)
  assert copied.grey_copied == {'a': True, 'b': True}
  # Greys that are stored as RGB have no density either.
  for i, path in enumerate(sorted(pathlib.Path(dirs['b']).iterdir())):
    grey = fakes.colour(seed=i)[..., :1]
    fakes.write_picture(path, np.repeat(grey, 3, -1))
  stored = _load(dirs, channels=3)
  assert stored.grey_copied == {'a': True, 'b': True}


def test_crop_and_flip(two):
  found = _load(two, load_size=10, flip=True)
  assert found.event_shape == (8, 8, 3)
  assert found.arrays('a', 'test')['image'].shape == (2, 8, 8, 3)
  facts = found.describe()['augmentation']
  assert 'random 8x8 crop of 10x10' in facts
  assert 'mirrored' in facts


def _bad_file(folder, content, name='p999.png'):
  (pathlib.Path(folder) / name).write_bytes(content)


def _cut(folder):
  noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype('u1')
  for name in ('p998.jpg', 'p997.png'):
    path = fakes.write_picture(pathlib.Path(folder) / name, noise)
    path.write_bytes(path.read_bytes()[:3000])


def _corrupt(folder):
  """Pictures whose two ends are right and whose middle is not."""
  noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype('u1')
  for i in range(5):
    path = fakes.write_picture(pathlib.Path(folder) / f'q{i}.png', noise)
    content = bytearray(path.read_bytes())
    content[200:2000] = b'\x00' * 1800
    path.write_bytes(bytes(content))


def _cut_gif(folder):
  for i in range(5):  # Some fall into train, which is decoded at once.
    path = fakes.write_picture(
        pathlib.Path(folder) / f'q{i}.gif', fakes.colour(seed=i)[..., 0])
    path.write_bytes(path.read_bytes()[:-100])


def _latin(folder):
  path = pathlib.Path(folder) / 'p000.png'
  shutil.copy(path, os.path.join(os.fsencode(folder), b'caf\xe9.png'))


BAD = {
    'zero bytes': (lambda f: _bad_file(f, b''), r'p999\.png: it is empty', 1),
    'text': (lambda f: _bad_file(f, b'just a text'),
             r"p999\.png: its content is not JPEG.*b'just a text'", 1),
    'huge': (lambda f: _bad_file(f, zoo.png_header(30000, 30000)),
             r'p999\.png: it has 900,000,000 pixels.*`max_pixels`', 1),
    'jpeg': (lambda f: _bad_file(f, b'\xff\xd8\xff\xe1\x00\x00' + bytes(99)),
             r'p999\.png: its .*header is damaged', 1),
    'latin': (_latin, r'two/caf\\xe9\.png: its name is not UTF-8', 1),
    'cut': (_cut, r'2 of 15 pictures.*p997\.png: it is damaged or cut short.*'
            r'p998\.jpg: it is cut short', 2),
    'corrupt': (_corrupt, r'q\d\.png: it is damaged', 5),
    'gif': (_cut_gif, r'q\d\.gif: it cannot be decoded', 5),
}


def _decoded(*args):
  del args
  pytest.fail('pictures were decoded')  # Not an Exception; nothing catches it.


@pytest.mark.parametrize('name', BAD)
def test_bad_pictures_are_named_or_skipped(two, name, monkeypatch):
  spoil, message, count = BAD[name]
  spoil(two['b'])
  with monkeypatch.context() as patch:
    if name != 'gif':  # All others show before anything is decoded.
      patch.setattr(pictures, 'read_batches', _decoded)
    with pytest.raises(data.DataError, match=message) as caught:
      _load(two)
  assert '--skip_unreadable' in str(caught.value)
  str(caught.value).encode('utf-8')  # Can be printed.
  for cache in ('memory', 'none'):
    found = _load(two, cache=cache, skip_unreadable=True)
    assert sum(found.sizes['b'].values()) == 13
    assert found.describe()['domains']['b']['skipped_unreadable'] == count
    assert f'({count} unreadable left out)' in found.summary()
    json.dumps(found.describe(), ensure_ascii=False).encode('utf-8')


def test_a_picture_that_goes_bad_while_streaming_is_named(two):
  found = _load(two, cache='none')
  path = pathlib.Path(two['a']) / found.arrays('a', 'train')['key'][0].decode()
  path.write_bytes(b'gone')
  with pytest.raises(tf.errors.InvalidArgumentError, match=path.name):
    for _ in found.train_batches(8).take(3):
      pass


def test_many_bad_pictures_make_a_short_message(two):
  for i in range(40):
    _bad_file(two['a'], b'', f'x{i}.png')
  with pytest.raises(data.DataError, match=r'40 of 60 .*and 35 more') as caught:
    _load(two)
  assert len(str(caught.value)) < 2000


@pytest.mark.parametrize('case', [
    'none', 'one', 'name', 'absent', 'file', 'same', 'inside', 'empty',
    'others', 'single', 'all bad', 'channels', 'crop', 'batch'])
def test_errors(case, two, tmp_path, monkeypatch):
  empty = tmp_path / 'empty'
  empty.mkdir()
  others = tmp_path / 'others'
  others.mkdir()
  (others / 'readme.txt').write_text('text')
  single = fakes.fill_folder(tmp_path / 'single', 1)
  grey = fakes.fill_folder(tmp_path / 'grey', 5, grey=True)
  bad = tmp_path / 'bad'
  bad.mkdir()
  _bad_file(bad, b'')
  more = {}
  dirs = two
  if case == 'none':
    dirs, message = None, r'`domain_dirs` is \{\}; .*two or more.*--domain_a'
  elif case == 'one':
    dirs, message = {'a': two['a']}, r'`domain_dirs`.*two or more'
  elif case == 'name':
    dirs, message = {'a b': two['a'], 'b': two['b']}, r"domain 'a b'; a name"
  elif case == 'absent':
    dirs = {'a': two['a'], 'b': str(tmp_path / 'nowhere')}
    message = r"nowhere' for domain 'b', which does not exist"
  elif case == 'file':
    dirs, message = {'a': two['a'], 'b': __file__}, r'which is a file'
  elif case == 'same':
    dirs = {'a': two['a'], 'b': two['a'] + '/.'}
    message = r"is the folder of domain 'a'"
  elif case == 'inside':
    dirs = {'a': two['a'], 'b': str(tmp_path)}
    message = r"overlaps the folder of domain 'a'"
  elif case == 'empty':
    dirs, message = {'a': two['a'], 'b': str(empty)}, r'no picture.*It is empty'
  elif case == 'others':
    dirs = {'a': two['a'], 'b': str(others)}
    message = r'no picture.*There are other files: 1 \.txt'
  elif case == 'single':
    dirs = {'a': two['a'], 'b': single}
    message = r"Domain 'b'.*1 usable training picture; at least 3"
  elif case == 'all bad':
    dirs, more = {'a': two['a'], 'b': str(bad)}, {'skip_unreadable': True}
    message = r'0 usable training pictures'
  elif case == 'channels':
    dirs = {'a': two['a'], 'b': grey}
    message = (r"`channels` is not given.*\['b'\] hold grey pictures \(1 "
               r"channel\), \['a'\] colour.*`channels=1`.*`channels=3`")
  elif case == 'crop':
    more, message = {'load_size': 6}, r'`load_size` is \(6, 6\), smaller than'
  else:
    found = _load(two)
    with pytest.raises(data.DataError, match=r"'b' has only 11 training"):
      found.train_batches(12)
    return
  monkeypatch.setattr(pictures, 'read_batches', _decoded)
  with pytest.raises(data.DataError, match=message):
    _load(dirs, **more)


def test_mixed_channels_with_a_choice(two, tmp_path):
  dirs = {'a': two['a'], 'b': fakes.fill_folder(tmp_path / 'g', 5, grey=True)}
  assert _load(dirs, channels=1).event_shape == (8, 8, 1)
  found = _load(dirs, channels=3)
  assert found.grey_copied == {'a': False, 'b': True}

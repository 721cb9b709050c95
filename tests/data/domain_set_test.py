"""`DomainSet` on the embedded digits, and the checks of `load`."""

import builtins
import json
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import data
from alignflow_tf.data import domain_set
from alignflow_tf.data import stores
from alignflow_tf.data.sources import embedded


@pytest.fixture(scope='module')
def digits():
  return data.load('digits')


def test_attributes(digits):
  assert digits.name == 'digits'
  assert digits.domains == ('optical', 'mnist')
  assert digits.event_shape == (16, 16, 1)
  assert digits.sizes == {
      'optical': {'train': 1097, 'validation': 200, 'test': 500},
      'mnist': {'train': 3500, 'validation': 500, 'test': 1000}}
  assert digits.num_classes == 10
  assert not digits.paired
  assert digits.grey_copied == {'optical': False, 'mnist': False}
  text = json.dumps(digits.describe())
  for word in ('licence', 'source', 'stratified', 'antialiasing', 'grey'):
    assert word in text


def test_three_domains_of_digits(digits):
  three = data.load('digits3')
  assert three.domains == ('optical', 'mnist', 'printed')
  np.testing.assert_array_equal(
      three.arrays('mnist', 'test')['image'],
      digits.arrays('mnist', 'test')['image'])
  printed = three.arrays('printed', 'test')
  assert printed['image'].shape == (500, 16, 16, 1)
  assert np.bincount(printed['label']).tolist() == [50] * 10
  # White strokes on black, and no image is empty or another's copy.
  assert (printed['image'].mean(axis=(1, 2, 3)) > 10).all()
  assert len(np.unique(printed['image'], axis=0)) > 450


def test_summary(digits):
  first, second = digits.summary().splitlines()
  assert first.startswith('optical: 1,097 train, 200 validation, 500 test; ')
  assert second.startswith('mnist: 3,500 train, ')
  assert 'fixed cut stratified by class' in second


def test_splits_are_disjoint_and_whole(digits):
  for domain, total in (('optical', 1797), ('mnist', 5000)):
    keys = [k for s in ('train', 'validation', 'test')
            for k in digits.arrays(domain, s)['key']]
    assert len(keys) == len(set(keys)) == total


def test_arrays_and_batches_agree(digits):
  arrays = digits.arrays('mnist', 'validation')
  assert arrays['image'].dtype == np.uint8
  assert arrays['image'].shape == (500, 16, 16, 1)
  assert arrays['label'].dtype == np.int64
  assert np.abs(np.bincount(arrays['label']) - 50).max() <= 1
  batches = list(digits.batches('mnist', 'validation', 64))
  assert int(digits.batches('mnist', 'validation', 64).cardinality()) == 8
  assert [len(b['key']) for b in batches] == [64] * 7 + [52]
  np.testing.assert_array_equal(
      np.concatenate([b['image'] for b in batches]), arrays['image'])
  few = digits.arrays('mnist', 'validation', limit=10)
  np.testing.assert_array_equal(few['key'], arrays['key'][:10])
  assert len(set(few['label'])) > 3


def test_rows_and_the_mean_image(digits):
  whole = digits.arrays('optical', 'validation')
  order = [199, 0, 7, 7]
  rows = digits.rows('optical', 'validation', order)
  assert set(rows) == set(whole)
  for name, values in rows.items():
    np.testing.assert_array_equal(values, whole[name][order])
  mean = digits.mean_image('optical', 'validation')
  assert mean.dtype == np.float64
  np.testing.assert_allclose(
      mean, whole['image'].mean(axis=0, dtype=np.float64), rtol=1e-12)


def test_images_are_white_on_black_and_use_the_range(digits):
  for domain in digits.domains:
    images = digits.arrays(domain, 'validation')['image']
    assert images.min() == 0
    assert images.max() >= 250
    assert images.mean() < 128


def test_train_element(digits):
  dataset = digits.train_batches(7, seed=3, labels=['mnist'])
  spec = dataset.element_spec
  assert set(spec) == {'optical', 'mnist'}
  assert set(spec['optical']) == {'image'}
  assert spec['mnist'] == {
      'image': tf.TensorSpec((7, 16, 16, 1), tf.uint8),
      'label': tf.TensorSpec((7,), tf.int64)}


def _stream(dataset, steps):
  return [
      {d: v['image'] for d, v in e.items()}
      for e in dataset.take(steps).as_numpy_iterator()]


def test_start_step_is_the_tail(digits):
  whole = _stream(digits.train_batches(50, seed=5), 30)
  tail = _stream(digits.train_batches(50, seed=5, start_step=21), 9)
  for a, b in zip(whole[21:], tail, strict=True):
    for domain in digits.domains:
      np.testing.assert_array_equal(a[domain], b[domain])
  # Reached at once: to read what is before it would take for ever.
  assert len(_stream(digits.train_batches(
      50, seed=5, start_step=10**12), 1)) == 1


def test_seeds_and_epochs_differ(digits):
  one = _stream(digits.train_batches(50, seed=0), 1)[0]
  default = _stream(digits.train_batches(50), 1)[0]
  two = _stream(digits.train_batches(50, seed=1), 1)[0]
  np.testing.assert_array_equal(one['mnist'], default['mnist'])
  assert (one['mnist'] != two['mnist']).any()


def _numbered(sizes, **kwargs):
  """Domains whose images hold their index."""
  def make(name, n):
    image = np.zeros((n, 4, 4, 1), np.uint8)
    image[:] = np.arange(n)[:, None, None, None]
    store = stores.ArrayStore(image, np.arange(n), [str(i) for i in range(n)])
    return domain_set.Domain(
        name, {'train': n, 'validation': n, 'test': 0}, lambda _: store, True,
        False, {})
  return data.DomainSet(
      'numbered', [make(k, n) for k, n in sizes.items()], (4, 4, 1), **kwargs)


def test_each_index_once_an_epoch_across_batches():
  numbered = _numbered({'a': 30, 'b': 30, 'c': 7})
  steps = list(numbered.train_batches(
      7, seed=2, labels=('a', 'b', 'c')).take(30).as_numpy_iterator())
  streams = {d: np.concatenate([s[d]['label'] for s in steps]) for d in 'abc'}
  for domain, n in (('a', 30), ('b', 30), ('c', 7)):
    epochs = streams[domain]
    epochs = epochs[:len(epochs) // n * n].reshape(-1, n)
    assert len(epochs) == 210 // n
    for epoch in epochs:
      assert sorted(epoch) == list(range(n))
    assert len({tuple(e) for e in epochs}) == len(epochs)
  # Two domains of one size do not march in step, that is, are not paired.
  assert (streams['a'] == streams['b']).mean() < 0.15
  for step in steps:
    np.testing.assert_array_equal(
        step['a']['image'][:, 0, 0, 0], step['a']['label'])


def test_random_crop_and_flip_come_from_seed_and_step():
  image = np.zeros((8, 12, 12, 1), np.uint8)
  image[:] = np.arange(144).reshape(12, 12, 1)
  store = stores.ArrayStore(image, None, [str(i) for i in range(8)])
  domains = [
      domain_set.Domain(n, {'train': 8, 'validation': 0, 'test': 8},
                        lambda _: store, False, False, {}) for n in 'ab']
  crops = data.DomainSet('crops', domains, (8, 8, 1), load_shape=(12, 12),
                         flip=True)
  steps = _stream(crops.train_batches(8, seed=0), 40)
  again = _stream(crops.train_batches(8, seed=0, start_step=39), 1)
  np.testing.assert_array_equal(steps[39]['a'], again[0]['a'])
  assert (steps[0]['a'] != steps[0]['b']).any()
  corners, mirrored = set(), 0
  for step in steps:
    for picture in step['a'][..., 0].astype(int):
      if picture[0, 1] < picture[0, 0]:
        picture = picture[:, ::-1]
        mirrored += 1
      assert (np.diff(picture, axis=1) == 1).all()
      assert (np.diff(picture, axis=0) == 12).all()
      corners.add(divmod(picture[0, 0], 12))
  assert corners == {(r, c) for r in range(5) for c in range(5)}
  assert 110 < mirrored < 210
  middle = crops.arrays('a', 'test')['image']
  np.testing.assert_array_equal(middle, image[:, 2:10, 2:10])
  assert 'random 8x8 crop of 12x12' in crops.describe()['augmentation']


def test_channels_and_size_of_digits():
  rgb = data.load('digits', image_size=(20, 12), channels=3)
  assert rgb.event_shape == (20, 12, 3)
  assert rgb.grey_copied == {'optical': True, 'mnist': True}
  images = rgb.arrays('optical', 'validation')['image']
  np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_missing_package_names_the_extra(monkeypatch):
  real = builtins.__import__

  def without(name, *args, **kwargs):
    if name.startswith('mlxtend'):
      raise ModuleNotFoundError("No module named 'mlxtend'")
    return real(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', without)
  with pytest.raises(data.DataError, match=r'alignflow_tf\[demo\]'):
    data.load('digits')


@pytest.mark.parametrize(('call', 'message'), [
    (lambda d: d.train_batches(2000),
     r"`batch_size` is 2000.*'optical' has only 1097 training images"),
    (lambda d: d.train_batches(0), r'`batch_size` is 0'),
    (lambda d: d.train_batches(2.5), r'`batch_size` is 2\.5'),
    (lambda d: d.train_batches(2, start_step=-1), r'`start_step` is -1'),
    (lambda d: d.train_batches(2, labels=['usps']), r"`labels` names 'usps'"),
    (lambda d: d.batches('usps', 'test', 2), r"`domain` names 'usps'"),
    (lambda d: d.batches('mnist', 'eval', 2), r"`split` is 'eval'"),
    (lambda d: d.arrays('mnist', 'test', limit=0), r'`limit` is 0'),
    (lambda d: d.pairs('test', 2), r'unpaired.*facades'),
    (lambda d: d.rows('mnist', 'validation', [500]), r'`indices`.*0 to 499'),
    (lambda d: d.rows('mnist', 'validation', [-1]), r'`indices`'),
    (lambda d: d.rows('mnist', 'validation', [0.5]), r'`indices`'),
    (lambda d: d.rows('mnist', 'validation', []), r'`indices`'),
    (lambda d: d.mean_image('mnist', 'eval'), r"`split` is 'eval'"),
])
def test_bad_calls(digits, call, message):
  with pytest.raises(data.DataError, match=message):
    call(digits)


def test_unlabelled_domain_has_no_labels():
  store = stores.ArrayStore(
      np.zeros((4, 4, 4, 1), np.uint8), None, list('wxyz'))
  bare = data.DomainSet('bare', [
      domain_set.Domain(n, {'train': 4, 'validation': 0, 'test': 0},
                        lambda _: store, False, False, {}) for n in 'ab'],
      (4, 4, 1))
  assert set(bare.arrays('a', 'train')) == {'image', 'key'}
  with pytest.raises(data.DataError, match='no labels'):
    bare.train_batches(2, labels='a')
  with pytest.raises(data.DataError, match='is empty'):
    bare.arrays('a', 'test')


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'name': 'svhn_minst'}, r"`dataset` is 'svhn_minst'.*mean 'svhn_mnist'"),
    ({'name': None}, r'`dataset` is None.*Known: digits'),
    ({'image_size': 2}, r'`image_size` is 2; .*4 to 4096'),
    ({'image_size': (16, 'x')}, r'`image_size`'),
    ({'image_size': 16.5}, r'`image_size` is 16\.5'),
    ({'image_size': '16x'}, r"`image_size` is '16x'.*HEIGHTxWIDTH"),
    ({'name': 'tfds:mnist'}, r'--domain=a:tfds:mnist'),
    ({'channels': 2}, r'`channels` is 2; it must be 1'),
    ({'cache': 'disk'}, r"`cache` is 'disk'.*memory"),
    ({'flip': True}, r'`flip` is True.*mirrored'),
    ({'fit': 'crop'}, r"`fit` is 'crop'.*digits"),
    ({'fit': 'zoom'}, r"`fit` is 'zoom'; it must be one of"),
    ({'load_size': 20}, r'`load_size` is 20.*digits'),
    ({'label_by_folder': True}, r'`label_by_folder` goes with'),
    ({'domain_dirs': {'a': '.'}}, r"`domain_dirs`.*dataset='folders'"),
    ({'max_pixels': 0}, r'`max_pixels` is 0'),
    ({'data_dir': __file__}, r'`data_dir`.*a file'),
])
def test_bad_arguments(arguments, message, monkeypatch):
  monkeypatch.setattr(  # Not an Exception, so nothing catches it.
      embedded, 'domains', lambda *args: pytest.fail('data were read'))
  with pytest.raises(data.DataError, match=message):
    data.load(**arguments)


def test_a_source_of_ones_own(monkeypatch):
  example = data.Source.__doc__.split('```')[1].removeprefix('python\n')
  # The example registers it; this takes it away at the end.
  monkeypatch.setitem(data.SOURCES, 'noise', None)
  exec(textwrap.dedent(example), {'data': data, 'np': np})
  found = data.load('noise', image_size='4x6')
  assert found.event_shape == (4, 6, 1)
  assert found.mean_image('dark', 'train').max() < 100
  assert 'noise' in data.list_datasets()
  with pytest.raises(data.DataError, match='has only 100 training'):
    data.load('noise', batch_size=200)


def test_list_datasets_names_all():
  text = data.list_datasets()
  for name, info in data.DATASETS.items():
    assert name in text
    for part in info.licence.split('; '):
      assert part in text
  for name in ('svhn_mnist', 'mnist_usps', 'usps_mnist', 'svhn_usps',
               'usps_svhn', 'mnist_svhn', 'maps', 'facades', 'cityscapes',
               'horse2zebra', 'folders'):
    assert name in data.DATASETS


def test_without_labels(digits):
  hidden = digits.without_labels('optical')
  assert digits.has_labels('optical')
  assert not hidden.has_labels('optical')
  assert hidden.has_labels('mnist')
  assert hidden.sizes == digits.sizes
  whole, parts = [], []
  for split in ('train', 'validation'):
    arrays = hidden.arrays('optical', split)
    assert set(arrays) == {'image', 'key'}
    assert arrays['key'][1] == b'1'
    parts += [x.tobytes() for x in arrays['image']]
    whole += [x.tobytes() for x in digits.arrays('optical', split)['image']]
  # Cut anew, and nothing lost.
  assert parts != whole
  assert sorted(parts) == sorted(whole)
  np.testing.assert_array_equal(
      hidden.arrays('optical', 'test')['image'],
      digits.arrays('optical', 'test')['image'])
  batch = next(iter(hidden.train_batches(5, labels=('mnist',))))
  assert set(batch['optical']) == {'image'}
  with pytest.raises(data.DataError, match='`labels` names .optical'):
    hidden.train_batches(5, labels=('optical',))
  with pytest.raises(data.DataError, match='`names` names .svhn'):
    digits.without_labels('svhn')

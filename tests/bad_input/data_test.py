"""Data sets and what is asked of them."""

import pytest

from alignflow_tf import data
from tests.bad_input import bad

DATA = [
    ('dataset', 'svnh', {'name': 'svnh'}),
    ('dataset', None, {'name': None}),
    *[('image_size', v, {'image_size': v})
      for v in (0, 3, 5000, 'big', (8,), 8.5, True)],
    *[('channels', v, {'channels': v}) for v in (0, 2, '1', True)],
    *[('cache', v, {'cache': v}) for v in ('disk', None)],
    ('fit', 'squash', {'fit': 'squash'}),
    *[('max_pixels', v, {'max_pixels': v}) for v in (0, -1, 'x', None)],
    *[('seed', v, {'seed': v}) for v in (-1, 'x', 1.5, None)],
    ('flip', True, {'flip': True}),
    ('load_size', 32, {'load_size': 32}),
    ('label_by_folder', bad.Shown("'digits'"), {'label_by_folder': True}),
    ('data_dir', '/etc/hostname', {'data_dir': '/etc/hostname'}),
    ('domain_dirs', bad.Shown("'digits'"), {'domain_dirs': {'a': 'x'}}),
    ('domain_dirs', {}, {'name': 'folders'}),
    ('domain_dirs', '/no/such', {
        'name': 'folders', 'domain_dirs': {'a': '/no/such', 'b': '/'}}),
    ('domain_dirs', '1a', {
        'name': 'folders', 'domain_dirs': {'1a': '/no', 'b': '/'}}),
    ('domain_dirs', '/etc', {
        'name': 'folders', 'domain_dirs': {'a': '/etc', 'b': '/etc'}}),
    ('load_size', bad.Shown('(16, 16)'), {
        'name': 'folders', 'image_size': 32, 'load_size': 16}),
]


@pytest.mark.parametrize(('name', 'value', 'arguments'), DATA)
def test_data(name, value, arguments):
  bad.fails(name, value, lambda: data.load(**arguments))


@pytest.fixture(scope='module')
def digits():
  return data.load('digits')


SETS = [
    *[('batch_size', v, lambda d, v=v: d.train_batches(v)) for v in bad.COUNTS],
    ('batch_size', bad.Shown('5000'), lambda d: d.train_batches(5000)),
    *[('start_step', v, lambda d, v=v: d.train_batches(4, start_step=v))
      for v in (-1, 'x', 0.5, None)],
    *[('seed', v, lambda d, v=v: d.train_batches(4, seed=v))
      for v in (-1, 'x', 0.5)],
    ('labels', 'c', lambda d: d.train_batches(4, labels=['c'])),
    ('domain', 'c', lambda d: d.batches('c', 'test', 4)),
    ('split', 'dev', lambda d: d.batches('mnist', 'dev', 4)),
    *[('limit', v, lambda d, v=v: d.arrays('mnist', 'test', v))
      for v in (0, -1, 1.5, 'x', True)],
    ('pairs', 'digits', lambda d: d.pairs('test', 4)),
]


@pytest.mark.parametrize(('name', 'value', 'call'), SETS)
def test_sets(name, value, call, digits):
  bad.fails(name, value, lambda: call(digits))

"""The sets beside the checkout, where they are."""

import numpy as np
import pytest

from alignflow_tf import data

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize(('name', 'sizes'), [
    ('usps_mnist', {
        'usps': {'train': 6562, 'validation': 729, 'test': 2007},
        'mnist': {'train': 54000, 'validation': 6000, 'test': 10000}}),
    ('maps', {
        d: {'train': 987, 'validation': 109, 'test': 1098}
        for d in ('aerial', 'map')}),
    ('facades', {
        d: {'train': 273, 'validation': 30, 'test': 75}
        for d in ('photo', 'label')}),
])
def test_counts(real_data, name, sizes):
  found = data.load(name, data_dir=str(real_data / 'tfds'), download=False)
  assert found.sizes == sizes


def test_svhn_and_mnist_train(real_data):
  found = data.load(
      'svhn_mnist', data_dir=str(real_data / 'tfds'), download=False)
  step = next(iter(found.train_batches(16, labels=found.domains)))
  for domain in found.domains:
    assert step[domain]['image'].shape == (16, 32, 32, 3)
  validation = found.arrays('mnist', 'validation')
  shares = np.bincount(validation['label']) / len(validation['label'])
  assert abs(shares[1] - 0.1124) < 0.002  # MNIST's share of ones


def test_pairs_of_maps_look_alike(real_data):
  """A busy photograph has a busy map, and not the next one in line."""
  found = data.load('maps', data_dir=str(real_data / 'tfds'), download=False)
  pairs = list(found.pairs('test', 100, limit=300).as_numpy_iterator())
  a, b = (np.concatenate([p[d] for p in pairs]).astype(float)
          for d in found.domains)
  green = a[..., 1].std((1, 2))
  busy = b.std((1, 2)).mean(-1)
  paired = np.corrcoef(green, busy)[0, 1]
  shifted = np.corrcoef(green, np.roll(busy, 1))[0, 1]
  assert abs(paired) > 0.2 > abs(shifted)

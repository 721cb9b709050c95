"""Figures of pairs, on cases that can be counted."""

import numpy as np
import pytest

from alignflow_tf import realism
from alignflow_tf.evaluate import pairs
from alignflow_tf.evaluate import palettes


def _images(num=20, seed=0, size=12):
  return np.random.RandomState(seed).rand(num, size, size, 3).astype(np.float32)


def test_perfect_translations():
  x = _images()
  assert pairs.mse(x, x) == pairs.l1(x, x) == pairs.demeaned_mse(x, x) == 0.
  assert pairs.ssim(x, x) == pytest.approx(1.)
  assert pairs.correlation(x, x) == pytest.approx(1.)
  assert pairs.retrieval(x, x) == {'top_1': 1., 'top_5': 1., 'percentile': 1.}


def test_errors_are_on_minus_one_to_one():
  black = np.zeros((2, 12, 12, 1), np.float32)
  assert pairs.mse(black + 1., black) == 4.
  assert pairs.l1(black + 0.25, black) == 0.5
  with pytest.raises(ValueError, match='one shape'):
    pairs.mse(black, black[:1])


def test_a_constant_wins_mse_and_nothing_else():
  x = _images(500, size=2)
  mean = np.repeat(x.mean(axis=0, keepdims=True), 500, axis=0)
  other = _images(500, seed=1, size=2)
  assert pairs.mse(mean, x) < 0.6 * pairs.mse(other, x)
  assert pairs.correlation(mean, x) == 0.
  assert pairs.demeaned_mse(mean, x) == pytest.approx(
      float(np.mean(np.square(2. * (x - mean)))), rel=1e-4)
  found = pairs.retrieval(mean, x)
  assert found['top_1'] == pytest.approx(1 / 500, abs=1e-6)
  assert found['top_5'] == pytest.approx(5 / 500, abs=1e-6)
  assert found['percentile'] == pytest.approx(0.5, abs=1e-6)


def test_a_shifted_brightness_costs_mse_alone():
  x = 0.5 * _images()
  assert pairs.mse(x + 0.25, x) == pytest.approx(0.25)
  assert pairs.demeaned_mse(x + 0.25, x) == pytest.approx(0., abs=1e-9)
  assert pairs.correlation(x + 0.25, x) == pytest.approx(1.)


def test_retrieval_counts_ranks():
  targets = np.arange(6.).reshape(6, 1, 1, 1) / 10.
  translated = targets.copy()
  translated[0] = 0.22  # Nearer to 0.2, 0.3 and 0.1 than to 0.
  found = pairs.retrieval(translated, targets)
  assert found['top_1'] == pytest.approx(5 / 6)
  assert found['top_5'] == 1.
  # 0.2, 0.3, 0.1 and 0.4 is as far as... 0.18 < 0.22: four nearer of five.
  assert found['percentile'] == pytest.approx(1. - (4 / 5) / 6)


def test_equal_targets_share_a_rank():
  targets = np.zeros((4, 1, 1, 1))
  targets[3] = 1.
  found = pairs.retrieval(targets, targets)
  assert found['top_1'] == pytest.approx((3 * (1 / 3) + 1.) / 4)
  assert found['percentile'] == pytest.approx(1. - (3 * (1 / 3)) / 4)


def test_palette():
  palette = np.array([[0., 0., 0.], [1., 0., 0.], [0., 0., 1.]])
  want = np.zeros((1, 2, 2, 3))
  want[0, 0, :, 0] = 1.  # Red above, black below.
  got = 0.9 * want + 0.05
  assert pairs.palette_agreement(got, want, palette) == {
      'class_accuracy': 1., 'mean_iou': 1.}
  got[0, 0, 0] = 0.  # One red pixel is missed: 1/2 of red, 2/3 of black.
  found = pairs.palette_agreement(got, want, palette)
  assert found['class_accuracy'] == 0.75
  assert found['mean_iou'] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_what_is_not_finite_comes_last():
  x = _images()
  translated = x.copy()
  translated[:5, 3, 4] = np.nan
  found = pairs.retrieval(translated, x)
  assert found == {'top_1': 0.75, 'top_5': 0.75, 'percentile': 0.75}
  translated[:] = np.inf
  assert pairs.retrieval(translated, x) == {
      'top_1': 0., 'top_5': 0., 'percentile': 0.}
  assert np.isnan(pairs.mse(np.full_like(x, np.nan), x))


def test_pixels_that_are_not_finite_have_no_colour():
  palette = np.array([[0., 0., 0.], [1., 0., 0.]])
  want = np.zeros((1, 2, 2, 3))  # All black, the first colour.
  got = want.copy()
  got[0, 0, 0, 1] = np.nan
  assert pairs.palette_agreement(got, want, palette) == {
      'class_accuracy': 0.75, 'mean_iou': 0.75}


def test_palettes_are_of_drawn_domains():
  assert palettes.of('maps', 'map').shape == (5, 3)
  assert palettes.of('facades', 'label').max() == 1.
  assert palettes.of('maps', 'aerial') is None
  assert palettes.of('maps', 'map', 1) is None


def test_distances_of_normal_features():
  random = np.random.RandomState(0)
  x, y = random.randn(4000, 3), 2. * random.randn(4000, 3) + [1., 0., 0.]
  # |mean|^2 + sum (sigma_x - sigma_y)^2 = 1 + 3.
  assert realism.frechet_distance(x, y) == pytest.approx(4., abs=0.3)
  assert realism.frechet_distance(x, x) == pytest.approx(0., abs=1e-6)
  same = realism.kernel_distance(x[:2000], x[2000:])
  assert abs(same) < 0.05
  assert realism.kernel_distance(x, y) > 1.
  for distance in (realism.kernel_distance, realism.frechet_distance):
    with pytest.raises(ValueError, match=r'shapes \[N, d\] and \[M, d\]'):
      distance(x, y[:, :2])


def test_distances_of_what_is_not_finite():
  x = np.random.RandomState(0).randn(9, 3)
  for value in (np.nan, np.inf, 1e200):
    y = x.copy()
    y[2, 1] = value
    for distance in (realism.kernel_distance, realism.frechet_distance):
      assert not np.isfinite(distance(y, x))
      assert not np.isfinite(distance(x, y))


def test_kernel_distance_in_blocks(monkeypatch):
  random = np.random.RandomState(0)
  x, y = random.randn(50, 3), random.randn(40, 3) + 1.
  def mean(a, b):
    return np.mean([(p @ q / 3. + 1.)**3 for i, p in enumerate(a)
                    for j, q in enumerate(b) if a is not b or i != j])
  want = mean(x, x) + mean(y, y) - 2. * mean(x, y)
  for block in (realism._BLOCK, 280, 1):
    monkeypatch.setattr(realism, '_BLOCK', block)
    assert realism.kernel_distance(x, y) == pytest.approx(want)
    assert realism.kernel_distance(x, y, realism.within(y)) == pytest.approx(
        want)


def test_kernel_distance_is_unbiased():
  random = np.random.RandomState(0)
  values = [realism.kernel_distance(random.randn(20, 2), random.randn(20, 2))
            for _ in range(300)]
  assert abs(np.mean(values)) < 3. * np.std(values) / np.sqrt(300)

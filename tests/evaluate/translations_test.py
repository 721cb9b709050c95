"""Figures of translations that are few, grey, or not finite."""

import types

import numpy as np
import pytest

from alignflow_tf import data
from alignflow_tf.evaluate import reference_networks
from alignflow_tf.evaluate import translations


def _judge(num, shape=(8, 8, 3), **kwargs):
  random = np.random.RandomState(0)
  x, y = random.rand(2, num, *shape).astype(np.float32)
  domains = types.SimpleNamespace(
      name='maps', domains=('aerial', 'map'), paired=True, event_shape=shape,
      num_classes=None, describe=dict,
      sizes={'map': {'train': 4}},
      mean_image=lambda *_: np.full(shape, 100.),
      rows=lambda *args: {'image': np.stack(
          [np.full(shape, i, np.uint8) for i in args[2]])})
  options = {'inception': lambda images: np.nan_to_num(
      images.reshape(len(images), -1)[:, :5])} | kwargs
  return translations.Judge(
      domains, 'aerial', 'map', x, y, None,
      reference_networks.References(domains, '.'), **options)


def test_all_figures_of_good_images():
  judge = _judge(6, supervised=False)
  found = judge.score(judge.targets)
  assert found['top_1'] == found['mean_iou'] == 1.
  assert found['fid'] == pytest.approx(0., abs=1e-6)
  assert 'not_finite' not in found
  assert judge.chance['top_5'] == 5 / 6
  assert set(judge.baselines()) == {
      'mean_image', 'random_image', 'untranslated'}


def test_rows_without_a_model_do_not_hold_the_training_images(monkeypatch):
  # The fake domains have no `arrays`, which would read the split whole.
  judge = _judge(6, supervised=False)
  scored = []
  monkeypatch.setattr(judge, 'score', scored.append)
  judge.baselines()
  mean, drawn, source = scored
  np.testing.assert_allclose(mean, np.full([6, 8, 8, 3], 100.5 / 256.))
  np.testing.assert_allclose(
      drawn[:, 0, 0, 0],
      (np.random.RandomState(0).randint(0, 4, 6) + 0.5) / 256.)
  assert drawn.shape == mean.shape == source.shape


def test_images_that_are_not_finite():
  judge = _judge(6, supervised=False)
  translated = judge.targets.copy()
  translated[0, 0, 0, 0], translated[1, 2, 3] = np.nan, np.inf
  found = judge.score(translated)
  assert found['not_finite'] == pytest.approx(1 / 3)
  assert found['top_1'] == pytest.approx(2 / 3)
  assert found['class_accuracy'] == pytest.approx(1. - 2 / (6 * 64))
  # Of features that are finite even so.
  assert np.isnan([found[k] for k in ('mse', 'correlation', 'kid', 'fid')]
                 ).all()


def test_one_image_has_no_figures_of_several():
  judge = _judge(1, supervised=False)
  assert set(judge.score(judge.sources)) == {
      'mse', 'mse_unclipped', 'l1', 'ssim', 'class_accuracy', 'mean_iou'}
  assert not judge.chance
  assert judge.features == ''


def test_grey_images_have_no_palette():
  judge = _judge(3, (8, 8, 1), supervised=False)
  assert 'mean_iou' not in judge.score(judge.sources)


def test_sizes_that_the_supervised_network_has_no_place_for():
  judge = _judge(3, (10, 8, 3), inception=None)
  assert judge.features == ''
  assert set(judge.baselines()) == {
      'mean_image', 'random_image', 'untranslated'}
  with pytest.raises(data.DataError, match=r'4 must divide.*\(10, 8, 3\)'):
    judge.references.supervised('aerial', 'map')


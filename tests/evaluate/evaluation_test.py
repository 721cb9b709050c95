"""Evaluation of a run, from its directory to its figures."""

import json
import os

import numpy as np
import pytest

from alignflow_tf import evaluate
from alignflow_tf.evaluate import labels
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import runs


def _bars(num, seed, shift):
  """Images of a vertical bar; the class is its place."""
  random = np.random.RandomState(seed)
  classes = random.randint(0, 3, num)
  images = 0.1 * random.rand(num, 16, 16, 1)
  for image, label in zip(images, classes, strict=True):
    image[:, 4 * label + shift:4 * label + shift + 3] += 0.8
  return images.astype(np.float32), classes


def test_classifier_learns():
  images, classes = _bars(300, 0, 1)
  classifier = labels.train_classifier(images, classes, 3, steps=60)
  test_images, test_classes = _bars(100, 1, 1)
  assert labels.accuracy(classifier, test_images, test_classes) > 0.95
  assert labels.accuracy(classifier, test_images, (test_classes + 1) % 3) < 0.1


def test_label_transfer_scores_translated_images():
  """A translator that moves bars to where the target has them."""
  train = {'a': dict(zip(('image', 'label'), _bars(300, 0, 0), strict=True))}
  test = {'b': dict(zip(('image', 'label'), _bars(100, 1, 4), strict=True))}

  class Mover:

    def translate(self, images, source, target):
      assert (source, target) == ('a', 'b')
      return np.roll(images, 4, axis=2)

  result = labels.label_transfer(Mover(), train, test, 'a', 'b', 3)
  assert result['translated'] > 0.95
  assert result['source_only'] < 0.7


@pytest.fixture(scope='module')
def result(tmp_path_factory):
  run = str(tmp_path_factory.mktemp('runs') / 'run')
  config = config_lib.resolve(
      'cpu', num_scales=2, width=4, num_blocks=1, critic_width=4, batch_size=4,
      objective='mle', steps=2, eval_every=2)
  loop.train(config, run)
  return evaluate.evaluate(run, limit=20, classify=False)


def test_figures(result):
  assert result['images'] == {'optical': 20, 'mnist': 20}
  assert set(result['bits_per_dim']) == {'optical', 'mnist'}
  assert all(np.isfinite(v) for v in result['bits_per_dim'].values())
  for key in ('round_trip', 'round_trip_extremes'):
    assert set(result[key]) == {'optical_to_mnist', 'mnist_to_optical'}
  assert all(v['max'] < 1e-4 for v in result['round_trip'].values())
  path = os.path.join(result['run'], 'evaluation', 'evaluation.json')
  with open(path) as f:
    assert json.load(f) == result
  assert all(os.path.getsize(p) for p in result['pictures'])


def test_table_names_every_figure(result):
  text = evaluate.table(result | {'accuracy': {
      'optical_to_mnist': {'source_only': 0.25, 'translated': 0.5}}})
  for part in ('bits/dim', 'optical_to_mnist and back, test images', '25.0%',
               '50.0%', 'samples.png'):
    assert part in text


def test_validation_split(result):
  validation = evaluate.evaluate(
      result['run'], limit=20, classify=False, split='validation')
  assert validation['split'] == 'validation'
  assert validation['bits_per_dim'] != result['bits_per_dim']
  assert 'validation images' in evaluate.table(validation)
  path = os.path.join(result['run'], 'evaluation_validation')
  assert os.path.exists(os.path.join(path, 'evaluation.json'))


def test_unknown_split(tmp_path):
  with pytest.raises(ValueError, match="`split` must be .*, got 'train'"):
    evaluate.evaluate(str(tmp_path), split='train')


def test_no_run(tmp_path):
  with pytest.raises(runs.RunError, match='has no config.json'):
    evaluate.evaluate(str(tmp_path))

"""Tests that training uses no label of the target, or those asked for."""

import copy
import dataclasses
import os
import types

import keras
import numpy as np
import pytest

from alignflow_tf import adapt
from alignflow_tf import data
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import methods
from alignflow_tf.adapt import problem as problem_lib
from alignflow_tf.adapt import report
from alignflow_tf.data import splits
from alignflow_tf.data import stores
from alignflow_tf.train import inputs
from alignflow_tf.train import runs
from tests.adapt import small
from tests.data import fakes


def _relabelled(domains, name):
  """The same images, with labels drawn anew and train and validation recut.

  Labels are dealt out at random and not renamed: a renaming would keep which
  images are of one class, and so what a stratified cut gives away.
  """
  domain = domains._domains[name]
  known = [domains.arrays(name, s) for s in ('train', 'validation')]
  images, labels, keys = (np.concatenate([a[k] for a in known])
                          for k in ('image', 'label', 'key'))
  labels = np.random.RandomState(3).permutation(labels)
  rows = dict(zip(('train', 'validation'), splits.stratified(
      labels, [len(a['label']) for a in known]), strict=True))

  def open_split(split):
    if split == 'test':
      return domain.store(split)
    chosen = rows[split]
    return stores.ArrayStore(
        images[chosen], labels[chosen], [k.decode() for k in keys[chosen]])

  other = copy.copy(domains)
  other._domains = domains._domains | {name: dataclasses.replace(
      domain, open_split=open_split, _stores={})}
  return other


def _weights(domains, output, method):
  """Weights of a method's classifier after a few updates."""
  adapt.adapt(
      domains, 'mnist', 'optical', method, str(output),
      small.settings(classifier_steps=5, feature_steps=2, target_steps=2))
  model = keras.models.load_model(
      output / method / 'model.keras', compile=False)
  return model.get_weights()


def _same(first, second):
  return all(np.allclose(a, b, atol=1e-4)
             for a, b in zip(first, second, strict=True))


def test_labels_of_the_target_are_out_of_reach(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  hidden = problem.domains
  assert not hidden.has_labels('optical')
  for split in ('train', 'validation', 'test'):
    arrays = hidden.arrays('optical', split)
    assert 'label' not in arrays
    assert arrays['key'][0] == b'0'
    assert hidden._domains['optical'].store(split).labels is None
  with pytest.raises(data.DataError, match='`labels` names'):
    hidden.train_batches(4, labels=('optical',))
  batch = next(iter(hidden.train_batches(4, labels=('mnist',))))
  assert set(batch['optical']) == {'image'}
  assert set(batch['mnist']) == {'image', 'label'}
  # All of the target's images are there, whatever cut is made of them.
  both = np.concatenate([
      domains.arrays('optical', s)['image'] for s in ('train', 'validation')])
  assert sorted(x.tobytes() for x in both) == sorted(
      x.tobytes() for x in problem.unlabelled)


def test_a_few_labels_of_the_target_are_used_if_asked_for(domains, tmp_path):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical', 2)
  assert not problem.domains.has_labels('optical')
  few = problem.few
  assert few.labels.tolist() == [c for c in range(10) for _ in range(2)]
  true = domains.arrays('optical', 'train')
  labels = {x.tobytes(): y for x, y in zip(
      true['image'], true['label'], strict=True)}
  assert [labels[x.tobytes()] for x in few.images] == few.labels.tolist()

  settings = small.settings(classifier_steps=2, few_labels=2)
  result = adapt.adapt(domains, 'mnist', 'optical', 'source_only',
                       str(tmp_path), settings, score=False)
  assert result['few_labels'] == 20
  with pytest.raises(config_lib.AdaptError, match='`few_labels` must be at'):
    problem_lib.make(domains, 'mnist', 'optical', 10_000)
  with pytest.raises(config_lib.AdaptError, match="labels of 'optical'"):
    problem_lib.make(
        domains.without_labels('optical'), 'mnist', 'optical', 2)


def test_a_fifth_of_the_labelled_images_are_the_targets(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical', 2)
  work = types.SimpleNamespace(problem=problem)
  state = methods.State('source', lambda: problem.train)
  found = methods._labelled(work, state)
  assert found.images.shape[1:] == problem.train.images.shape[1:]
  assert len(found.labels) == len(found.images)
  assert 1 - len(problem.train.labels) / len(found.labels) == pytest.approx(
      0.2, abs=0.01)
  # The upper bound has all labels once.
  assert methods._labelled(
      work, state._replace(name='target')) is problem.train


@pytest.mark.slow
def test_training_is_the_same_whatever_the_labels_of_the_target(
    domains, tmp_path):
  other = _relabelled(domains, 'optical')
  before, after = (
      dict(zip(arrays['key'], arrays['label'], strict=True))
      for arrays in (d.arrays('optical', 'train') for d in (domains, other)))
  assert set(before) != set(after)
  both = set(before) & set(after)
  assert np.mean([before[k] != after[k] for k in both]) > 0.8
  assert _same(_weights(domains, tmp_path / 'a', 'alignflow+'),
               _weights(other, tmp_path / 'b', 'alignflow+'))
  translated = [np.load(
      tmp_path / name / 'alignflow_translated' / 'train.npy').astype(int)
                for name in 'ab']
  assert np.abs(translated[0] - translated[1]).max() <= 1


def test_labels_that_are_used_would_be_noticed_in_the_weights(
    domains, tmp_path):
  """What shows that the test above could fail."""
  assert not _same(
      _weights(domains, tmp_path / 'a', 'target_only'),
      _weights(_relabelled(domains, 'optical'), tmp_path / 'b', 'target_only'))


def test_a_source_of_tfds_gives_the_names_of_its_classes(tmp_path):
  fakes.write_records(tmp_path, 'mnist', '3.0.1', (28, 28, 1),
                      {'train': 60, 'test': 10})
  fakes.fill_folder(tmp_path / 'photo', 40, grey=True)
  domains = data.load(
      'folders', data_dir=str(tmp_path), download=False, image_size=8,
      domain_dirs={'digit': 'tfds:mnist', 'photo': str(tmp_path / 'photo')})
  result = adapt.adapt(
      domains, 'digit', 'photo', 'source_only', str(tmp_path / 'out'),
      small.settings(classifier_steps=2, batch_size=8))
  assert result['accuracy'] is None
  assert result['classes'] == [str(i) for i in range(10)]


@pytest.mark.slow
def test_pictures_of_ones_own_with_a_target_without_labels(tmp_path):
  for kind in ('cat', 'dog'):
    fakes.fill_folder(tmp_path / 'drawn' / kind, 60)
  fakes.fill_folder(tmp_path / 'photo', 60)
  domains = data.load(
      'folders', image_size=8, label_by_folder='drawn',
      domain_dirs={n: str(tmp_path / n) for n in ('drawn', 'photo')})
  arguments = (str(tmp_path / 'out'), small.settings(classifier_steps=2))
  result = adapt.adapt(domains, 'drawn', 'photo', 'alignflow', *arguments)
  assert result['accuracy'] is None
  assert 'confusion' not in result
  assert result['target_images'] == 54
  assert os.path.exists(tmp_path / 'out' / 'alignflow' / 'saved_model' / '1')
  assert result['classes'] == ['cat', 'dog']
  # The translator alone can be loaded, with its data, as `evaluate` does.
  run = runs.Run(str(tmp_path / 'out' / 'alignflow_translator'))
  again = inputs.load(run.config)
  assert again.sizes == domains.sizes
  assert again.event_shape == run.event_shape
  assert 'alignflow' in report.table({'alignflow': [result]}, 'drawn_photo')
  with pytest.raises(config_lib.AdaptError, match="needs labels of 'photo'"):
    adapt.adapt(domains, 'drawn', 'photo', 'target_only', *arguments)
  with pytest.raises(config_lib.AdaptError, match="source 'photo'"):
    adapt.adapt(domains, 'photo', 'drawn', 'alignflow',
                str(tmp_path / 'none'), arguments[1])
  assert not (tmp_path / 'none').exists()

"""The pipeline of domain adaptation, on the digits that come with packages."""

import copy
import dataclasses
import json
import os
import re
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import adapt
from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import criteria
from alignflow_tf.adapt import pipeline
from alignflow_tf.adapt import problem as problem_lib
from alignflow_tf.adapt import report
from alignflow_tf.adapt import savedmodel
from alignflow_tf.adapt import stages
from alignflow_tf.data import splits
from alignflow_tf.data import stores
from alignflow_tf.train import inputs
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from tests import cpp_loader
from tests.data import fakes

FLOW = ('preset=cpu', 'num_scales=1', 'width=4', 'num_blocks=1',
        'critic_width=4', 'critic_layers=1', 'batch_size=4', 'steps=3',
        'pool_size=4', 'eval_every=100')


def _settings(**overrides):
  values = dict(
      network='strided', batch_size=32, classifier_steps=60, feature_steps=5,
      target_steps=5, translator=FLOW, cyclegan=('num_scales=2',))
  return config_lib.Settings(**(values | overrides))


def _warped(**overrides):
  return _settings(
      **({'classifier_augment': True, 'semantic_augment': True} | overrides))


@pytest.fixture(scope='module')
def domains():
  return data.load('digits')


@pytest.fixture(scope='module')
def done(domains, tmp_path_factory):
  """Results of two methods in one directory, which have stages in common."""
  output = str(tmp_path_factory.mktemp('adapt') / 'seed_0')
  results = {
      method: adapt.adapt(
          domains, 'mnist', 'optical', method, output, _warped())
      for method in ('alignflow', 'alignflow+')}
  return output, results


def test_methods_share_stages_and_are_scored(done):
  output, results = done
  assert results['alignflow+']['stages'] == [
      'alignflow_translated', 'alignflow_classifier', 'alignflow_feature',
      'alignflow_feature_target']
  assert results['alignflow']['stages'] == (
      results['alignflow+']['stages'][:3])
  for method, result in results.items():
    with open(os.path.join(output, method, 'result.json')) as f:
      assert json.load(f) == result
    assert 0. <= result['accuracy'] <= 1.
    confusion = np.array(result['confusion'])
    assert confusion.sum() == result['test_images'] == 500
    assert np.trace(confusion) / 500 == pytest.approx(result['accuracy'])
    assert result['pixel_range'] == [0., 1.]
    assert result['classes'] is None  # Digits have no names.
  assert os.path.exists(
      os.path.join(output, 'alignflow_translated', 'translated.png'))
  assert not [n for n in os.listdir(output) if n.endswith('.partial')]


def test_a_finished_stage_is_not_run_again(done, domains, monkeypatch):
  output, results = done

  def fail(*unused_args, **unused_kwargs):
    raise AssertionError('run again')

  for name in ('train_classifier', 'adapt_features', 'adapt_to_target'):
    monkeypatch.setattr(stages, name, fail)
  monkeypatch.setattr(pipeline.loop, 'train', fail)
  monkeypatch.setattr(problem_lib.Scorer, 'test', fail)
  again = adapt.adapt(
      domains, 'mnist', 'optical', 'alignflow+', output, _warped())
  assert again == results['alignflow+']


def test_other_settings_in_a_used_directory_are_refused(done, domains):
  output, _ = done
  with pytest.raises(config_lib.AdaptError,
                     match='`output`.*feature_steps was 5 and is 6'):
    adapt.adapt(domains, 'mnist', 'optical', 'alignflow', output,
                _warped(feature_steps=6))
  # How images are warped, only where they are.
  with pytest.raises(config_lib.AdaptError,
                     match='`output`.*augment_scale was 0.1 and is 0.2'):
    adapt.adapt(domains, 'mnist', 'optical', 'alignflow', output,
                _warped(augment_scale=0.2))
  with pytest.raises(config_lib.AdaptError,
                     match='`output`.*class_priors was False and is True'):
    adapt.adapt(domains, 'mnist', 'optical', 'alignflow', output,
                _warped(class_priors=True))


def test_priors_are_among_what_the_target_stage_depends_on(
    done, domains, monkeypatch):
  output, _ = done
  seen = {}

  def stage(self, name, facts, train):
    seen[name] = facts
    return pipeline._Stage(output, facts)

  monkeypatch.setattr(pipeline._Work, '_classifier_stage', stage)
  monkeypatch.setattr(
      pipeline._Work, 'score', lambda self, method, final, scorer: {})
  adapt.adapt(domains, 'mnist', 'optical', 'alignflow+', output,
              _warped(class_priors=True), skip=('translator', 'feature'))
  assert 'class_priors' not in seen['source_classifier']
  assert seen['source_target']['class_priors'] is True


def test_a_stage_that_was_killed_starts_anew(domains, tmp_path, monkeypatch):
  output = str(tmp_path)
  with monkeypatch.context() as m:
    m.setattr(stages, 'adapt_features', lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      adapt.adapt(domains, 'mnist', 'optical', 'adda', output, _settings())
  assert os.path.isdir(tmp_path / 'source_classifier')
  assert not os.path.isdir(tmp_path / 'source_feature')
  before = os.stat(tmp_path / 'source_classifier' / 'model.keras').st_mtime_ns
  result = adapt.adapt(
      domains, 'mnist', 'optical', 'adda', output, _settings(), score=False)
  assert result['accuracy'] is None
  assert before == os.stat(
      tmp_path / 'source_classifier' / 'model.keras').st_mtime_ns


def test_classifiers_learn_the_source(domains, tmp_path):
  result = adapt.adapt(
      domains, 'mnist', 'optical', 'source_only', str(tmp_path),
      _settings(classifier_steps=400), score=False)
  assert result['criteria']['source_accuracy'] > 0.85
  assert result['stages'] == ['source_classifier']
  bound = adapt.adapt(
      domains, 'mnist', 'optical', 'target_only', str(tmp_path),
      _settings(classifier_steps=400))
  assert bound['stages'] == ['target_classifier']
  assert bound['accuracy'] > 0.8


def test_an_average_of_what_the_feature_stage_went_through_is_kept(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  settings = _settings(feature_steps=30, feature_rate=1e-3, feature_gate=0.)
  model = stages.build((16, 16, 1), 10, settings, 0)

  def distance(decay: float) -> float:
    adapted = stages.adapt_features(
        model, problem.train, problem.unlabelled,
        dataclasses.replace(settings, feature_average=decay), 0)
    return sum(float(np.abs(a.numpy() - b.numpy()).sum()) for a, b in zip(
        adapted.trainable_variables, model.trainable_variables, strict=True))

  # The last weights went far; their average stayed behind.
  assert 0. < distance(0.99) < distance(0.)


def test_a_moving_average_counts_its_first_updates_less():
  networks = [keras.Sequential([keras.Input([1]), keras.layers.Dense(
      1, use_bias=False)]) for _ in range(2)]
  for decay, expected in ((0., 5.), (0.3, None)):
    average = stages._Average(*networks, decay)
    networks[0].set_weights([np.zeros([1, 1])])
    by_hand = 0.
    for i in range(5):
      networks[1].set_weights([np.full([1, 1], i + 1.)])
      average.update(tf.constant(i))
      keep = min(decay, (1 + i) / (10 + i))
      by_hand = keep * by_hand + (1 - keep) * (i + 1.)
    found = float(average.model.get_weights()[0][0, 0])
    assert found == pytest.approx(by_hand, rel=1e-6)
    assert expected in (None, found)


def test_the_feature_stage_can_go_on_with_the_sources_labels(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  settings = _settings(
      feature_steps=150, feature_rate=1e-3, feature_gate=0.99,
      classifier_augment=True, augment_scale=0.02, augment_shift=0.02)
  model = stages.build((16, 16, 1), 10, settings, 0)

  def accuracy(weight: float) -> float:
    adapted = stages.adapt_features(
        model, problem.train, problem.unlabelled,
        dataclasses.replace(settings, feature_source_weight=weight), 0)
    found = stages.predict(adapted, problem.validation.images).argmax(axis=-1)
    return float((found == problem.validation.labels).mean())

  # An untrained classifier: only labels can teach it the classes.
  assert accuracy(1.) > 0.6
  assert accuracy(0.) < 0.4


def test_source_images_are_drawn_by_the_priors():
  labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
  prior = np.array([0.2, 0.5, 0.3])
  draw = stages._source_places(labels, prior)
  found = labels[draw(0, 0, tf.constant(3), 20_000).numpy()]
  np.testing.assert_allclose(
      np.bincount(found) / 20_000, prior, atol=0.015)
  # By its labels' own frequencies without one, and the same ones by one seed.
  plain = stages._source_places(labels, None)
  first = plain(0, 0, tf.constant(3), 20_000).numpy()
  np.testing.assert_allclose(
      np.bincount(labels[first]) / 20_000, [0.9, 0.09, 0.01], atol=0.015)
  np.testing.assert_array_equal(
      first, plain(0, 0, tf.constant(3), 20_000).numpy())
  # A class that the source has not is drawn from the others.
  few = stages._source_places(np.array([0, 0, 1]), prior)
  assert set(few(0, 0, tf.constant(0), 100).numpy()) == {0, 1, 2}


def test_information_is_largest_at_the_priors():
  prior = np.array([0.2, 0.5, 0.3])
  eye = np.eye(3, dtype=np.float32)
  as_often = tf.constant(np.repeat(eye, [2, 5, 3], axis=0))
  equal = tf.constant(np.repeat(eye, [4, 4, 4], axis=0))
  assert float(stages._information(as_often, prior)) == pytest.approx(
      0., abs=1e-5)
  assert float(stages._information(equal, prior)) < -0.05
  assert float(stages._information(equal, None)) == pytest.approx(
      np.log(3.), abs=1e-5)
  assert float(stages._information(as_often, None)) < np.log(3.) - 0.05


def test_priors_are_what_the_classifier_finds(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  model = stages.build((16, 16, 1), 10, _settings(), 0)
  prior = stages._prior(
      model, problem.unlabelled, _settings(class_priors=True))
  np.testing.assert_allclose(
      prior, stages.predict(model, problem.unlabelled).mean(axis=0), atol=1e-6)
  assert prior.sum() == pytest.approx(1., abs=1e-6)
  assert stages._prior(model, problem.unlabelled, _settings()) is None


@pytest.mark.parametrize('stage', ['feature', 'target'])
def test_stages_heed_the_priors(domains, stage):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  settings = _settings(feature_source_weight=1.)
  model = stages.build((16, 16, 1), 10, settings, 0)
  train = {'feature': stages.adapt_features,
           'target': stages.adapt_to_target}[stage]

  def weights(class_priors: bool) -> list[np.ndarray]:
    return train(
        model, problem.train, problem.unlabelled,
        dataclasses.replace(settings, class_priors=class_priors),
        0).get_weights()

  with_priors, without = weights(True), weights(False)
  assert any(np.abs(a - b).max() > 1e-5
             for a, b in zip(with_priors, without, strict=True))


def test_behind_a_shut_gate_only_the_sources_labels_teach(domains):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  settings = _settings(
      feature_steps=3, feature_source_weight=1., feature_rate=1e-3)
  model = stages.build((16, 16, 1), 10, settings, 0)
  # A discriminator that is never right: these images are alike.
  alike = problem.train._replace(images=np.zeros_like(problem.train.images))

  def weights(target: np.ndarray, gate: float) -> list[np.ndarray]:
    return stages.adapt_features(
        model, alike, target, dataclasses.replace(settings, feature_gate=gate),
        0).get_weights()

  dark = np.zeros_like(problem.unlabelled)
  grey = np.full_like(problem.unlabelled, 9)
  for a, b in zip(weights(dark, 0.9999), weights(grey, 0.9999), strict=True):
    np.testing.assert_array_equal(a, b)
  assert any(np.any(a != b) for a, b in zip(
      weights(dark, 0.), weights(grey, 0.), strict=True))


def test_cycada_trains_a_cyclegan(domains, tmp_path):
  result = adapt.adapt(
      domains, 'mnist', 'optical', 'cycada', str(tmp_path), _settings(),
      skip=('feature', 'semantic'))
  assert result['stages'] == [
      'cyclegan_unsemantic_translated', 'cyclegan_unsemantic_classifier']
  with open(tmp_path / 'cyclegan_unsemantic_translator' / 'config.json') as f:
    assert json.load(f)['config']['model'] == 'cyclegan'
  assert os.path.exists(
      tmp_path / 'cycada-no_feature-no_semantic' / 'result.json')


# -- the target's labels ------------------------------------------------


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
      _settings(classifier_steps=5, feature_steps=2, target_steps=2))
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


@pytest.mark.slow
def test_pictures_of_ones_own_with_a_target_without_labels(tmp_path):
  for kind in ('cat', 'dog'):
    fakes.fill_folder(tmp_path / 'drawn' / kind, 60)
  fakes.fill_folder(tmp_path / 'photo', 60)
  domains = data.load(
      'folders', image_size=8, label_by_folder='drawn',
      domain_dirs={n: str(tmp_path / n) for n in ('drawn', 'photo')})
  arguments = (str(tmp_path / 'out'), _settings(classifier_steps=2))
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


# -- what comes out -----------------------------------------------------


def test_saved_model_classifies_in_the_cpp_loader(done, domains):
  output, _ = done
  images = domains.arrays('optical', 'test', limit=5)['image']
  path = os.path.join(output, 'alignflow', 'saved_model', '1')
  floats = images_lib.from_uint8(tf.constant(images)).numpy()
  with cpp_loader.load(path) as served:
    got = served.run({'image': floats}, signature='classify')
  model = keras.models.load_model(
      os.path.join(output, 'alignflow', 'model.keras'), compile=False)
  want = tf.nn.softmax(model(floats)).numpy()
  np.testing.assert_allclose(got['probabilities'], want, atol=1e-5)
  np.testing.assert_array_equal(got['label'], want.argmax(axis=-1))
  # What the stage's own classifier, which was scored, says.
  inner = pipeline._Stage(os.path.join(output, 'alignflow_feature'), {}).model
  np.testing.assert_allclose(want, stages.predict(inner, images), atol=1e-5)


@pytest.fixture
def named(tmp_path):
  """A result with names of classes, where the documentation has one."""
  inner = stages.build((8, 10, 3), 2, _settings(), 0)
  model = savedmodel.public(inner)
  path = tmp_path / 'runs/adapt/drawn_photo/seed_0/alignflow'
  path.mkdir(parents=True)
  model.save(path / 'model.keras')
  savedmodel.save(model, str(path / 'saved_model/1'), ['cat', 'dog'])
  (path / 'result.json').write_text(json.dumps({'classes': ['cat', 'dog']}))
  return path, inner


def test_names_of_classes_are_served(named):
  path, inner = named
  images = np.random.RandomState(0).randint(0, 256, (3, 8, 10, 3), np.uint8)
  want = stages.predict(inner, images)
  with cpp_loader.load(str(path / 'saved_model/1')) as served:
    got = served.run({'image': images_lib.from_uint8(
        tf.constant(images)).numpy()}, signature='classify')
  np.testing.assert_allclose(got['probabilities'], want, atol=1e-5)
  assert got['classes'].tolist() == [[b'cat', b'dog']] * 3


def test_the_documentations_example_runs(named, repo_root, monkeypatch):
  path, inner = named
  text = (repo_root / 'docs/adaptation.md').read_text()
  block, = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  monkeypatch.chdir(path.parents[4])
  fakes.write_picture('photo.jpg', fakes.colour())
  names = {}
  exec(block, names)  # Our own documentation.
  want = stages.predict(inner, names['levels'].astype(np.uint8))
  np.testing.assert_allclose(names['probabilities'], want, atol=1e-5)
  assert names['name'] == ['cat', 'dog'][want[0].argmax()]
  assert names['served_name'] == names['name']


def test_table_has_mean_spread_and_the_papers_row():
  runs = [{'accuracy': a, 'seed': i, 'skip': [], 'criteria': {'entropy': 0.1}}
          for i, a in enumerate((0.9, 0.92))]
  text = report.table({'alignflow': runs}, 'mnist_usps')
  assert '91.00' in text
  assert '1.41' in text
  assert '96.2 +- 0.2' in text
  assert '0: 90.00 1: 92.00' in text


def test_table_has_shots_row_and_none_where_stages_are_left_out():
  def row(method, skip, **arguments):
    runs = [{'accuracy': 0.9, 'seed': 0, 'skip': skip, 'criteria': {}}]
    return report.table({method: runs}, 'usps_mnist', **arguments)

  assert '(SHOT 98.0)' in row('alignflow+', [])
  assert '96.7' in row('alignflow', [])
  # A stage that the method does not have changes nothing.
  assert '90.1' in row('adda', ['translator'])
  for method, stage in (('alignflow+', 'target'), ('alignflow', 'semantic'),
                        ('adda', 'feature')):
    text = row(method, [stage])
    assert 'SHOT' not in text
    assert '+-' not in text
  assert '+-' not in row('alignflow', [], published=False)


def test_table_of_criteria_that_differ_and_are_not_finite():
  adda, flow = ([{'accuracy': None, 'seed': 0, 'skip': [], 'criteria': c}]
                for c in ({'entropy': None}, {'entropy': 0.1, 'rarest': 0.2}))
  text = report.table({'adda': adda, 'alignflow': flow, 'cycada': []}, 'a_b')
  rows = [line.split() for line in text.splitlines()]
  assert ['method', 'seed', 'entropy', 'rarest'] in rows
  assert ['adda', '0', '-', '-'] in rows
  assert ['alignflow', '0', '0.1000', '0.2000'] in rows


def test_criteria():
  sure = np.eye(4)
  got = criteria.unsupervised(sure)
  assert got['information'] == pytest.approx(np.log(4.))
  assert got['entropy'] == pytest.approx(0., abs=1e-6)
  flat = criteria.unsupervised(np.full((6, 4), 0.25))
  assert flat['information'] == pytest.approx(0.)
  assert flat['sure'] == 0.
  one = criteria.unsupervised(np.eye(4)[[0, 0, 0]])
  assert one['spread'] == pytest.approx(0., abs=1e-6)
  assert one['rarest'] == 0.


# -- errors -------------------------------------------------------------


@pytest.mark.parametrize(('arguments', 'match'), [
    (dict(method='best'), "`method`.*'best'"),
    (dict(skip=('critic',)), "`skip`.*'critic'"),
    (dict(seed=-1), '`seed`.*-1'),
    (dict(settings=_settings(translator=('stepz=3',))), '`translator`'),
    (dict(settings=_settings(translator=('objective=mle',))),
     "`translator`.*'mle'"),
    (dict(source='optical', target='none'), "'none'"),
])
def test_bad_arguments(domains, tmp_path, arguments, match):
  values = dict(source='mnist', target='optical', method='alignflow',
                settings=_settings()) | arguments
  with pytest.raises((config_lib.AdaptError, data.DataError), match=match):
    adapt.adapt(domains, output=str(tmp_path / 'out'), **values)
  assert not (tmp_path / 'out').exists()


def test_the_lock_names_its_flag(domains, tmp_path):
  with runs.lock(str(tmp_path)), pytest.raises(
      runs.RunError, match='`output`: process'):
    adapt.adapt(domains, 'mnist', 'optical', 'adda', str(tmp_path))


def test_a_home_directory_is_expanded(domains, tmp_path, monkeypatch):
  (tmp_path / 'home').mkdir()
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  monkeypatch.chdir(tmp_path)
  adapt.adapt(domains, 'mnist', 'optical', 'source_only', '~/a',
              _settings(classifier_steps=1), score=False)
  assert os.listdir(tmp_path) == ['home']
  assert (tmp_path / 'home' / 'a' / 'source_classifier').is_dir()


def test_seconds_before_a_stop_are_counted(tmp_path, monkeypatch):
  now = [100.]
  monkeypatch.setattr(
      pipeline, 'time', types.SimpleNamespace(monotonic=lambda: now[0]))
  run_dir = tmp_path / 'run'

  def train(stop):
    def step(*unused_args):
      run_dir.mkdir(exist_ok=True)
      now[0] += 7.
      if stop:
        raise loop.Stopped('Stopped', 2)

    monkeypatch.setattr(pipeline.loop, 'train', step)
    return pipeline._train(None, str(run_dir), None, None)

  for _ in range(2):
    with pytest.raises(loop.Stopped):
      train(stop=True)
  assert train(stop=False) == 14.
  run_dir.rmdir()
  assert train(stop=False) == 0.


def test_a_stage_counts_what_was_spent_on_it_before(domains, tmp_path):
  problem, _ = problem_lib.make(domains, 'mnist', 'optical')
  work = pipeline._Work(problem, str(tmp_path), _settings(), 0, ())
  stage = work._stage('name', {}, lambda path: {'before': 3600.})
  record = pipeline._read(stage)
  assert 3600. <= record['seconds'] < 3660.
  assert set(record) == {'facts', 'seconds'}


def _of_files(domains, files):
  """The same set with another fingerprint of its files."""
  other = copy.copy(domains)
  other._domains = {
      name: dataclasses.replace(d, info={**d.info, 'files': files})
      for name, d in domains._domains.items()}
  return other


def test_other_files_of_equal_names_and_counts_are_noticed(
    domains, tmp_path, monkeypatch):
  def run(known):
    return adapt.adapt(
        known, 'mnist', 'optical', 'adda', str(tmp_path),
        _settings(classifier_steps=2, feature_steps=2))

  # The first version knew nothing of files, nor of how pictures are read.
  with monkeypatch.context() as m:
    m.setattr(pipeline._Work, '_data_facts', lambda self: {
        'name': domains.name, 'shape': domains.event_shape,
        'sizes': domains.sizes})
    first = run(_of_files(domains, 'a'))
  with monkeypatch.context() as m:
    m.setattr(stages, 'train_classifier', lambda *args: 1 / 0)
    m.setattr(stages, 'adapt_features', lambda *args: 1 / 0)
    assert run(_of_files(domains, 'b')) == first
  fresh = tmp_path / 'fresh'
  call = ('mnist', 'optical', 'source_only', str(fresh),
          _settings(classifier_steps=2))
  adapt.adapt(_of_files(domains, 'a'), *call)
  with pytest.raises(config_lib.AdaptError,
                     match="`output`.*mnist was 'a' and is 'b'"):
    adapt.adapt(_of_files(domains, 'b'), *call)


def test_a_loss_that_is_not_finite_is_not_kept(domains, tmp_path, monkeypatch):
  monkeypatch.setattr(
      stages, '_cross_entropy', lambda logits, labels: logits[0, 0] * np.nan)
  with pytest.raises(config_lib.AdaptError, match='`classifier_rate`.*nan'):
    adapt.adapt(domains, 'mnist', 'optical', 'source_only', str(tmp_path),
                _settings(classifier_steps=2))
  assert not (tmp_path / 'source_classifier').exists()


def test_a_translator_goes_on_with_its_own_semantic_settings(
    domains, tmp_path, monkeypatch):
  def stop(config, run_dir, *unused_args):
    os.makedirs(run_dir, exist_ok=True)
    with open(os.path.join(run_dir, 'config.json'), 'w') as f:
      json.dump(config.to_json(), f)
    raise loop.Stopped('Stopped', 2)

  monkeypatch.setattr(pipeline.loop, 'train', stop)

  def begin(**values):
    adapt.adapt(domains, 'mnist', 'optical', 'alignflow', str(tmp_path),
                _settings(**values))

  with pytest.raises(loop.Stopped):
    begin()
  with pytest.raises(config_lib.AdaptError,
                     match=r'`output`.*semantic_noise was 0.15 and is 0.3'):
    begin(semantic_noise=0.3)
  with pytest.raises(loop.Stopped):
    begin()
  # A run of an earlier version has no such file.
  os.remove(tmp_path / 'alignflow_translator.json')
  with pytest.raises(loop.Stopped):
    begin(semantic_noise=0.3)


def test_stages_of_an_earlier_version_are_used(
    domains, tmp_path, monkeypatch):
  call = (domains, 'mnist', 'optical', 'adda', str(tmp_path),
          _settings(classifier_steps=2, feature_steps=2))
  first = adapt.adapt(*call)
  # It knew no `classifier_augment`.
  for name in ('source_classifier/stage.json', 'source_feature/stage.json',
               'adda/result.json'):
    with open(tmp_path / name) as f:
      record = json.load(f)
    facts = record['facts']
    del facts.get('after', facts)['classifier_augment']
    with open(tmp_path / name, 'w') as f:
      json.dump(record, f)
  monkeypatch.setattr(stages, 'train_classifier', lambda *args: 1 / 0)
  assert adapt.adapt(*call)['accuracy'] == first['accuracy']
  with pytest.raises(config_lib.AdaptError,
                     match='`output`.*classifier_augment was False and is'):
    adapt.adapt(*call[:5], _settings(
        classifier_steps=2, feature_steps=2, classifier_augment=True))


@pytest.mark.parametrize('values', [
    {'batch_size': 1}, {'classifier_rate': 0.}, {'semantic_weight': -1.},
    {'feature_gate': 1.}, {'network': 'vgg'}, {'translator': ('steps',)},
    {'fit': 'squash'}, {'load_size': 4}, {'max_pixels': 0}, {'flip': 'yes'},
    # What would do nothing there.
    *({'translator': (item,)} for item in (
        'flip=True', 'load_size=40', 'fit=pad', 'skip_unreadable=True',
        'max_pixels=9', 'cache=none', 'label_by_folder=True'))])
def test_bad_settings(values):
  with pytest.raises(config_lib.AdaptError, match=f'`{next(iter(values))}`'):
    config_lib.Settings(**values)


@pytest.mark.parametrize('kind', ['alignflow', 'cyclegan'])
@pytest.mark.parametrize('preset', config_lib.PRESETS)
def test_presets_configure_their_translators(preset, kind):
  settings = config_lib.resolve(preset)
  shape = (settings.image_size, settings.image_size, settings.channels)
  problem = types.SimpleNamespace(domains=types.SimpleNamespace(
      name='usps_mnist', event_shape=shape))
  config = pipeline._Work(
      problem, 'out', settings, 3, ()).translator_config(kind)
  assert config.model == kind
  assert (config.image_size, config.channels) == (shape[0], shape[2])
  assert config.seed == 3


def test_a_translator_of_folders_knows_them_and_how_they_are_read(
    tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  described = {'domains': {'a': {'read_from': 'x'}, 'b': {'read_from': 'y'}}}
  problem = types.SimpleNamespace(domains=types.SimpleNamespace(
      name='folders', event_shape=(32, 32, 3), describe=lambda: described))
  settings = config_lib.resolve(
      None, 'folders', flip=True, load_size=40, fit='pad')
  config = pipeline._Work(
      problem, 'out', settings, 3, ()).translator_config('alignflow')
  assert config.domain == (f'a:{tmp_path}/x', f'b:{tmp_path}/y')
  assert (config.flip, config.load_size, config.fit) == (True, 40, 'pad')
  # A run that is there keeps its own, and an earlier version had none.
  run_dir = str(tmp_path / 'run')
  assert pipeline._of_run(config, run_dir) == config
  runs.Run.create(run_dir, dataclasses.replace(config, domain=()), ('a', 'b'),
                  (32, 32, 3), {'a': False, 'b': False})
  assert pipeline._of_run(config, run_dir).domain == ()


@pytest.mark.parametrize(('dataset', 'preset'), [
    ('mnist_usps', 'cpu'), ('usps_mnist', 'cpu'), ('digits', 'cpu'),
    ('svhn_mnist', 'cpu_svhn'), ('mnist_svhn', 'cpu_svhn'),
    ('folders', 'cpu_pictures'), ('maps', 'cpu_pictures'),
    (None, 'cpu_pictures')])
def test_presets_go_by_the_name_of_the_data(dataset, preset):
  settings = config_lib.resolve(None, dataset)
  assert settings.preset == preset
  assert ('framing=True' in settings.alignflow) == (preset == 'cpu')
  if preset == 'cpu_pictures':
    assert settings.channels is None
    assert (settings.network, settings.classifier_size) == ('strided', 0)


@pytest.mark.parametrize(('task', 'source', 'larger', 'smaller'), [
    ('mnist_usps', 54_000, 54_000, 7_291),
    ('usps_mnist', 6_562, 54_000, 6_562),
    ('svhn_mnist', 65_932, 65_932, 60_000)])
def test_paper_is_adversarial_and_has_the_papers_epochs(
    task, source, larger, smaller):
  preset = 'paper_svhn' if 'svhn' in task else 'paper'
  settings = config_lib.resolve(preset, task)
  problem = types.SimpleNamespace(domains=types.SimpleNamespace(
      name=task, event_shape=(32, 32, settings.channels)))
  work = pipeline._Work(problem, 'out', settings, 0, ())
  config = work.translator_config('alignflow')
  assert (config.objective, config.lambda_a, config.lambda_b) == (
      'adversarial', 0., 0.)
  baseline = work.translator_config('cyclegan')
  for steps, size, images, epochs in (
      (config.steps, config.batch_size, larger, 200),
      (baseline.steps, baseline.batch_size, larger, 200),
      (settings.classifier_steps, settings.batch_size, source, 100),
      (settings.feature_steps, settings.batch_size, smaller, 200)):
    assert steps * size / images == pytest.approx(epochs, rel=0.02)


def test_presets_are_settings():
  for name in config_lib.PRESETS:
    assert config_lib.resolve(name).preset == name
  assert config_lib.resolve(None, 'svhn_mnist').network == 'dtn'
  settings = config_lib.resolve('cpu', alignflow=('width=8',))
  assert settings.alignflow[-1] == 'width=8'
  with pytest.raises(config_lib.AdaptError, match='`preset`'):
    config_lib.resolve('gpu')

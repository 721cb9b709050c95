"""Tests of whole adaptations: stages, what they depend on, errors."""

import copy
import dataclasses
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import adapt
from alignflow_tf import classification
from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import methods
from alignflow_tf.adapt import pipeline
from alignflow_tf.adapt import problem as problem_lib
from alignflow_tf.adapt import stages
from alignflow_tf.adapt import translator
from alignflow_tf.adapt import work as work_lib
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from tests import cpp_loader
from tests.adapt import small


@pytest.fixture(scope='module')
def done(domains, tmp_path_factory):
  """Results of two methods in one directory, which have stages in common."""
  output = str(tmp_path_factory.mktemp('adapt') / 'seed_0')
  results = {
      method: adapt.adapt(
          domains, 'mnist', 'optical', method, output, small.warped())
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
  inner = work_lib.Finished(os.path.join(output, 'alignflow_feature'), {}).model
  np.testing.assert_allclose(
      want, classification.predict(inner, images), atol=1e-5)


def test_a_finished_stage_is_not_run_again(done, domains, monkeypatch):
  output, results = done

  def fail(*unused_args, **unused_kwargs):
    raise AssertionError('run again')

  for name in ('train_classifier', 'adapt_features', 'adapt_to_target'):
    monkeypatch.setattr(stages, name, fail)
  monkeypatch.setattr(translator.loop, 'train', fail)
  monkeypatch.setattr(problem_lib.Scorer, 'test', fail)
  again = adapt.adapt(
      domains, 'mnist', 'optical', 'alignflow+', output, small.warped())
  assert again == results['alignflow+']


def test_other_settings_in_a_used_directory_are_refused(done, domains):
  output, _ = done
  with pytest.raises(config_lib.AdaptError,
                     match='`output`.*feature_steps was 5 and is 6'):
    adapt.adapt(domains, 'mnist', 'optical', 'alignflow', output,
                small.warped(feature_steps=6))
  # How images are warped, only where they are.
  with pytest.raises(config_lib.AdaptError,
                     match='`output`.*augment_scale was 0.1 and is 0.2'):
    adapt.adapt(domains, 'mnist', 'optical', 'alignflow', output,
                small.warped(augment_scale=0.2))
  with pytest.raises(config_lib.AdaptError,
                     match='`output`.*class_priors was False and is True'):
    adapt.adapt(domains, 'mnist', 'optical', 'alignflow', output,
                small.warped(class_priors=True))


def test_priors_are_among_what_the_target_stage_depends_on(
    done, domains, monkeypatch):
  output, _ = done
  seen = {}

  def stage(self, name, rate, facts, train):
    seen[name] = facts
    return work_lib.Finished(output, facts)

  monkeypatch.setattr(work_lib.Work, 'classifier_stage', stage)
  monkeypatch.setattr(pipeline, '_summary', lambda *args: {})
  monkeypatch.setattr(pipeline, '_score', lambda *args: {})
  adapt.adapt(domains, 'mnist', 'optical', 'alignflow+', output,
              small.warped(class_priors=True), skip=('translator', 'feature'))
  assert 'class_priors' not in seen['source_classifier']
  assert seen['source_target']['class_priors'] is True


def test_a_stage_that_was_killed_starts_anew(domains, tmp_path, monkeypatch):
  output = str(tmp_path)
  with monkeypatch.context() as m:
    m.setattr(stages, 'adapt_features', lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      adapt.adapt(domains, 'mnist', 'optical', 'adda', output, small.settings())
  assert os.path.isdir(tmp_path / 'source_classifier')
  assert not os.path.isdir(tmp_path / 'source_feature')
  before = os.stat(tmp_path / 'source_classifier' / 'model.keras').st_mtime_ns
  result = adapt.adapt(
      domains, 'mnist', 'optical', 'adda', output, small.settings(),
      score=False)
  assert result['accuracy'] is None
  assert before == os.stat(
      tmp_path / 'source_classifier' / 'model.keras').st_mtime_ns


def test_framing_moves_the_source_alone(domains, tmp_path):
  result = adapt.adapt(
      domains, 'optical', 'mnist', 'framing', str(tmp_path),
      small.settings(classifier_steps=2), skip=('feature',), score=False)
  assert result['stages'] == ['framing_translated', 'framing_classifier']
  framed = np.load(tmp_path / 'framing_translated' / 'train.npy')
  images = domains.arrays('optical', 'train')['image']
  assert framed.shape == images.shape

  def spread(levels):
    mass = levels.astype(np.float64).sum((0, 2, 3))
    places = np.arange(len(mass))
    middle = np.average(places, weights=mass)
    return np.sqrt(np.average((places - middle)**2, weights=mass))

  target = spread(domains.arrays('mnist', 'train')['image'])
  assert abs(spread(framed) - target) < 0.5 * abs(spread(images) - target)


def test_cycada_trains_a_cyclegan(domains, tmp_path):
  result = adapt.adapt(
      domains, 'mnist', 'optical', 'cycada', str(tmp_path), small.settings(),
      skip=('feature', 'semantic'))
  assert result['stages'] == [
      'cyclegan_unsemantic_translated', 'cyclegan_unsemantic_classifier']
  with open(tmp_path / 'cyclegan_unsemantic_translator' / 'config.json') as f:
    assert json.load(f)['config']['model'] == 'cyclegan'
  assert os.path.exists(
      tmp_path / 'cycada-no_feature-no_semantic' / 'result.json')


@pytest.mark.parametrize(('arguments', 'match'), [
    (dict(method='best'), "`method`.*'best'"),
    (dict(skip=('critic',)), "`skip`.*'critic'"),
    (dict(seed=-1), '`seed`.*-1'),
    (dict(settings=small.settings(translator=('stepz=3',))), '`translator`'),
    (dict(settings=small.settings(translator=('clip_norm=much',))),
     "`translator`.*'clip_norm=much'"),
    (dict(settings=small.settings(translator=('objective=mle',))),
     "`translator`.*'mle'"),
    (dict(source='optical', target='none'), "'none'"),
])
def test_bad_arguments(domains, tmp_path, arguments, match):
  values = dict(source='mnist', target='optical', method='alignflow',
                settings=small.settings()) | arguments
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
              small.settings(classifier_steps=1), score=False)
  assert os.listdir(tmp_path) == ['home']
  assert (tmp_path / 'home' / 'a' / 'source_classifier').is_dir()


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
        small.settings(classifier_steps=2, feature_steps=2))

  fresh = tmp_path / 'fresh'
  call = ('mnist', 'optical', 'source_only', str(fresh),
          small.settings(classifier_steps=2))
  adapt.adapt(_of_files(domains, 'a'), *call)
  with pytest.raises(config_lib.AdaptError,
                     match="`output`.*mnist was 'a' and is 'b'"):
    adapt.adapt(_of_files(domains, 'b'), *call)


def test_a_loss_that_is_not_finite_is_not_kept(domains, tmp_path, monkeypatch):
  monkeypatch.setattr(
      classification, 'cross_entropy',
      lambda logits, labels: logits[0, 0] * np.nan)
  with pytest.raises(config_lib.AdaptError, match='`classifier_rate`.*nan'):
    adapt.adapt(domains, 'mnist', 'optical', 'source_only', str(tmp_path),
                small.settings(classifier_steps=2))
  assert not (tmp_path / 'source_classifier').exists()


def test_a_translator_goes_on_with_its_own_semantic_settings(
    domains, tmp_path, monkeypatch):
  def stop(config, run_dir, *unused_args):
    os.makedirs(run_dir, exist_ok=True)
    with open(os.path.join(run_dir, 'config.json'), 'w') as f:
      json.dump(config.to_json(), f)
    raise loop.Stopped('Stopped', 2)

  monkeypatch.setattr(translator.loop, 'train', stop)

  def begin(**values):
    adapt.adapt(domains, 'mnist', 'optical', 'alignflow', str(tmp_path),
                small.settings(**values))

  with pytest.raises(loop.Stopped):
    begin()
  with pytest.raises(config_lib.AdaptError,
                     match=r'`output`.*semantic_noise was 0.15 and is 0.3'):
    begin(semantic_noise=0.3)
  with pytest.raises(loop.Stopped):
    begin()

def test_a_method_is_added_as_a_tuple_of_stages(
    domains, tmp_path, monkeypatch):
  classifier, _ = methods.METHODS['adda']

  def double(work, state, settings):
    """Doubles the logits of the classifier."""

    def train():
      model = state.last.model
      kernel, bias = model.layers[-1].get_weights()
      model.layers[-1].set_weights([2. * kernel, 2. * bias])
      return model

    return state._replace(last=work.classifier_stage(
        f'{state.name}_double', 'classifier_rate',
        settings | {'after': state.last.facts}, train))

  monkeypatch.setitem(methods.METHODS, 'double', (
      classifier, methods.Stage('double', ('batch_size',), double)))
  result = adapt.adapt(
      domains, 'mnist', 'optical', 'double', str(tmp_path),
      small.settings(classifier_steps=20))
  assert result['stages'] == ['source_classifier', 'source_double']
  assert result['facts']['after']['classifier_steps'] == 20

"""Evaluation of a run, from its directory to its figures."""

import functools
import json
import os
import re
import shutil

import numpy as np
from PIL import Image
import pytest

from alignflow_tf import data
from alignflow_tf import evaluate
from alignflow_tf.evaluate import evaluation
from alignflow_tf.evaluate import probes
from alignflow_tf.evaluate import reference_networks
from alignflow_tf.evaluate import translations
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from tests.data import fakes


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
  classifier = probes.train_classifier(images, classes, 3, steps=60)
  test_images, test_classes = _bars(100, 1, 1)
  assert probes.accuracy(classifier, test_images, test_classes) > 0.95
  assert probes.accuracy(classifier, test_images, (test_classes + 1) % 3) < 0.1


def test_a_classifier_of_any_seed():
  images, classes = _bars(8, 0, 1)
  classifier = probes.train_classifier(
      images, classes, 3, steps=1, seed=2**32 - 1)
  images[:] = np.nan
  # Whatever it takes them for.
  assert not any(
      probes.accuracy(classifier, images, np.full(8, label))
      for label in range(3))


def test_label_transfer_scores_translated_images(monkeypatch):
  """A translator that moves bars to where the target has them."""
  monkeypatch.setattr(probes, 'train_classifier', functools.partial(
      probes.train_classifier, steps=60))
  train = {'a': dict(zip(('image', 'label'), _bars(300, 0, 0), strict=True))}
  test = {'b': dict(zip(('image', 'label'), _bars(100, 1, 4), strict=True))}

  class Mover:

    def translate(self, images, source, target):
      assert (source, target) == ('a', 'b')
      return np.roll(images, 4, axis=2)

  result = probes.label_transfer(Mover(), train, test, 'a', 'b', 3)
  assert result['translated'] > 0.95
  assert result['source_only'] < 0.7


@pytest.fixture(scope='module')
def result(tmp_path_factory):
  run = str(tmp_path_factory.mktemp('runs') / 'run')
  config = config_lib.resolve(
      'cpu', flow='short', num_scales=1, width=4, num_blocks=1,
      critic_width=4, batch_size=4, objective='mle', steps=1, eval_every=1)
  loop.train(config, run)
  return evaluate.evaluate(run, limit=20, classify=False, supervised=False)


def test_figures(result):
  assert result['images'] == {'optical': 20, 'mnist': 20}
  assert set(result['bits_per_dim']) == {'optical', 'mnist'}
  assert all(np.isfinite(v) for v in result['bits_per_dim'].values())
  for key in ('round_trip', 'round_trip_extremes'):
    assert set(result[key]) == {'optical_to_mnist', 'mnist_to_optical'}
  assert all(v['max'] < 1e-4 for v in result['round_trip'].values())
  path = os.path.join(result['run'], 'evaluation', 'evaluation.json')
  with open(path) as f:
    assert json.load(f) == {k: v for k, v in result.items() if k != 'report'}
  assert all(os.path.getsize(p) for p in result['pictures'])


def test_table_names_every_figure(result):
  text = evaluate.table(result | {'accuracy': {
      'optical_to_mnist': {'source_only': 0.25, 'translated': 0.5}}})
  for part in ('bits/dim', 'optical to mnist and back (test images)', '25.0%',
               '50.0%', 'samples.png'):
    assert part in text


def test_validation_split(result, monkeypatch):
  given = []
  def transfer(*arguments):
    given.append(arguments[-1])
    return {'source_only': 0.5, 'translated': 0.5}
  monkeypatch.setattr(probes, 'label_transfer', transfer)
  validation = evaluate.evaluate(
      result['run'], limit=20, split='validation', supervised=False)
  # Not a reference's classifier, which would be trained for it.
  assert given == [None, None]
  assert validation['split'] == 'validation'
  assert validation['bits_per_dim'] != result['bits_per_dim']
  assert 'validation images' in evaluate.table(validation)
  path = os.path.join(result['run'], 'evaluation_validation')
  assert os.path.exists(os.path.join(path, 'evaluation.json'))


def test_a_home_directory(result, monkeypatch):
  home, name = os.path.split(result['run'])
  monkeypatch.setenv('HOME', home)
  monkeypatch.setattr(evaluation.runs, 'load', lambda *_, **__: None)
  monkeypatch.setattr(evaluation.inference, 'Evaluator', lambda _: None)
  def stop(*unused):
    raise InterruptedError
  monkeypatch.setattr(evaluation, 'images_of', stop)
  with pytest.raises(InterruptedError):
    evaluate.evaluate(f'~/{name}', output='~/out')
  assert os.path.isdir(os.path.join(home, 'out'))


def test_pictures_that_have_moved(result, tmp_path, monkeypatch):
  loaded = []

  def load(config):
    loaded.append(config.domain)
    raise InterruptedError

  run = str(tmp_path / 'run')
  shutil.copytree(result['run'], run)
  path = os.path.join(run, 'config.json')
  with open(path) as f:
    saved = json.load(f)
  saved['config'] |= {'dataset': 'folders', 'domain': ['a:/old/a', 'b:/old/b']}
  with open(path, 'w') as f:
    json.dump(saved, f)
  monkeypatch.setattr(evaluation.runs, 'load', lambda *_, **__: None)
  monkeypatch.setattr(evaluation.inputs, 'load', load)
  for given, want in ((None, ('a:/old/a', 'b:/old/b')),
                      (['a:/new/a', 'b:/b'], ('a:/new/a', 'b:/b'))):
    with pytest.raises(InterruptedError):
      evaluate.evaluate(run, domain=given)
    assert loaded.pop() == want
  with pytest.raises(data.DataError, match='`domain` must name.*c:/c'):
    evaluate.evaluate(run, domain=['a:/a', 'c:/c'])


def test_ones_own_pairs_are_scored_as_pairs(result, tmp_path, monkeypatch):
  given = []
  for domain in ('optical', 'mnist'):
    given.append(f'{domain}:{tmp_path / domain}')
    (tmp_path / domain).mkdir()
    for name in ('x.png', 'y.png', 'z.png'):
      Image.fromarray(np.full((20, 16), 90, np.uint8)).save(
          tmp_path / domain / name)
  monkeypatch.setattr(evaluation.sheets, 'write_all', lambda *_, **__: [])
  own = evaluate.evaluate(
      result['run'], classify=False, supervised=False, own=given)
  assert own['images'] == {'optical': 3, 'mnist': 3}
  assert own['paired']
  assert 'l1' in own['translation']['optical_to_mnist']['model']
  assert 'l1' not in result['translation']['optical_to_mnist']['model']
  assert own['report'].startswith(
      os.path.join(result['run'], 'evaluation_input'))


def test_critics_are_compared_through_the_flows_they_saw(monkeypatch):
  class Run:
    directory = 'run'
    config = config_lib.Config(critic_noise=0.2)
  loaded = []
  monkeypatch.setattr(
      evaluation.runs, 'load', lambda *args, **kwargs: loaded.append(kwargs))
  monkeypatch.setattr(
      evaluation.runs, 'load_critics', lambda *_: {'a': 1, 'b': 2})
  monkeypatch.setattr(evaluation.inference, 'Evaluator', lambda model: model)
  monkeypatch.setattr(
      evaluation.equation_9, 'agreement', lambda *args: args[-2:])
  assert evaluation._agreement(Run, '7', {}, 5) == (0.2, 5)
  assert loaded == [{'average': False, 'checkpoint': '7'}]


def test_validation_images_of_a_run_that_saw_no_labels(tmp_path):
  domains = data.load('digits')
  hidden = domains.without_labels('optical')
  made = {}
  for name, known in (('all', domains), ('hidden', hidden)):
    made[name] = runs.Run.create(
        str(tmp_path / name), config_lib.resolve('cpu'), domains.domains,
        domains.event_shape, {}, known.describe())
  assert evaluation._as_trained(made['all'], domains, 'validation') is domains
  assert evaluation._as_trained(made['hidden'], domains, 'test') is domains
  found = evaluation._as_trained(made['hidden'], domains, 'validation')
  want = hidden.arrays('optical', 'validation')['image']
  got = evaluation.images_of(found, 'validation')
  np.testing.assert_array_equal(got['optical']['level'], want)
  assert 'label' not in got['optical']
  assert 'label' in got['mnist']
  ordinary = domains.arrays('optical', 'validation')['image']
  assert not np.array_equal(want, ordinary)


@pytest.fixture(scope='module')
def maps(tmp_path_factory):
  """A run on pairs, evaluated with supervised networks of few steps."""
  root = tmp_path_factory.mktemp('pairs')
  random = np.random.RandomState(0)
  for split, count in (('train', 30), ('val', 12)):
    for i in range(count):
      # The map is the photograph, inverted.
      photo = np.asarray(fakes.colour(16, 16, random.randint(2**31)))
      fakes.write_picture(root / 'maps' / split / f'{i}.png', np.concatenate(
          [photo, 255 - photo], axis=1))
  config = config_lib.resolve(
      'cpu', dataset='maps', data_dir=str(root), image_size=16, flow='short',
      num_scales=1, width=4, num_blocks=1, critic_width=4, critic_layers=1,
      batch_size=4, steps=1, eval_every=1, many=('aerial',),
      eight_bit_weight=1.)
  run = loop.train(config, str(root / 'run'))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(reference_networks, 'STEPS', 60)
    yield evaluate.evaluate(run, references=str(root / 'references'))


def test_pairs_are_scored_beside_what_needs_no_model(maps):
  assert maps['images'] == {'aerial': 12, 'map': 12}
  for direction in ('aerial_to_map', 'map_to_aerial'):
    rows = maps['translation'][direction]
    assert set(rows) == set(translations.ROWS)
    paired = {'mse', 'mse_unclipped', 'l1', 'ssim', 'demeaned_mse',
              'correlation', 'top_1', 'top_5', 'percentile', 'kid', 'fid'}
    assert paired <= set(rows['model'])
    assert ('mean_iou' in rows['model']) == (direction == 'aerial_to_map')
    for figures in rows.values():
      assert all(np.isfinite(v) for v in figures.values())
    # Pairs teach what colours are; untrained flows leave images as they are.
    assert rows['supervised']['mse'] < 0.7 * rows['mean_image']['mse']
    assert rows['supervised']['top_1'] > 0.5
    assert rows['untranslated']['correlation'] < -0.9
    assert rows['mean_image']['correlation'] == 0.
    assert rows['random_image']['mse'] > rows['mean_image']['mse']
    assert maps['chance'][direction]['top_1'] == 1 / 12
    assert 'supervised network' in maps['features'][direction]


def test_several_translations_are_scored(maps):
  (found,) = maps['draws'].values()
  assert set(maps['draws']) == {'map_to_aerial'}
  assert 0. < found['spread'] < found['spread_real']
  assert found['best_mse'] < found['mse']
  # An untrained flow shows what was drawn on the way back.
  assert 0.001 < found['back'] < 0.5
  assert any(p.endswith('draws_map_to_aerial.png') for p in maps['pictures'])
  assert 'best of eight' in evaluate.table(maps)


def test_references_are_trained_once(maps, capsys, monkeypatch, tmp_path):
  root = os.path.dirname(maps['run'])
  monkeypatch.setattr(reference_networks, 'STEPS', 60)
  config = runs.Run(maps['run']).config
  kept = reference_networks.References(
      inputs.load(config), os.path.join(root, 'references'))
  files = os.listdir(kept.directory)
  assert sorted(files) == [
      'aerial_to_map.weights.h5', 'map_to_aerial.weights.h5']
  x = np.random.RandomState(0).rand(2, 16, 16, 3).astype(np.float32)
  assert kept.supervised('aerial', 'map')(x).shape == x.shape
  features, _ = kept.features('map')
  assert features(x).shape == (2, 192)
  assert kept.classifier('map') is None
  assert 'Training' not in capsys.readouterr().out
  copy = shutil.copytree(os.path.join(root, 'references'), tmp_path / 'copy')
  again = reference_networks.References(inputs.load(config), str(copy))
  with open(os.path.join(again.directory, files[0]), 'r+b') as f:
    f.truncate(100)
  with pytest.raises(data.DataError, match='damaged'):
    again.supervised(*files[0].split('.')[0].split('_to_'))


def test_report_stands_alone(maps):
  with open(maps['report']) as f:
    page = f.read()
  assert not re.findall(r'(?:src|href)="(?!data:)', page)
  assert 'http' not in page
  # Sheets, worst round trips, interpolations still and moving, samples, draws.
  assert page.count('src="data:image/png') == 8
  assert page.count('src="data:image/gif') == 2
  for part in ('name="viewport"', 'supervised on pairs', 'chance', '<svg',
               'mean IoU', 'C_aerial + C_map = 1', 'bits/dim', 'critic_noise',
               'KID times 1000: samples',
               'these saw noise of 0.15'):
    assert part in page
  samples = maps['samples']
  assert set(samples) == {'kid'}
  assert all(np.isfinite(v['samples']) and np.isfinite(v['real'])
             for v in samples['kid'].values())
  points = maps['critics']['points']
  assert {d: len(p) for d, p in points.items()} == {'aerial': 12, 'map': 12}


def test_a_gif_begins_and_ends_at_the_images(maps):
  path = next(p for p in maps['pictures'] if p.endswith('aerial.gif'))
  with Image.open(path) as gif:
    assert gif.n_frames == 2 * 25 - 2
    assert gif.info['loop'] == 0


def test_inception_weights_must_be_a_file():
  with pytest.raises(data.DataError, match='`inception_weights` must be a'):
    reference_networks.inception_features('/nowhere/weights.h5')


def test_unknown_split(tmp_path):
  with pytest.raises(ValueError, match="`split` must be .*, got 'train'"):
    evaluate.evaluate(str(tmp_path), split='train')


def test_no_run(tmp_path):
  with pytest.raises(runs.RunError, match='has no config.json'):
    evaluate.evaluate(str(tmp_path))

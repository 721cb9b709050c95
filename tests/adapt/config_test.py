"""Tests of settings and presets, and of the translators they configure."""

import types

import pytest

from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import translator
from alignflow_tf.adapt import work
from alignflow_tf.train import config as train_config
from alignflow_tf.train import settings as settings_lib


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


@pytest.mark.parametrize('kind', ['alignflow', 'cyclegan', 'unit'])
@pytest.mark.parametrize('preset', config_lib.PRESETS)
def test_presets_configure_their_translators(preset, kind):
  settings = config_lib.resolve(preset)
  shape = (settings.image_size, settings.image_size, settings.channels)
  problem = types.SimpleNamespace(domains=types.SimpleNamespace(
      name='usps_mnist', event_shape=shape))
  config = translator.configuration(
      work.Work(problem, None, 'out', settings, 3), kind)
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
  config = translator.configuration(
      work.Work(problem, None, 'out', settings, 3), 'alignflow')
  assert config.domain == (f'a:{tmp_path}/x', f'b:{tmp_path}/y')
  assert (config.flip, config.load_size, config.fit) == (True, 40, 'pad')


@pytest.mark.parametrize(('dataset', 'preset'), [
    ('mnist_usps', 'cpu'), ('usps_mnist', 'cpu'), ('digits', 'cpu'),
    ('svhn_mnist', 'cpu_svhn'), ('mnist_svhn', 'cpu_svhn'),
    ('folders', 'cpu_pictures'), ('maps', 'cpu_pictures'),
    (None, 'cpu_pictures')])
def test_presets_go_by_the_name_of_the_data(dataset, preset):
  settings = config_lib.resolve(None, dataset)
  assert settings.preset == preset
  assert ('framing=True' in settings.translator) == (preset == 'cpu')
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
  task_work = work.Work(problem, None, 'out', settings, 0)
  config = translator.configuration(task_work, 'alignflow')
  assert (config.objective, config.lambda_a, config.lambda_b) == (
      'adversarial', 0., 0.)
  baseline = translator.configuration(task_work, 'cyclegan')
  for steps, size, images, epochs in (
      (config.steps, config.batch_size, larger, 200),
      (baseline.steps, baseline.batch_size, larger, 200),
      (settings.classifier_steps, settings.batch_size, source, 100),
      (settings.feature_steps, settings.batch_size, smaller, 200)):
    assert steps * size / images == pytest.approx(epochs, rel=0.02)


def test_presets_are_settings():
  for name in config_lib.PRESETS:
    assert config_lib.resolve(name).preset == name
  assert config_lib.resolve(None, 'svhn_mnist').semantic_guide
  settings = config_lib.resolve('cpu', alignflow=('width=8',))
  assert settings.alignflow[-1] == 'width=8'
  with pytest.raises(config_lib.AdaptError, match='`preset`'):
    config_lib.resolve('gpu')


@pytest.mark.parametrize(('item', 'expected'), [
    ('flip=true', ('flip', True)), ('framing=False', ('framing', False)),
    ('steps=700', ('steps', 700)), ('lambda_a=1', ('lambda_a', 1.)),
    ('flow=glow', ('flow', 'glow')), ('load_size=None', ('load_size', None)),
    ('image_size=128x256', ('image_size', (128, 256)))])
def test_one_parser_of_names_and_values(item, expected):
  name, value = settings_lib.parse(item, train_config.Config)
  assert (name, value) == expected
  assert type(value) is type(expected[1])
  if name not in ('flip', 'load_size', 'image_size'):
    settings = config_lib.Settings(translator=(item,))
    assert settings.of_translator('alignflow') == dict([expected])


@pytest.mark.parametrize('item', [
    'steps', 'steps=', 'stepz=3', 'steps=many', 'framing=yes', '=3'])
def test_names_and_values_that_do_not_parse(item):
  with pytest.raises(ValueError, match=f'got {item!r}'):
    settings_lib.parse(item, train_config.Config)

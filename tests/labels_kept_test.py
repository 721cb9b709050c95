"""tools/labels_kept.py: which share of translations keeps its class."""

import types

import keras
import numpy as np
import pytest

from alignflow_tf import baselines
from tools import labels_kept

SHAPE = (8, 8, 1)


@pytest.fixture
def output(monkeypatch, tmp_path):
  """Digits whose class is the brightness, and an adaptation of them."""
  labels = np.arange(20) % 10
  images = np.full((20, *SHAPE), 20, np.uint8) * labels[
      :, np.newaxis, np.newaxis, np.newaxis].astype(np.uint8)
  monkeypatch.setattr(labels_kept.data, 'load', lambda *_, **__: (
      types.SimpleNamespace(
          arrays=lambda domain, split: {'image': images, 'label': labels})))
  monkeypatch.setattr('sys.argv', [
      'labels_kept', '--task=mnist_usps', f'--output={tmp_path}', '--seed=3'])
  return tmp_path / 'mnist_usps' / 'seed_3'


def _judge():
  """Reads the class that is nearest to the brightness."""
  inputs = keras.Input(SHAPE)
  mean = keras.layers.GlobalAveragePooling2D()(inputs)
  dense = keras.layers.Dense(10)
  model = keras.Model(inputs, dense(mean))
  levels = np.arange(10) * 20 / 256.
  dense.set_weights([2. * levels[np.newaxis], -levels**2])
  return model


def test_shares_and_a_picture_of_each_translator(output, monkeypatch, capsys):
  (output / 'target_only').mkdir(parents=True)
  _judge().save(output / 'target_only' / 'model.keras')
  for name in ('alignflow_translator', 'alignflow+-no_translator'):
    (output / name).mkdir()
  (output / 'alignflow_translator' / 'config.json').touch()
  monkeypatch.setattr(labels_kept.runs, 'load', lambda run: (
      baselines.CycleGAN(('mnist', 'usps'), SHAPE, 4, 1, 1)))
  labels_kept.main()
  real, untranslated, translated = capsys.readouterr().out.splitlines()
  assert real == 'usps, real: 100.00 % of 20'
  assert untranslated == 'mnist, as it is: 100.00 % of 20'
  # A network without training reads no class.
  assert translated.startswith('mnist, alignflow_translator: ')
  assert float(translated.split()[2]) < 50.
  assert (output / 'alignflow_translator.png').stat().st_size


def test_without_a_judge_it_says_what_is_missing(output, capsys):
  with pytest.raises(SystemExit):
    labels_kept.main()
  assert '--method=target_only first' in capsys.readouterr().err
  assert not output.exists()

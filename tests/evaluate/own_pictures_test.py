"""Evaluation on folders of one's own."""

import types

import numpy as np
from PIL import Image
import pytest

from alignflow_tf import data
from alignflow_tf.data import preparation
from alignflow_tf.evaluate import own_pictures
from alignflow_tf.train import config as config_lib


def _pictures(folder, names, size=(20, 16)):
  for i, name in enumerate(names):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, 10 * i, np.uint8)).save(path)
  return folder


def test_all_of_ones_own_pictures_are_taken(tmp_path):
  run = types.SimpleNamespace(
      domains=('optical', 'mnist'), event_shape=(16, 16, 1),
      config=config_lib.Config(), preparations=lambda: dict.fromkeys(
          ('optical', 'mnist'), preparation.Preparation()))
  a = _pictures(tmp_path / 'a', ['x.png', 'y.jpg', 'in/z.png', 'w.webp'])
  b = _pictures(tmp_path / 'b', ['w.png', 'x.png', 'in/z.jpg', 'y.png'])
  inputs = [f'optical:{a}', f'mnist:{b}']
  found, paired = own_pictures.read(run, inputs[:1])
  assert not paired
  assert list(found) == ['optical']
  assert found['optical']['level'].shape == (4, 16, 16, 1)
  assert found['optical']['level'][:, 0, 0, 0].tolist() == [20, 30, 0, 10]
  found, paired = own_pictures.read(run, inputs)
  assert paired
  (b / 'w.png').rename(b / 'v.png')
  assert not own_pictures.read(run, inputs)[1]
  for bad, message in (
      (['ink:a'], '`input` must be name:DIR with a domain of'),
      ([f'mnist:{tmp_path}/none'], '`input` must be name:DIR with a domain of'),
      ([inputs[0]] * 2, '`input` names a domain twice')):
    with pytest.raises(data.DataError, match=message):
      own_pictures.read(run, bad)
  (a / 'bad.png').write_bytes(b'nothing')
  with pytest.raises(data.DataError, match='1 of 5 pictures cannot be used'):
    own_pictures.read(run, inputs)

"""The model that comes with the package."""

import glob
import os
import subprocess
import sys

import numpy as np
import pytest

import alignflow_tf as af
from alignflow_tf import data
from alignflow_tf import inference
from alignflow_tf import pretrained
from alignflow_tf import train
from alignflow_tf.demo import playground
from alignflow_tf.export import export
from alignflow_tf.train import runs
from alignflow_tf.translate import models

_RUN = 'pretrained:digits'
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module', name='pictures')
def _pictures():
  with np.load(os.path.join(pretrained.directory(_RUN), 'pictures.npz')) as f:
    return {d: ((f[d] + 0.5) / 256.).astype(np.float32) for d in f.files}


def test_its_way_back_is_exact(pictures):
  evaluator = inference.Evaluator(af.load(_RUN))
  for source, target in (('optical', 'mnist'), ('mnist', 'optical')):
    trip = evaluator.round_trip(pictures[source], source, target)
    assert 0. < trip['max'] < 1e-4


def test_the_page_opens_with_a_picture_where_the_data_are_not(monkeypatch):
  def fail(*args, **kwargs):
    raise data.DataError('not here')

  monkeypatch.setattr('alignflow_tf.train.inputs.load', fail)
  play = playground.Playground(_RUN)
  assert not play.missing
  image = play.example('optical')
  assert np.ptp(image) > 100
  assert play.translate(image, 'optical', 'mnist').error < 1e-4


def test_programs_take_it():
  assert models.domains_of(pretrained.directory(_RUN)) == ('optical', 'mnist')
  opened = models.open_model(pretrained.directory(_RUN))
  assert opened.model.event_shape == (16, 16, 1)
  assert runs.load_critics(_RUN) == {}
  assert pretrained.outputs(_RUN) == os.path.join('runs', 'pretrained_digits')
  with pytest.raises(train.RunError, match='--init_from'):
    train.train(runs.Run(_RUN).config, _RUN)
  with pytest.raises(train.RunError, match="got 'pretrained:zebras'"):
    af.load('pretrained:zebras')


@pytest.mark.slow
def test_it_is_exported(tmp_path):
  assert len(export.export_run(_RUN, str(tmp_path))) == 4


def _files(folder):
  return glob.glob(os.path.join(folder, '**', '*.*'), recursive=True)


def test_it_is_small():
  files = _files(pretrained.directory(_RUN))
  assert len(files) == 6
  assert sum(map(os.path.getsize, files)) < 3e6


def test_what_is_built_holds_it(tmp_path):
  subprocess.run(
      [sys.executable, 'setup.py', '--quiet', 'egg_info', '--egg-base',
       str(tmp_path), 'build_py', '--build-lib', str(tmp_path / 'lib')],
      cwd=_ROOT, check=True, capture_output=True)
  built = tmp_path / 'lib' / 'alignflow_tf' / 'pretrained' / 'digits'
  assert len(_files(str(built))) == 6

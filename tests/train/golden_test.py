"""A run that an earlier commit saved is loaded, and training goes on from it.

A renamed variable breaks this test, and not a user; see `make_golden.py`.
"""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

import alignflow_tf as af
from alignflow_tf.train import checkpoints
from alignflow_tf.train import runs
from alignflow_tf.train import trainer
from tests.train import make_golden

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@pytest.mark.parametrize('name', ['average', 'newest'])
def test_its_model_computes_the_same(name):
  with open(GOLDEN / 'figures.json') as f:
    want = json.load(f)[name]
  got = make_golden.figures(af.load(str(GOLDEN), average=name == 'average'))
  assert got.keys() == want.keys()
  for key in want:
    np.testing.assert_allclose(got[key], want[key], rtol=1e-4, atol=1e-4)


def test_training_goes_on_from_it(tmp_path):
  run = runs.Run(str(shutil.copytree(GOLDEN, tmp_path / 'run')))
  made = trainer.Trainer(
      run.config, run.domains, run.event_shape, run.copied_channels)
  found = checkpoints.Checkpoints(
      run.checkpoints, made.checkpoint(), 1, run.config.to_json())
  said = []
  state = found.restore(said.append)
  assert not said
  assert state['skips'] == []
  assert int(made.step) == 2


def test_it_is_small():
  size = sum(os.path.getsize(os.path.join(folder, name))
             for folder, _, names in os.walk(GOLDEN) for name in names)
  assert size < 300_000

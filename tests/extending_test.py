"""docs/extending.md does what it says."""

import re
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import baselines
from alignflow_tf import flows
from alignflow_tf import model as model_lib
from alignflow_tf import objectives
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import trainer as trainer_lib

SHAPE = (8, 8, 3)


@pytest.fixture(name='blocks')
def _blocks(repo_root):
  text = (repo_root / 'docs' / 'extending.md').read_text()
  blocks = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  assert all(block.count('\n') <= 60 for block in blocks)
  return blocks


def _block(blocks, start):
  found, = (block for block in blocks if block.startswith(start))
  return found


def _step(config, terms=()):
  trainer = trainer_lib.Trainer(config, ('a', 'b'), SHAPE)
  trainer.terms.extend(terms)
  random = np.random.RandomState(0)
  batch = {d: tf.constant(random.randint(low, low + 128, (4, *SHAPE)), tf.uint8)
           for d, low in (('a', 0), ('b', 128))}
  trainer.initialize(batch)
  return trainer, {k: float(v) for k, v in trainer.train_step(batch).items()}


def test_a_system(blocks, monkeypatch):
  module = types.ModuleType('alignflow_tf.baselines.colours')
  exec(_block(blocks, '"""A scale and'), module.__dict__)
  monkeypatch.setitem(sys.modules, module.__name__, module)
  line = _block(blocks, "MODELS['colours']")
  monkeypatch.setitem(baselines.MODELS, 'colours', None)  # Removed at the end.
  exec(line, {'MODELS': baselines.MODELS, 'System': baselines.System})
  config = config_lib.resolve(
      model='colours', batch_size=4, critic_width=2, critic_layers=1)
  assert config.preset == 'colours'
  trainer, metrics = _step(config)
  assert isinstance(trainer.model, model_lib.Translates)
  assert not isinstance(trainer.model, model_lib.HasLatents)
  assert np.isfinite(metrics['loss'])
  x = tf.fill([1, *SHAPE], 0.25)
  shifted = trainer.average.translator('a', 'b').forward(x)
  np.testing.assert_allclose(shifted, 0.75, atol=0.05)
  with pytest.raises(config_lib.ConfigError, match='`cycle_weight`'):
    config_lib.resolve(model='colours', cycle_weight=1.)


def test_a_flow(blocks, monkeypatch):
  space = {'FLOWS': flows.FLOWS}
  exec(_block(blocks, '"""Couplings with'), space)
  monkeypatch.setitem(flows.FLOWS, 'checkerboards', None)
  exec(_block(blocks, "FLOWS['checkerboards']"), space)
  config = config_lib.resolve(
      'cpu', flow='checkerboards', num_scales=1, width=2, num_blocks=1,
      critic_width=2, critic_layers=1, batch_size=4)
  trainer, metrics = _step(config)
  assert np.isfinite(metrics['loss'])
  x = tf.random.stateless_uniform([2, *SHAPE], [0, 1])
  flow = trainer.model.flow('a')
  np.testing.assert_allclose(
      flow.forward(tf.identity(flow.inverse(x))), x, atol=1e-4)


def test_a_term(blocks):
  space = {'tf': tf}
  exec(_block(blocks, 'def brightness'), space)
  config = config_lib.resolve(
      'cpu', num_scales=1, width=2, num_blocks=1, critic_width=2,
      critic_layers=1, batch_size=4, framing=False)
  _, metrics = _step(config, [
      objectives.Term('brightness', 0.5, space['brightness'])])
  assert metrics['brightness'] > 0.


def test_a_setting(blocks, monkeypatch):
  code = ('from __future__ import annotations\n'
          '@dataclasses.dataclass(frozen=True)\nclass More(Config):\n')
  space = dict(vars(config_lib))
  exec(code + _block(blocks, '  brightness_weight'), space)
  monkeypatch.setattr(config_lib, 'Config', space['More'])
  with pytest.raises(config_lib.ConfigError, match='which does not use it'):
    config_lib.resolve('cpu', brightness_weight=0.5)
  system = baselines.MODELS['alignflow']
  monkeypatch.setitem(baselines.MODELS, 'alignflow', system._replace(
      settings=(*system.settings, 'brightness_weight')))
  assert config_lib.resolve('cpu', brightness_weight=0.5).brightness_weight
  with pytest.raises(config_lib.ConfigError, match='`brightness_weight` must'):
    config_lib.resolve('cpu', brightness_weight=-1.)

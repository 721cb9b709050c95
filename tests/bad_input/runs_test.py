"""Runs: training, loading, evaluation, export."""

import dataclasses

import pytest
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf import evaluate
from alignflow_tf.export import export
from alignflow_tf.train import checkpoints
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from alignflow_tf.train import trainer as trainer_lib
from tests.bad_input import bad


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  """A run with a checkpoint of an untrained model."""
  path = str(tmp_path_factory.mktemp('run'))
  config = config_lib.resolve('cpu', num_scales=1, width=2, num_blocks=1)
  run = runs.Run.create(path, config, ('optical', 'mnist'), bad.SHAPE, {})
  average = trainer_lib.build_model(config, run.domains, bad.SHAPE)
  checkpoints.Checkpoints(
      run.checkpoints, tf.train.Checkpoint(average=average), 3,
      config.to_json()).save(1, {})
  return path


RUNS = [
    ('run', '/no/such', lambda r: af.load('/no/such')),
    ('run', '/etc/hostname', lambda r: af.load('/etc/hostname')),
    *[('checkpoint', v, lambda r, v=v: af.load(r, checkpoint=v))
      for v in ('newer', '2', '-1', '', 'best', None)],
    ('run', '/no/such', lambda r: evaluate.evaluate('/no/such')),
    *[('limit', v, lambda r, v=v: evaluate.evaluate(r, 'out', limit=v))
      for v in (0, -1, 1.5, 'x')],
    *[('seed', v, lambda r, v=v: evaluate.evaluate(r, 'out', seed=v))
      for v in (-1, 'x', 2**32)],
    *[('split', v, lambda r, v=v: evaluate.evaluate(r, 'out', split=v))
      for v in ('train', '', None)],
    ('checkpoint', '7', lambda r: evaluate.evaluate(r, 'out', checkpoint='7')),
    ('run', '/no/such', lambda r: export.export_run('/no/such', 'out')),
    *[(name, v, lambda r, name=name, v=v: export.export_run(
        r, 'out', **{name: v})) for name in ('max_batch', 'max_pixels')
      for v in bad.COUNTS],
    *[('version', v, lambda r, v=v: export.export_run(r, 'out', version=v))
      for v in (0, -1, 1.5, '1', True, 2**63)],
    ('runtimes', bad.Shown("['tpu']"),
     lambda r: export.export_run(r, 'out', runtimes=['tpu'])),
    ('checkpoint', '7', lambda r: export.export_run(r, 'out', checkpoint='7')),
    ('run_dir', '/etc', lambda r: loop.train(config_lib.Config(), '/etc')),
    ('run_dir', '/etc/hostname',
     lambda r: loop.train(config_lib.Config(), '/etc/hostname')),
    ('run_dir', '', lambda r: loop.train(config_lib.Config(), '')),
    ('batch_size', 5000, lambda r: loop.train(
        dataclasses.replace(config_lib.Config(), batch_size=5000), 'out')),
]


@pytest.mark.parametrize(('name', 'value', 'call'), RUNS)
def test_runs(name, value, call, run_dir):
  bad.fails(name, value, lambda: call(run_dir))


@pytest.mark.parametrize(('name', 'value', 'domains', 'spoil'), [
    ('domains', 'a b', ('a b', 'c'), False),
    ('domains', bad.Shown('a_to_b'), ('a', 'b', 'a_to_b'), False),
    ('model', bad.Shown('NaN'), ('a', 'b'), True),
])
def test_models_that_cannot_be_exported(name, value, domains, spoil):
  made = af.AlignFlow(
      domains, bad.SHAPE, adapter=lambda shape: af.bijectors.ActNorm(1))
  if spoil:
    made.variables[0].assign(made.variables[0] * bad.NAN)
  bad.fails(name, value, lambda: export.export_model(made, 'out'))

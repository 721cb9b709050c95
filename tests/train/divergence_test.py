"""Numbers that are not finite, and figures that run away."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from tests.train import tiny

tfb = tfp.bijectors


def _spoil(monkeypatch):
  """Makes a weight NaN before step 15."""
  steps, batches = loop._Loop._steps, loop._batches

  def spoiled(self, start, signals):

    def spoiling(*args):
      for step, batch in enumerate(batches(*args), start + 1):
        if step == 15:
          weight = self._trainer.model.trainable_variables[7]
          weight.assign(weight * np.nan)
        yield batch

    monkeypatch.setattr(loop, '_batches', spoiling)
    return steps(self, start, signals)

  monkeypatch.setattr(loop._Loop, '_steps', spoiled)


def test_numbers_that_are_not_finite(tmp_path, monkeypatch, capsys):
  """Steps are skipped, and a run of skips ends with its terms and a remedy."""
  path = str(tmp_path / 'run')
  _spoil(monkeypatch)
  config = tiny.config(objective='mle', steps=40, eval_every=40,
                   checkpoint_every=10, skip_limit=5)
  with pytest.raises(runs.RunError) as e:
    loop.train(config, path)
  out = capsys.readouterr().out
  assert 'optical: 1,097 train, 200 validation, 500 test; fixed cut' in out
  for text in ('At step 20, 6 of the last 10 steps were skipped',
               'bits_per_dim/', 'loss', 'ckpt-10 is the newest checkpoint',
               'lower --learning_rate', '--clip_norm'):
    assert text in str(e.value)
  lines = tiny.metrics(path)
  assert [line['step'] for line in lines] == list(range(1, 21))
  assert [line['loss'] is None for line in lines] == 14 * [False] + 6 * [True]
  # The rate of a step is logged with it.
  start = config.decay_from * config.steps
  assert [line['learning_rate'] for line in lines] == pytest.approx([
      config.learning_rate * min(1., (40 - done) / (40 - start))
      for done in range(20)])
  # The last checkpoint is sound, and loads.
  assert runs.Run(path).latest().endswith('ckpt-10')
  af.load(path)


def _model():
  return af.AlignFlow(('a', 'b'), (1, 1, 1), lambda shape: tfb.Shift(
      tf.Variable(0.)))


@pytest.mark.parametrize(('values', 'text'), [
    ({'validation/round_trip_max/a_to_b': 0.1}, 'lose the way back'),
    ({'validation/round_trip_max/a_to_b': float('nan')}, 'lose the way back'),
    ({'validation/log_scale_max': 30.}, r'exp\(30.0\)'),
    ({'validation/bits_per_dim/a': 5.5}, 'getting worse'),
    ({'validation/bits_per_dim/a': float('nan')}, 'getting worse'),
])
def test_figures_that_run_away(values, text):
  watch = loop.divergence.Watch(tiny.config(), _model())
  assert not watch.warnings({
      'validation/round_trip_max/a_to_b': 1e-5, 'validation/log_scale_max': 2.,
      'validation/bits_per_dim/a': 4.})
  found = watch.warnings(values)
  assert len(found) == 1
  assert next(iter(values)) in found[0]
  assert re.search(text, found[0])


@pytest.mark.parametrize(('overrides', 'judged'), [
    ({}, True), ({'objective': 'mle'}, True), ({'lambda_until': 0.5}, False),
    ({'objective': 'adversarial'}, False)])
def test_likelihoods_that_are_let_go_are_not_judged_by(overrides, judged):
  config = tiny.config(**overrides)
  watch = loop.divergence.Watch(config, _model())
  name = 'validation/bits_per_dim/a'
  watch.warnings({name: 4.})
  assert bool(watch.warnings({name: 5.5})) == judged

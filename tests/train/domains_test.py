"""More than two domains: directions in turns, and one that is added later."""

import collections
import itertools
import json
import re
import shlex
import shutil

import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import directions
from alignflow_tf.train import flags as flags_lib
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from alignflow_tf.train import trainer as trainer_lib
from tests.train import config_test

THREE = ('a', 'b', 'c')
SHAPE = (8, 8, 1)
# Of the commands in docs/training.md.
TINY = ('--flow=short', '--trunk=short', '--image_size=8', '--num_scales=1',
        '--width=4', '--trunk_scales=1', '--trunk_width=4', '--steps=4',
        '--batch_size=4', '--critic_width=4', '--critic_layers=1',
        '--pool_size=2', '--log_every=2', '--eval_every=4',
        '--checkpoint_every=1', '--keep_checkpoints=9', '--deterministic')


def _config(**settings):
  return config_lib.resolve(**{
      'preset': 'cpu', 'flow': 'short', 'num_scales': 1, 'width': 4,
      'framing': False, 'batch_size': 4, 'critic_width': 4,
      'critic_layers': 1, 'pool_size': 2, 'steps': 10, **settings})


def _batch(domains=THREE, size=4):
  random = np.random.RandomState(0)
  return {d: tf.constant(random.randint(0, 256, (size, *SHAPE)), tf.uint8)
          for d in domains}


@pytest.mark.parametrize('number', [2, 3, 5])
def test_in_turns_each_direction_comes_once(number):
  domains = tuple('abcde'[:number])
  turns = directions.turns(_config(), domains)
  assert len(turns) == number - 1
  assert collections.Counter(itertools.chain(*turns)) == (
      collections.Counter(itertools.permutations(domains, 2)))
  for turn in turns:
    for end in zip(*turn, strict=True):
      assert sorted(end) == list(domains)
  everything, = directions.turns(_config(directions='all'), domains)
  assert everything == list(itertools.permutations(domains, 2))


def test_a_new_domain_is_at_an_end_of_every_direction():
  config = _config(init_from='run', train_domains=('c',))
  turns = directions.turns(config, ('a', 'b', 'c', 'd'))
  assert {pair for turn in turns for pair in turn} == {
      pair for d in 'abd' for pair in ((d, 'c'), ('c', d))}
  assert [len(turn) for turn in turns] == [2, 2, 2]


def test_a_step_has_the_directions_of_its_turn():
  trainer = trainer_lib.Trainer(_config(), THREE, SHAPE)
  trainer.initialize(_batch(size=16))
  for number, turn in enumerate(trainer.turns):
    before = [v.numpy() for v in trainer.critics.networks.trainable]
    metrics = trainer.train_steps[number](_batch())
    assert {k for k in metrics if k.startswith('adversarial_loss/')} == {
        f'adversarial_loss/{s}_to_{t}' for s, t in turn}
    assert {f'critic_loss/{d}' for d in THREE} <= set(metrics)
    assert all(np.isfinite(float(v)) for v in metrics.values())
    assert not float(metrics['skipped'])
    assert all(np.any(v.numpy() != old) for v, old in zip(
        trainer.critics.networks.trainable, before, strict=True)
               if v.shape.rank > 1)


@pytest.fixture(name='commands', scope='module')
def _commands(repo_root):
  """The commands of docs/training.md on three domains, as flags."""
  text = (repo_root / 'docs' / 'training.md').read_text()
  section = text.split('## More than two domains')[1].split('\n## ')[0]
  lines = re.findall(r'python -m alignflow_tf.train ((?:.*\\\n)*.*)', section)
  assert len(lines) == 3
  return [shlex.split(line.replace('\\\n', ' ')) for line in lines]


def _train(command, *arguments):
  config, run_dir = flags_lib.resolve(
      config_test._parse(*command, *TINY, *arguments))
  loop.train(config, run_dir)
  return run_dir


def _go_on(run_dir, copy, step):
  """Trains a run once more from an earlier step."""
  shutil.copytree(run_dir, copy)
  for path in (copy / 'checkpoints').glob('ckpt-*'):
    if int(path.name.split('-')[1].split('.')[0]) > step:
      path.unlink()
  loop.train(runs.Run(str(copy)).config, str(copy))
  for x, y in zip(runs.load(run_dir).variables, runs.load(str(copy)).variables,
                  strict=True):
    np.testing.assert_array_equal(x, y)


@pytest.mark.usefixtures('eagerly')
def test_three_domains_in_one_run(commands, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  run_dir = _train(commands[0], '--trunk_steps=1')
  # From an odd step: turns that a process counts from its own start differ.
  _go_on(run_dir, tmp_path / 'again', 3)
  with open(f'{run_dir}/metrics.jsonl') as f:
    lines = [json.loads(line) for line in f]
  # Steps 3 and 4, of either turn.
  assert sum(k.startswith('adversarial_loss/') for k in lines[1]) == 6
  assert sum('kernel_distance/' in k for k in lines[-1]) == 6


@pytest.mark.usefixtures('eagerly')
def test_a_domain_that_is_added_later(commands, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  two = _train(commands[1], '--trunk_steps=1')
  three = _train(commands[2])
  assert re.search(r'Started from .*; these are new:\n  _adapters/printed',
                   capsys.readouterr().out)
  old, new = af.load(two), af.load(three)
  assert new.domains == ('optical', 'mnist', 'printed')
  for part in (lambda m: m.trunk, lambda m: m.adapter('optical'),
               lambda m: m.adapter('mnist')):
    for x, y in zip(part(old).variables, part(new).variables, strict=True):
      np.testing.assert_array_equal(x, y)
  x = np.random.RandomState(0).uniform(size=(4, 8, 8, 1)).astype(np.float32)
  np.testing.assert_array_equal(
      old.translator('mnist', 'optical').forward(x),
      new.translator('mnist', 'optical').forward(x))
  begun = af.train.load(three, checkpoint='0').adapter('printed')
  assert any(np.any(x != y) for x, y in zip(
      [v.numpy() for v in begun.trainable_variables],
      [v.numpy() for v in new.adapter('printed').trainable_variables],
      strict=True))
  with open(f'{three}/metrics.jsonl') as f:
    names = set(json.loads(f.readline()))
  assert {n for n in names if n.startswith('bits_per_dim/')} == {
      'bits_per_dim/printed'}
  assert {n for n in names if n.startswith('adversarial_loss/')} == {
      f'adversarial_loss/{s}_to_{t}' for d in ('optical', 'mnist')
      for s, t in ((d, 'printed'), ('printed', d))}
  # The run that is started from lacks an adapter that is to stay as it is.
  other = [f for f in commands[2] if 'train_domains' not in f]
  with pytest.raises(runs.RunError, match='must have all weights.*printed'):
    _train(other, '--run_dir=other', '--train_domains=mnist')


@pytest.mark.parametrize(('settings', 'message'), [
    ({'train_domains': ('c',)}, '`init_from` must be a run'),
    ({'train_domains': ('c',), 'init_from': 'run', 'trunk': 'glow',
      'trunk_steps': 2}, '`trunk_steps` must be 0'),
    ({'train_domains': ('c',), 'init_from': 'run', 'share': 'all'}, '`share`'),
    ({'directions': 'some'}, '`directions` must be one of in_turns, all'),
])
def test_settings_that_do_not_fit(settings, message):
  with pytest.raises(config_lib.ConfigError, match=message):
    _config(**settings)


def test_a_trained_domain_must_be_there(tmp_path):
  config = _config(init_from='run', train_domains=('chalk',))
  with pytest.raises(config_lib.ConfigError,
                     match="`train_domains`.*optical, mnist, got 'chalk'"):
    loop.train(config, str(tmp_path / 'run'))

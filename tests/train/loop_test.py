"""Runs: from a configuration to a run directory, and on from there."""

import json
import os
import re
import shutil
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import func_graph

import alignflow_tf as af
from alignflow_tf import data
from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import loop
from alignflow_tf.train import runs
from alignflow_tf.train import trainer as trainer_lib
from alignflow_tf.train import warm_start
from tests.data import zoo
from tests.train import tiny


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('runs') / 'a run')
  loop.train(tiny.config(), path)
  return path


def _checkpoint(run_dir):
  reader = tf.train.load_checkpoint(runs.Run(run_dir).latest())
  return {k: reader.get_tensor(k) for k in reader.get_variable_to_shape_map()
          if 'OBJECT_GRAPH' not in k and 'save_counter' not in k}


def test_run_directory(run_dir):
  assert {'config.json', 'flags.txt', 'data.json', 'metrics.jsonl', 'sheets',
          'summaries', 'checkpoints'} <= set(os.listdir(run_dir))
  assert not [n for _, _, names in os.walk(run_dir) for n in names
              if 'partial' in n]
  with open(os.path.join(run_dir, 'metrics.jsonl')) as f:
    lines = [json.loads(line) for line in f]
  training = [line for line in lines if 'loss' in line]
  assert [line['step'] for line in training] == [1, 2, 3, 4]
  assert 'critic_loss/optical' in training[0]
  validation = [line for line in lines if 'validation/bits_per_dim/mnist'
                in line]
  assert [line['step'] for line in validation] == [4]
  assert validation[0]['validation/round_trip_max/optical_to_mnist'] < 1e-4
  sheets = sorted(os.listdir(os.path.join(run_dir, 'sheets')))
  assert sheets == ['0000004_mnist_to_optical.png',
                    '0000004_optical_to_mnist.png']


def test_load(run_dir):
  model = af.load(run_dir)
  assert model.domains == ('optical', 'mnist')
  saved = _checkpoint(run_dir)
  average = sorted(
      (v for k, v in saved.items() if k.startswith('average/')
       and '_adapters/' in k), key=lambda v: (v.size, v.sum()))
  loaded = sorted((v.numpy() for v in model.variables),
                  key=lambda v: (v.size, v.sum()))
  assert len(loaded) == len(average)
  for a, b in zip(loaded, average, strict=True):
    np.testing.assert_array_equal(a, b)
  raw = af.load(run_dir, average=False)
  assert any(np.any(a.numpy() != b.numpy())
             for a, b in zip(raw.variables, model.variables, strict=True))


def test_a_run_that_is_done_stays_as_it_is(run_dir, capsys):
  before = os.path.getmtime(runs.Run(run_dir).latest() + '.index')
  loop.train(tiny.config(), run_dir)
  assert 'is done: 4 steps' in capsys.readouterr().out
  assert os.path.getmtime(runs.Run(run_dir).latest() + '.index') == before


def test_a_run_is_extended(run_dir, tmp_path, capsys):
  longer = str(tmp_path / 'run')
  shutil.copytree(run_dir, longer)
  with pytest.raises(runs.RunError, match='steps: 4 in the run, 3 given'):
    loop.train(tiny.config(steps=3), longer)
  loop.train(tiny.config(steps=8), longer)
  assert (
      'Extended from 4 to 8 steps. Schedules are those of a run of 8 steps: '
      'the learning rates are constant up to step 2 and fall linearly to 0 at '
      'step 8.') in capsys.readouterr().out
  assert runs.Run(longer).latest().endswith('ckpt-8')
  assert runs.Run(longer).config == tiny.config(steps=8)
  with open(os.path.join(longer, 'metrics.jsonl')) as f:
    rates = {line['step']: line['learning_rate'] for line in map(json.loads, f)
             if 'learning_rate' in line}
  # decay_from is 0.3: as in a run of 8 steps, (8 - 4) / (8 - 2.4) at step 4.
  assert rates[5] == pytest.approx(5e-4 * 4 / 5.6)


def test_a_run_starts_from_the_weights_of_another(run_dir):
  other = tiny.config(critic_width=8)
  new = trainer_lib.Trainer(other, ('mnist', 'chalk'), (8, 8, 1))
  text = warm_start.start_from(run_dir, new, other)
  old = af.load(run_dir)
  # Other names: domains correspond by their order.
  for domain, was in (('mnist', 'optical'), ('chalk', 'mnist')):
    for a, b, average in zip(
        new.model.flow(domain).variables, old.flow(was).variables,
        new.average.flow(domain).variables, strict=True):
      np.testing.assert_array_equal(a, b)
      np.testing.assert_array_equal(a, average)
  total = len(new.model.variables)
  assert f'{total} of {total} variables of the model, ' in text
  assert re.search(r'critic .*\(4, 4, 1, 4\) in the run, \(4, 4, 1, 8\) here',
                   text)
  other = config_lib.resolve(
      'cpu', **(tiny.SETTINGS | dict(model='cyclegan', flow='real_nvp')))
  new = trainer_lib.Trainer(other, ('a', 'b'), (8, 8, 1))
  with pytest.raises(runs.RunError, match='no weight of .* fits this model'):
    warm_start.start_from(run_dir, new, other)


def test_stop_and_go_on_equals_going_on(run_dir, tmp_path, monkeypatch, capsys):
  """A run stopped by a signal goes on to the same weights, bit for bit.

  Even where the checkpoint of the stop is damaged: from the one before.
  """
  path = str(tmp_path / 'stopped')
  original = loop.monitor_lib.Monitor.progress

  def stop_at_three(self, step, values):
    if step == 3:
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(0.01)
    return original(self, step, values)

  monkeypatch.setattr(loop.monitor_lib.Monitor, 'progress', stop_at_three)
  with pytest.raises(loop.Stopped, match=f'--run_dir={path}') as e:
    loop.train(tiny.config(), path)
  assert e.value.signum == signal.SIGTERM
  monkeypatch.undo()
  newest = runs.Run(path).latest()
  assert newest.endswith('ckpt-3')
  with open(f'{newest}.data-00000-of-00001', 'r+b') as f:
    f.truncate(100)
  assert runs.Run(path).latest().endswith('ckpt-2')
  af.load(path)
  clock = time.time

  def jump_back(self, step, values):
    """The clock jumps back by hours, after the first step that was left."""
    monkeypatch.setattr(time, 'time', lambda: clock() - 5 * 3600.)
    return original(self, step, values)

  monkeypatch.setattr(loop.monitor_lib.Monitor, 'progress', jump_back)
  loop.train(tiny.config(), path)
  assert time.time() < clock() - 3600.
  out = capsys.readouterr().out
  assert 'ckpt-3 is damaged' in out
  assert 'Pictures of translations after step 4, in about 0m' in out
  want, got = _checkpoint(run_dir), _checkpoint(path)
  assert want.keys() == got.keys()
  for name in want:
    np.testing.assert_array_equal(got[name], want[name], err_msg=name)
  assert tiny.metrics(path) == tiny.metrics(run_dir)
  assert tiny.events(path) == tiny.events(run_dir)


@pytest.mark.usefixtures('eagerly')
def test_a_stop_puts_off_the_validation_of_its_step(tmp_path, monkeypatch):
  path = str(tmp_path / 'stopped')
  config = tiny.config(steps=2, eval_every=1, objective='mle')

  def stop(self, step, values):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
    return {'steps_per_second': 0.}

  monkeypatch.setattr(loop.monitor_lib.Monitor, 'progress', stop)
  with pytest.raises(loop.Stopped):
    loop.train(config, path)
  monkeypatch.undo()
  name = 'validation/bits_per_dim/mnist'
  assert not [line for line in tiny.metrics(path) if name in line]
  loop.train(config, path)
  assert [line['step'] for line in tiny.metrics(path) if name in line] == [1, 2]
  assert runs.Run(path).checkpoint('best')


def test_choose_a_checkpoint(run_dir):
  run = runs.Run(run_dir)
  assert run.checkpoint('2').endswith('ckpt-2')
  assert run.checkpoint('best').endswith('ckpt-4')
  for name in ('3', 'newer', '-1', ''):
    with pytest.raises(runs.RunError, match=r'`checkpoint`.*0, 2, 4'):
      run.checkpoint(name)


def test_the_figure_of_checkpoints():
  values = {'validation/bits_per_dim/a': 4., 'validation/figure': 0.2}
  assert loop._figure(tiny.config(objective='mle'), 5, values) == 4.
  for objective in ('hybrid', 'adversarial'):
    config = tiny.config(objective=objective)
    assert loop._figure(config, 5, values) == 0.2
    assert loop._figure(config, 5, {
        'validation/figure': float('nan')}) is None
  # A trunk's steps train no translation.
  config = tiny.config(trunk='glow', trunk_steps=2)
  assert loop._figure(config, 2, values) is None
  assert loop._figure(config, 3, values) == 0.2


def test_other_images_than_when_the_run_began(run_dir, tmp_path):
  path = str(tmp_path / 'run')
  shutil.copytree(run_dir, path)
  data_json = os.path.join(path, 'data.json')
  with open(data_json) as f:
    facts = json.load(f)
  facts['domains']['mnist']['sizes']['train'] += 1
  with open(data_json, 'w') as f:
    json.dump(facts, f)
  with pytest.raises(runs.RunError, match=r"changed.*'mnist'.*3501.*3500"):
    loop.train(tiny.config(), path)
  facts['domains']['mnist']['sizes']['train'] -= 1
  facts['domains']['mnist']['files'] = '0123456789abcdef'
  with open(data_json, 'w') as f:
    json.dump(facts, f)
  with pytest.raises(runs.RunError, match="as many files of 'mnist'.*other"):
    runs.Run(path).check_data(data.load('digits', image_size=8))


def test_nothing_is_traced_after_the_first_evaluation(tmp_path, monkeypatch):
  traced, seen = [], []
  trace = func_graph.func_graph_from_py_func
  scalars = loop.monitor_lib.Monitor.scalars

  def counted(name, *args, **kwargs):
    traced.append(name)
    return trace(name, *args, **kwargs)

  def noted(self, step, values):
    seen.append((step, len(traced)))
    scalars(self, step, values)

  monkeypatch.setattr(func_graph, 'func_graph_from_py_func', counted)
  monkeypatch.setattr(loop.monitor_lib.Monitor, 'scalars', noted)
  loop.train(tiny.config(steps=6, eval_every=2), str(tmp_path / 'run'))
  warm = max(number for step, number in seen if step == 2)
  assert 0 < warm
  assert traced[warm:] == []


def test_another_configuration_is_refused(run_dir):
  with pytest.raises(runs.RunError, match='width: 4 in the run, 5 given'):
    loop.train(tiny.config(width=5), run_dir)


@pytest.mark.usefixtures('eagerly')
def test_a_start_that_was_killed_is_no_obstacle(run_dir, tmp_path):
  for name in ('lock', 'flags.txt', 'config.json.partial'):
    (tmp_path / name).write_text('')
  config = tiny.config(steps=1, objective='mle', eval_every=1)
  loop.train(config, str(tmp_path))
  assert runs.Run(str(tmp_path)).config == config
  with open(tmp_path / 'data.json') as f:
    assert json.load(f)


def test_weights_that_are_not_finite_are_not_loaded(run_dir, tmp_path):
  run = runs.Run(run_dir)
  model = af.load(run_dir)
  model.variables[0].assign(model.variables[0] * np.nan)
  bad = runs.Run.create(str(tmp_path), run.config, run.domains, run.event_shape,
                        run.copied_channels)
  tf.train.CheckpointManager(
      tf.train.Checkpoint(average=model), bad.checkpoints, 1).save()
  with pytest.raises(runs.RunError, match='not finite'):
    af.load(str(tmp_path))


def test_a_validation_picture_goes_bad_and_the_folders_move(tmp_path):
  for domain in 'ab':
    for split in ('train', 'val', 'test'):
      folder = tmp_path / 'old' / domain / split
      folder.mkdir(parents=True)
      for i in range(8):
        tf.io.write_file(str(folder / f'{split}{i}.png'), tf.io.encode_png(
            np.random.RandomState(i).randint(
                0, 256, (8, 8, 1)).astype(np.uint8)))

  def config(place, domains='ab', **overrides):
    where = tuple(f'{d}:{tmp_path / place / d}' for d in domains)
    return tiny.config(
        dataset='folders', cache='none', deterministic=False, objective='mle',
        eval_every=2, domain=where, **overrides)

  bad = tmp_path / 'old' / 'a' / 'val' / 'val3.png'
  bad.write_bytes(zoo.png_header(8, 8))  # Whole, but without pixels.
  path = str(tmp_path / 'run')
  with pytest.raises(data.DataError, match=r'val3\.png.*--skip_unreadable'):
    loop.train(config('old'), path)
  # The first evaluation could not be had; its step is not lost.
  step = checkpoints_lib.steps(runs.Run(path).checkpoints)[-1]
  assert step == config('old').eval_every
  (tmp_path / 'old').rename(tmp_path / 'new')
  loop.train(config('new', skip_unreadable=True), path)
  assert runs.Run(path).latest().endswith(f'-{config("new").steps}')
  with open(os.path.join(path, 'metrics.jsonl')) as f:
    assert sum('validation/bits_per_dim/a' in line for line in f) == (
        config('new').steps // step)
  # Other domains are another run.
  with pytest.raises(runs.RunError, match='domain'):
    loop.train(config('new', 'ac'), path)


def test_what_cannot_be_read_is_named(run_dir, tmp_path, monkeypatch):
  def denied(*args, **kwargs):
    raise PermissionError(13, 'Permission denied')

  (tmp_path / 'run').mkdir()
  with monkeypatch.context() as patch:
    patch.setattr(os, 'listdir', denied)
    with pytest.raises(runs.RunError, match='`run_dir`.*Permission denied'):
      loop.train(tiny.config(), str(tmp_path / 'run'))
    patch.setattr('builtins.open', denied)
    with pytest.raises(runs.RunError, match='`run`.*Permission denied'):
      runs.Run(run_dir)

"""Checkpoints: kept by rule, verified on reading, refused where they differ."""

import json
import os

import pytest
import tensorflow as tf

from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib

CONFIG = config_lib.Config().to_json()


class _Saved:
  """A checkpoint of two variables, and the directory of a run's checkpoints."""

  def __init__(self, directory, keep=2, config=None):
    self.x = tf.Variable(tf.zeros([100]), name='x')
    self.step = tf.Variable(0, dtype=tf.int64, name='step')
    self.directory = str(directory)
    self.checkpoints = checkpoints_lib.Checkpoints(
        self.directory, tf.train.Checkpoint(x=self.x, step=self.step), keep,
        config or CONFIG, frozenset({'log_every'}))

  def save(self, step, figure=None, state=None):
    self.step.assign(step)
    self.x.assign(tf.fill([100], float(step)))
    return self.checkpoints.save(step, state or {'at': step}, figure)

  def restore(self):
    said = []
    return self.checkpoints.restore(said.append), said

  def steps(self):
    return checkpoints_lib.steps(self.directory)


def test_the_newest_and_the_best_are_kept(tmp_path):
  saved = _Saved(tmp_path)
  for step, figure in ((1, 5.), (2, 3.), (3, 4.), (4, None), (5, 3.)):
    saved.save(step, figure)
  assert saved.steps() == [2, 4, 5]
  assert checkpoints_lib.best(saved.directory).endswith('ckpt-2')
  assert saved.checkpoints.best_figure() == 3.
  saved.save(6, 2.)
  assert saved.steps() == [5, 6]
  assert checkpoints_lib.best(saved.directory).endswith('ckpt-6')
  # TensorFlow's own tools find the newest too, and nothing else is left.
  assert tf.train.latest_checkpoint(saved.directory).endswith('ckpt-6')
  assert sorted(os.listdir(tmp_path)) == ['checkpoint'] + [
      f'ckpt-{s}.{end}' for s in (5, 6)
      for end in ('data-00000-of-00001', 'index', 'json')]


def test_a_figure_of_a_removed_checkpoint_counts_no_more(tmp_path):
  saved = _Saved(tmp_path)
  saved.save(1, 3.)
  saved.save(2, 1.)
  os.remove(tmp_path / 'ckpt-2.index')
  saved.save(2, 2.5)
  assert saved.checkpoints.best_figure() == 2.5
  saved.save(3, 2.)
  assert checkpoints_lib.best(saved.directory).endswith('ckpt-3')


def test_state_and_values_come_back(tmp_path):
  saved = _Saved(tmp_path)
  assert saved.restore() == (None, [])
  state = {'skips': [0, 1], 'rate': 0.1, 'recent': [{'loss': 1 / 3}]}
  saved.save(7, state=state)
  again = _Saved(tmp_path)
  assert again.restore() == (state, [])
  assert int(again.step) == 7
  assert float(again.x[99]) == 7.


def _truncate(path, size):
  with open(path, 'r+b') as f:
    f.truncate(size)


def _flip(path, place):
  with open(path, 'r+b') as f:
    f.seek(place)
    byte = f.read(1)
    f.seek(place)
    f.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize('damage', [
    lambda p: _truncate(f'{p}.data-00000-of-00001', 50),
    lambda p: _truncate(f'{p}.data-00000-of-00001', 0),
    lambda p: _truncate(f'{p}.index', 30),
    lambda p: _truncate(f'{p}.index', 0),
    lambda p: _flip(f'{p}.data-00000-of-00001', 120),
    lambda p: _flip(f'{p}.index', 20),
    lambda p: os.remove(f'{p}.data-00000-of-00001'),
    lambda p: _truncate(f'{p}.json', 10),
], ids=['data cut', 'data empty', 'index cut', 'index empty', 'data bit',
        'index bit', 'data gone', 'state cut'])
def test_a_damaged_one_is_reported_and_the_one_before_used(tmp_path, damage):
  saved = _Saved(tmp_path)
  saved.save(1)
  newest = saved.save(2)
  damage(newest)
  assert checkpoints_lib.newest(saved.directory).endswith('ckpt-1')
  assert saved.steps() == [1, 2]  # A reader leaves all as it is.
  state, said = saved.restore()
  assert state == {'at': 1}
  assert float(saved.x[0]) == 1.
  assert len(said) == 1
  assert f'{newest} is damaged (' in said[0]
  assert saved.steps() == [1]
  assert (tmp_path / 'damaged-ckpt-2.index').exists()
  saved.save(2)
  assert saved.steps() == [1, 2]
  assert not checkpoints_lib.problem(newest)


def test_all_damaged(tmp_path):
  saved = _Saved(tmp_path)
  _truncate(f'{saved.save(1)}.index', 5)
  with pytest.raises(checkpoints_lib.RunError, match='all checkpoints'):
    checkpoints_lib.newest(saved.directory)
  for _ in range(2):  # A second start must not begin anew.
    with pytest.raises(checkpoints_lib.RunError, match='all checkpoints'):
      saved.restore()


def test_another_configuration_is_refused_with_the_difference(tmp_path):
  _Saved(tmp_path).save(1)
  other = _Saved(tmp_path, config=CONFIG | {'width': 7, 'log_every': 9})
  with pytest.raises(checkpoints_lib.RunError) as e:
    other.restore()
  assert 'ckpt-1 is of another configuration' in str(e.value)
  assert str(e.value).splitlines()[1:] == [
      f'  width: {CONFIG["width"]} in the checkpoint, 7 here']


def test_a_setting_that_is_new_has_its_default_in_older_ones(tmp_path):
  old = {k: v for k, v in CONFIG.items() if k != 'skip_limit'}
  _Saved(tmp_path, config=old).save(1)
  assert _Saved(tmp_path).restore()[0] == {'at': 1}


@pytest.mark.parametrize(('found', 'writer'), [
    (1, 'version 0.1 of alignflow_tf'), (99, 'another version')])
def test_another_format_is_refused(tmp_path, found, writer):
  path = _Saved(tmp_path).save(1)
  with open(f'{path}.json') as f:
    facts = json.load(f)
  with open(f'{path}.json', 'w') as f:
    json.dump(facts | {'format': found}, f)
  with pytest.raises(checkpoints_lib.RunError, match=(
      f'has format {found}, written by {writer}.*train again')):
    _Saved(tmp_path).restore()


def test_checkpoints_of_the_first_version_are_refused(tmp_path):
  """They have no state beside them."""
  saved = _Saved(tmp_path)
  tf.train.CheckpointManager(
      tf.train.Checkpoint(x=saved.x, step=saved.step), str(tmp_path), 3
  ).save(checkpoint_number=3)
  with pytest.raises(checkpoints_lib.RunError, match='version 0.1'):
    saved.restore()


def test_other_variables_are_refused_by_name(tmp_path):
  saved = _Saved(tmp_path)
  saved.save(1)
  other = tf.train.Checkpoint(x=saved.x, step=saved.step, y=tf.Variable(1.))
  with pytest.raises(checkpoints_lib.RunError, match='not hold this model'):
    checkpoints_lib.restore(other, checkpoints_lib.newest(str(tmp_path)), True)


def test_a_checkpoint_that_cannot_be_written_says_why(tmp_path, monkeypatch):
  saved = _Saved(tmp_path)

  def write(path):
    raise OSError('the disk is full')

  monkeypatch.setattr(saved.checkpoints._checkpoint, 'write', write)
  with pytest.raises(OSError, match='the disk is full'):
    saved.save(1)
  assert saved.steps() == []


def test_what_a_killed_process_left_is_no_checkpoint(tmp_path):
  saved = _Saved(tmp_path)
  saved.save(1)
  (tmp_path / 'ckpt-2_temp').mkdir()
  (tmp_path / 'ckpt-2.json').write_text('{')
  (tmp_path / 'ckpt-2.data-00000-of-00001').write_text('x')
  assert saved.steps() == [1]
  assert saved.restore()[0] == {'at': 1}
  saved.save(3)
  assert not (tmp_path / 'ckpt-2_temp').exists()

"""Tables: what is run, what is left alone, what is gathered."""

import dataclasses
import json
import math
import os

import pytest
import tensorflow as tf

from alignflow_tf.evaluate import _subprocess
from alignflow_tf.evaluate import reference_networks
from alignflow_tf.evaluate import table_flags
from alignflow_tf.evaluate import table_report
from alignflow_tf.evaluate import table_runs
from alignflow_tf.evaluate import tables
from alignflow_tf.evaluate import translations
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import runs
from alignflow_tf.train import settings as settings_lib

DIRECTIONS = ('aerial_to_map', 'map_to_aerial')


def _evaluation(mse, checkpoint):
  row = {'mse': mse, 'top_1': 0.1, 'mean_iou': 0.5, 'kid': 2e-5}
  return {
      'checkpoint': checkpoint, 'seconds': 1., 'limit': None,
      'split': 'test', 'seed': 0, 'supervised': True,
      'inception_weights': None, 'references': reference_networks.place(None),
      'images': {'aerial': 3, 'map': 3},
      'translation': {d: {
          'model': {**row, 'mse': mse + i},
          **{r: row for r in translations.ROWS if r != 'model'}}
                      for i, d in enumerate(DIRECTIONS)},
      'chance': {d: {'top_1': 1 / 3} for d in DIRECTIONS},
      'features': dict.fromkeys(DIRECTIONS, 'something'),
      'round_trip': {d: {'max': 1e-5, 'mean': 1e-6, 'saturated': 0.}
                     for d in DIRECTIONS}}


class _Programs:
  """Stands in for the programs: writes what they leave behind."""

  def __init__(self, mse):
    self.mse = mse
    self.calls = []

  def __call__(self, command):
    options = dict(
        a.removeprefix('--').split('=', 1) for a in command[3:] if '=' in a)
    self.calls.append((command[2].split('.')[-1], options))
    if command[2] == 'alignflow_tf.train':
      known = {f.name for f in dataclasses.fields(config_lib.Config)}
      given = dict(settings_lib.parse(f'{k}={v}', config_lib.Config)
                   for k, v in options.items() if k in known)
      given |= {k: f'--{k}' in command for k in ('flip', 'download')}
      runs.Run.create(
          options['run_dir'], config_lib.resolve(given.pop('preset'), **given),
          ('aerial', 'map'), (32, 32, 3), {})
      return
    name = os.path.basename(options['run'])
    os.makedirs(os.path.join(options['run'], 'evaluation'), exist_ok=True)
    with open(os.path.join(
        options['run'], 'evaluation', 'evaluation.json'), 'w') as f:
      json.dump(_evaluation(self.mse[name], 'ckpt-8'), f)


@pytest.fixture
def settings(tmp_path, monkeypatch):
  monkeypatch.setattr(
      runs.Run, 'latest', lambda self: '/somewhere/checkpoints/ckpt-8')
  return tables.Settings('maps', str(tmp_path), seeds=(0, 1), steps=8)


MSE = {'cyclegan_seed0': 0.2, 'cyclegan_seed1': 0.4, 'adversarial_seed0': 0.5,
       'adversarial_seed1': 0.5, 'hybrid_seed0': 0.1, 'hybrid_seed1': 0.1,
       'mle_seed0': 0.4, 'mle_seed1': 0.4}


def test_a_table_is_made_once(settings):
  programs = _Programs(MSE)
  methods = tables.table1(settings)
  result = table_runs.run(methods, settings, programs)
  assert [name for name, _ in programs.calls] == ['train', 'evaluate'] * 8
  trained = [o for name, o in programs.calls if name == 'train']
  # Seed by seed; one budget.
  assert [os.path.basename(o['run_dir']) for o in trained] == [
      f'{m}_seed{s}' for s in (0, 1)
      for m in ('cyclegan', 'adversarial', 'hybrid', 'mle')]
  for name in ('steps', 'batch_size', 'image_size', 'critic_width',
               'critic_layers', 'critic_noise', 'pool_size', 'ema_decay'):
    assert len({o[name] for o in trained}) == 1, name
  assert result == table_runs.run(methods, settings, programs)
  assert len(programs.calls) == 16
  with open(os.path.join(settings.output, 'table.json')) as f:
    assert json.load(f)['directions'].keys() == set(DIRECTIONS)

  rows = result['directions']['aerial_to_map']['rows']
  assert rows['cyclegan']['figures']['mse']['mean'] == pytest.approx(0.3)
  assert rows['cyclegan']['figures']['mse']['std'] == pytest.approx(
      0.1 * math.sqrt(2.))
  assert rows['hybrid']['paper'] == 0.0209
  assert rows['mean_image']['paper'] is None
  # adversarial and mle stand the other way round, in both directions.
  assert result['order'] == {'same': 10, 'pairs': 12}

  text = table_report.text(result)
  for part in ('8 steps of 16', 'seeds 0, 1', 'AF (Hybrid, lambda 4e-05)',
               '0.3000 ± 0.1414', '0.0245', 'mean image', '12 pairs', '1.0e-05',
               'KID times 1000', '0.02 ± 0.00', 'supervised on pairs',
               'Flows: glow, width 32. ',
               'Not equal in all rows: learning_rate 0.0002 (cyclegan), 0.0003 '
               '(adversarial, hybrid, mle); critic_learning_rate 0.0002 ',
               '; clip_norm 0.0 (cyclegan), 10.0 (adversarial, hybrid, mle).'):
    assert part in text
  result['weights'] = {'cyclegan': 1_234_567, 'hybrid': 89}
  assert 'left out: 1,234,567 (cyclegan), 89 (hybrid).' in (
      table_report.text(result))
  path = table_report.write_report(result, [], settings.output)
  with open(path) as f:
    page = f.read()
  assert '0.3000 ± 0.1414' in page
  assert '1,234,567 (cyclegan)' in page
  assert 'http' not in page.replace('<html lang', '')


@pytest.mark.parametrize('other', [
    {'supervised': False}, {'seed': 1}, {'limit': 5},
    {'inception_weights': '/x.h5'}, {'references': '/elsewhere'},
    {'checkpoint': 'ckpt-4'}, {'seconds': None}, {'chance': None}])
def test_another_evaluation_is_made_anew(settings, other):
  programs_run = _Programs(MSE)
  methods = tables.table1(settings)[:1]
  table_runs.run(methods, settings, programs_run)
  count = len(programs_run.calls)
  path = os.path.join(
      settings.output, 'cyclegan_seed1', 'evaluation', 'evaluation.json')
  with open(path) as f:
    saved = json.load(f)
  # None: it is not there.
  changed = {k: v for k, v in (saved | other).items()
             if k not in other or v is not None}
  with open(path, 'w') as f:
    json.dump(changed, f)
  table_runs.run(methods, settings, programs_run)
  assert [name for name, _ in programs_run.calls[count:]] == ['evaluate']


def test_figures_that_are_missing_or_not_finite(settings):
  methods = tables.table1(settings)[1:3]
  found = {m.name: {s: _evaluation(0.5, 'ckpt-8') for s in (0, 1)}
           for m in methods}
  scores = found['adversarial'][0]['translation']['aerial_to_map']['model']
  scores |= {'mse': None, 'kid': None, 'not_finite': 0.1}
  found['adversarial'][0]['round_trip']['aerial_to_map'] = dict.fromkeys(
      ('max', 'mean', 'saturated'))
  for evaluation in found['hybrid'].values():
    evaluation['translation']['aerial_to_map']['model'] = {'mse': None}
  result = table_runs.summarise(methods, settings, found)
  rows = result['directions']['aerial_to_map']['rows']
  assert rows['adversarial']['figures']['mse'] == {
      'mean': 0.5, 'std': None, 'values': [None, 0.5], 'missing': 1}
  assert rows['hybrid']['figures']['mse']['mean'] is None
  # Of the two directions one cannot be compared; in the other both are equal.
  assert result['order'] == {'same': 1, 'pairs': 2}
  text = table_report.text(result)
  assert '0.5000 (1 of 2 not finite)' in text
  assert '| not finite |' in text


def test_all_configurations_are_checked_before_any_is_trained(settings):
  programs_run = _Programs(MSE)
  shared = dataclasses.replace(settings, overrides={'share': 'all'})
  with pytest.raises(config_lib.ConfigError, match='`share`'):
    table_runs.run(tables.table1(shared)[::-1], shared, programs_run)
  assert not programs_run.calls


@pytest.mark.parametrize(('error', 'code', 'said'), [
    (_subprocess.Stopped(15), 143,
     'Stopped by SIGTERM; the same command goes on'),
    (KeyboardInterrupt(), 130, 'table1: stopped; the same'),
    (tables.TableError('`x`'), 'alignflow_tf.evaluate.table1: `x`', ''),
])
def test_how_a_table_ends(error, code, said, settings, monkeypatch, capsys):
  def make(*unused):
    raise error
  monkeypatch.setattr(table_flags, 'settings', lambda *_: settings)
  monkeypatch.setattr(table_report, 'make', make)
  with pytest.raises(SystemExit) as e:
    table_flags.main(['table1'], 'table1', tables.table1)
  assert e.value.code == code
  assert said in capsys.readouterr().err


def test_figures_are_there_before_models_are_loaded(
    settings, monkeypatch, capsys):
  run = table_runs.run
  monkeypatch.setattr(
      table_runs, 'run', lambda methods, s: run(methods, s, _Programs(MSE)))

  def written(name):
    with open(os.path.join(settings.output, name)) as f:
      return f.read()

  def load(methods, settings):
    assert 'mean image' in written('table.md')
    assert 'Trained weights' not in written('table.md')
    assert 'weights' not in json.loads(written('table.json'))
    model = tf.Module()
    model.weights = tf.Variable(tf.zeros([1234]))
    return {m.name: model for m in methods}

  def sheets(methods, settings, models):
    assert list(models) == [m.name for m in methods]
    return []

  monkeypatch.setattr(table_report, 'load', load)
  monkeypatch.setattr(table_report, 'sheets', sheets)
  table_report.make(tables.table1(settings), settings)
  weights = 'left out: 1,234 (cyclegan)'
  assert json.loads(written('table.json'))['weights']['hybrid'] == 1234
  for text in (written('table.md'), written('report.html'),
               capsys.readouterr().out):
    assert weights in text


def test_a_table_that_cannot_be_written(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  settings = tables.Settings('maps', str(tmp_path / 'file' / 'table'))
  monkeypatch.setattr(table_runs, 'run', lambda _, s: os.makedirs(s.output))
  with pytest.raises(tables.TableError,
                     match=r'`output`.*file/table.*make it writable'):
    table_report.make([], settings)


def test_tables_1_and_3_share_their_hybrid_in_one_directory(settings):
  programs = _Programs(MSE | {'lambda_0.0001_seed0': 0.3})
  settings = dataclasses.replace(settings, seeds=(0,))
  hybrid = tables.table1(settings)[2]
  table_runs.run([hybrid], settings, programs)
  count = len(programs.calls)
  rows = tables.table3(settings, [1e-5, 1e-4])
  table_runs.run(rows, settings, programs)
  # Of 1e-5, which is there, nothing.
  assert [o['run_dir'] for name, o in programs.calls[count:]
          if name == 'train'] == [table_runs.place(rows[1], settings, 0)]
  assert table_runs.place(rows[0], settings, 0) == (
      table_runs.place(hybrid, settings, 0))
  # The other way round, and not where the configuration is another.
  first = tables.table1(dataclasses.replace(settings, seeds=(1,)), 1e-4)[2]
  assert table_runs.place(first, settings, 1).endswith('/hybrid_seed1')
  os.rename(table_runs.place(rows[1], settings, 0),
            os.path.join(settings.output, 'lambda_0.0001_seed1'))
  assert table_runs.place(first, settings, 1).endswith('/hybrid_seed1')
  table_runs.run(rows[1:], dataclasses.replace(settings, seeds=(2,)),
             _Programs({'lambda_0.0001_seed2': 0.3}))
  assert table_runs.place(first, settings, 2).endswith('/lambda_0.0001_seed2')


def test_a_run_of_other_settings_is_not_taken_for_done(settings):
  programs = _Programs(MSE)
  methods = tables.table1(settings)[:1]
  table_runs.run(methods, settings, programs)
  other = dataclasses.replace(settings, overrides={'width': 99})
  count = len(programs.calls)
  table_runs.run(methods, other, programs)
  assert [name for name, _ in programs.calls[count:]] == ['train', 'train']


def test_lambda_is_scaled_by_the_size():
  assert tables.paper_lambda(1e-5, 'maps', 64) == 1e-5
  assert tables.paper_lambda(1e-5, 'maps', 32) == pytest.approx(4e-5)
  assert tables.paper_lambda(1e-5, 'facades', 32) == pytest.approx(16e-5)


def test_table_3(settings):
  methods = tables.table3(settings)
  assert [m.name for m in methods] == [
      'adversarial', 'lambda_1e-05', 'lambda_0.0001', 'lambda_0.001',
      'lambda_0.01', 'mle']
  assert [m.paper[0] for m in methods] == [
      0.0385, 0.0209, 0.0211, 0.0260, 0.0561, 0.0452]
  config = tables.configuration(methods[1], settings, 3)
  assert (config.lambda_a, config.lambda_b, config.seed) == (
      pytest.approx(4e-5), pytest.approx(4e-5), 3)
  assert tables.configuration(methods[-1], settings, 3).objective == 'mle'


@pytest.mark.parametrize(('budget', 'flow'), [
    ('cpu', 'glow'), ('cpu_real_nvp', 'real_nvp')])
def test_small_budgets_differ_in_their_flows(budget, flow):
  settings = tables.Settings('maps', 'x', budget)
  rows = {m.name: tables.configuration(m, settings, 0)
          for m in tables.table1(settings)}
  assert {c.image_size for c in rows.values()} == {32}
  assert all(c.flip for c in rows.values())
  flows = {n: c.flow for n, c in rows.items() if c.model == 'alignflow'}
  assert flows == dict.fromkeys(('adversarial', 'hybrid', 'mle'), flow)
  assert len({(c.batch_size, c.steps, c.critic_width, c.critic_layers,
               c.critic_noise, c.ema_decay) for c in rows.values()}) == 1


def test_the_papers_budget():
  settings = tables.Settings('facades', 'x', 'paper')
  config = tables.configuration(tables.table1(settings)[2], settings, 0)
  assert (config.image_size, config.steps, config.batch_size) == (128, 5000, 16)
  assert (config.num_scales, config.width, config.num_blocks) == (4, 32, 4)
  assert config.lambda_a == 1e-5
  cyclegan = tables.configuration(tables.table1(settings)[0], settings, 0)
  assert (cyclegan.width, cyclegan.num_blocks, cyclegan.steps) == (64, 9, 5000)


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(seeds=()), '`seeds`'),
    (dict(seeds=(1, 1)), '`seeds`'),
    (dict(overrides={'seed': 3}), "`set`.*'seed'.*got 3: use --seeds"),
    (dict(overrides={'preset': 'cpu'}), 'use --budget'),
    (dict(overrides={'lambda_a': 1.}), 'use --hybrid_lambda'),
    (dict(overrides={'lambda_until': 0.5}), "'lambda_until' to the table"),
    (dict(overrides={'model': 'cyclegan'}), "'model'.*rows apart"),
])
def test_settings_out_of_range(kwargs, message):
  with pytest.raises(tables.TableError, match=message):
    tables.Settings(**(dict(dataset='maps', output='x') | kwargs))

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf.evaluate import pairs
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import trainer as trainer_lib

pytest.importorskip(
    'jax', reason='needs JAX: pip install alignflow_tf[stablehlo]')

from alignflow_tf.export import stablehlo  # noqa: E402
from alignflow_tf.export.stablehlo.runner import figures  # noqa: E402
from alignflow_tf.export.stablehlo.runner import programs  # noqa: E402
from alignflow_tf.export.stablehlo.runner import training  # noqa: E402

STEPS = 20
TRUNK_STEPS = 5
CHUNK = 5


def middles(x, seed=None, levels=1., dtype=tf.float32, draw=None):
  """`images.dequantize` without noise."""
  del seed, levels, draw
  return (tf.cast(x, dtype) + 0.5) / 256.


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A kit without noise, and what 20 steps of it gave in JAX alone."""
  folder = tmp_path_factory.mktemp('stablehlo')
  config = config_lib.resolve(
      'cpu', steps=STEPS, batch_size=4, image_size=8, flow='short',
      num_scales=1, width=4, critic_width=4, critic_layers=1, critic_noise=0.,
      pool_size=0, framing=False, trunk='short', trunk_width=4,
      trunk_scales=1, trunk_steps=TRUNK_STEPS, trunk_later=0.5)
  domains = inputs.load(config, batch_size=config.batch_size)
  kit, output = str(folder / 'kit'), str(folder / 'output')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(images_lib, 'dequantize', middles)
    stablehlo.write(config, domains, kit, compact=False)
    trained = trained_by_tensorflow(config, domains, kit)
  _run(kit, output)
  return kit, output, trained


def _run(kit, output):
  """Runs a kit as a user does, in a process without TensorFlow."""
  return subprocess.run(
      [sys.executable, os.path.join(kit, 'run.py'), f'--output={output}',
       f'--chunk={CHUNK}', f'--cache={output}/cache', '--validation',
       f'--turns={output}'],
      check=True, capture_output=True, text=True, env=os.environ | {
          # Compiling takes a minute otherwise, for 20 steps of four images.
          'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
          'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'})


def trained_by_tensorflow(config, domains, kit):
  """The losses of each step, and the trained trainer."""
  trainer = trainer_lib.Trainer(
      config, domains.domains, domains.event_shape, domains.grey_copied)
  size = min(256, *(s['train'] for s in domains.sizes.values()))
  first = next(iter(domains.train_batches(size, seed=config.seed)))
  trainer.initialize({d: first[d]['image'] for d in domains.domains})
  images = programs.Kit(kit, 'float32').data('train')
  losses = []
  for step in range(STEPS):
    batch = {}
    for i, (d, x) in enumerate(images.items()):
      rows, _ = training.rows(
          config.seed, i, len(x), config.batch_size, step, 1)
      batch[d] = tf.constant(x[rows[0]])
    advance = trainer.trunk_step if step < TRUNK_STEPS else trainer.train_step
    losses.append({k: float(v) for k, v in advance(batch).items()})
  return losses, trainer


def test_losses_are_those_of_tensorflow(made):
  _, output, (losses, _) = made
  with open(os.path.join(output, 'metrics.jsonl'), encoding='utf-8') as f:
    lines = [json.loads(line) for line in f]
  assert [line['step'] for line in lines] == list(
      range(CHUNK, STEPS + 1, CHUNK))
  for line in lines:
    part = losses[line['step'] - CHUNK:line['step']]
    for name in part[0]:
      expected = np.mean([values[name] for values in part])
      assert line[name] == pytest.approx(expected, rel=1e-4, abs=1e-4), name


def test_weights_are_those_of_tensorflow(made):
  kit, output, (_, trainer) = made
  state = programs.Kit(kit, 'float32').manifest['state']
  compared = 0
  with np.load(os.path.join(output, 'state.npz')) as saved:
    assert int(saved['step']) == STEPS
    for i, entry in enumerate(state):
      part, _, rest = entry['name'].partition('/')
      if part in ('model', 'average'):
        variable = getattr(trainer, part).variables[int(rest.split('/')[0])]
        np.testing.assert_allclose(
            saved[str(i)], variable.numpy(), rtol=0, atol=1e-3)
        compared += 1
  assert compared >= 2 * len(trainer.model.trainable_variables)


def test_translators_come_back(made):
  _, output, _ = made
  with open(os.path.join(output, 'figures.json'), encoding='utf-8') as f:
    found = json.load(f)
  for direction in ('optical_to_mnist', 'mnist_to_optical'):
    assert found[direction]['round_trip_max'] < 1e-4
    assert found[direction]['not_finite'] == 0
    assert np.load(os.path.join(output, f'{direction}.npz'))['arr_0'].ndim == 4
    assert os.path.getsize(os.path.join(output, f'{direction}.png')) > 1000
  assert 0 < found['mnist']['bits_per_dim'] < 20


def test_translations_are_those_of_tensorflow(made):
  kit, output, (_, trainer) = made
  test = programs.Kit(kit, 'float32').data('test')['optical'][:16]
  translated = trainer.average.translator('optical', 'mnist').forward(
      tf.constant(figures.from_levels(test)))
  levels = figures.to_levels(translated.numpy()).astype(int)
  in_jax = np.load(os.path.join(output, 'optical_to_mnist.npz'))['arr_0'][:16]
  assert np.abs(levels - in_jax).max() <= 1


def test_a_run_goes_on_from_its_state(made):
  kit, output, _ = made
  done = _run(kit, output)
  assert f'on from step {STEPS}' in done.stdout


def test_steps_that_remain():
  kinds = [{'program': 'trunk_step', 'until': 10},
           {'program': 'train_step', 'until': 30}]
  names = [[kind['program'] for kind in training.remaining(kinds, step, 5)]
           for step in (0, 5, 10, 30)]
  assert names == [['trunk_step', 'train_step']] * 2 + [['train_step']] * 2
  assert training.remaining(kinds, 7, 3) == kinds
  with pytest.raises(SystemExit, match='must divide the 10 steps of trunk_ste'):
    training.remaining(kinds, 0, 4)


def test_steps_of_training_are_no_programs_of_a_model(monkeypatch):
  monkeypatch.setattr(figures.Model, '_compile', lambda self, name: name)
  names = ['train_step', 'trunk_step', 'translate_a_to_b', 'log_prob_a']
  kit = types.SimpleNamespace(manifest={'programs': dict.fromkeys(names)})
  assert list(figures.Model(kit)._compiled) == names[2:]


def test_partners_are_scored_as_by_the_evaluation():
  random = np.random.RandomState(0)
  partners = random.uniform(size=(30, 4, 4, 3)).astype(np.float32)
  translated = np.clip(
      partners + random.normal(0., 0.4, partners.shape), 0, 1).astype(
          np.float32)
  found = figures.against_partners(translated, partners)
  assert found == pytest.approx({
      'mse': pairs.mse(translated, partners),
      'correlation': pairs.correlation(translated, partners),
      'partner_nearest': pairs.retrieval(translated, partners)['top_1'],
  }, rel=1e-5)
  assert 0.1 < found['partner_nearest'] < 1


def test_the_validation_split_is_evaluated_as_well(made):
  _, output, _ = made
  found = {}
  for split in ('', 'validation'):
    with open(os.path.join(output, split, 'figures.json'),
              encoding='utf-8') as f:
      found[split] = json.load(f)
  assert found[''].keys() == found['validation'].keys()
  assert found[''] != found['validation']


def test_order_is_a_permutation_of_each_epoch():
  rows, flips = training.rows(3, 0, 10, 4, 0, 5)
  assert rows.shape == flips.shape == (5, 4)
  assert sorted(rows.ravel()[:10]) == sorted(rows.ravel()[10:]) == list(
      range(10))
  later, _ = training.rows(3, 0, 10, 4, 2, 3)
  np.testing.assert_array_equal(later, rows[2:])
  other, _ = training.rows(3, 1, 10, 4, 0, 5)
  assert not np.array_equal(other, rows)


def test_compact_state_keeps_distributions(tmp_path):
  config = config_lib.resolve('cpu', image_size=8, num_scales=1, width=32,
                              critic_layers=1, batch_size=4)
  domains = inputs.load(config, batch_size=config.batch_size)
  from alignflow_tf.export.stablehlo import kit as kit_lib
  trainer = kit_lib._trainer(config, domains, 'float32', None)
  captures = [v.handle for v in trainer.model.variables]
  values = [kit_lib._value(c) for c in captures]
  manifest = {}
  stored = kit_lib._state(captures, values, {}, 5, manifest)
  drawn = [e for e in manifest['state'] if 'normal' in e]
  assert drawn
  assert sum(v.nbytes for v in stored.values()) < 0.3 * sum(
      v.nbytes for v in values)
  for entry in drawn:
    value = values[manifest['state'].index(entry)]
    assert entry['normal']['stddev'] == pytest.approx(np.std(value), rel=1e-6)
    assert entry['normal']['seed'][0] == 5


@pytest.mark.parametrize('precisions', [(), ('float64',)])
def test_unknown_precisions_are_refused(precisions, tmp_path):
  config = config_lib.resolve('cpu')
  with pytest.raises(stablehlo.KitError, match='`precisions` must be of'):
    stablehlo.write(config, None, str(tmp_path / 'kit'), precisions)


def test_steps_that_differ_in_their_directions_are_refused(tmp_path):
  three = types.SimpleNamespace(domains=('a', 'b', 'c'))
  with pytest.raises(stablehlo.KitError, match="`directions` must be 'all'"):
    stablehlo.write(config_lib.resolve('cpu'), three, str(tmp_path / 'kit'))


def test_an_existing_directory_is_refused(tmp_path):
  config = config_lib.resolve('cpu')
  with pytest.raises(stablehlo.KitError, match='`output` must be a new'):
    stablehlo.write(config, None, str(tmp_path))


@pytest.mark.slow
def test_a_run_leaves_as_a_kit(tmp_path):
  run, kit = str(tmp_path / 'run'), str(tmp_path / 'kit')
  small = ['--steps=4', '--image_size=8', '--num_scales=1', '--width=4',
           '--critic_layers=1', '--critic_width=4', '--batch_size=4',
           f'--run_dir={run}']
  subprocess.run([sys.executable, '-m', 'alignflow_tf.train', '--noexport',
                  *small], check=True)
  done = subprocess.run(
      [sys.executable, '-m', 'alignflow_tf.export.stablehlo',
       f'--output={kit}', f'--run_dir={run}'],
      check=True, capture_output=True, text=True)
  assert 'run.py' in done.stdout
  made = programs.Kit(kit, 'float32')
  assert made.manifest['step'] == 4
  state = dict(zip((e['name'] for e in made.manifest['state']),
                   made.initial_state(), strict=True))
  steps = [v for k, v in state.items() if k.startswith('step')]
  assert [int(v) for v in steps] == [4]

"""Configuration, presets and flags."""

import dataclasses
import inspect
import json
import math

from absl import flags
import pytest

from alignflow_tf.train import config as config_lib
from alignflow_tf.train import flags as flags_lib
from alignflow_tf.train import runs


def test_paper_preset_is_appendix_b1():
  config = config_lib.resolve('paper')
  assert (config.num_scales, config.width, config.num_blocks) == (4, 32, 4)
  assert (config.learning_rate, config.beta_1, config.beta_2) == (
      2e-4, 0.5, 0.999)
  assert (config.batch_size, config.clip_norm, config.magnitude_l2) == (
      16, 10., 5e-5)
  assert config.decay_from == 0.5
  assert config.pool_size == 50
  assert config_lib.resolve('paper_facades').image_size == 128


@pytest.mark.parametrize('preset', sorted(config_lib.PRESETS))
def test_presets_survive_json(preset):
  config = config_lib.resolve(preset, domain=('a:/x', 'b:/y'), seed=3)
  again = config_lib.Config.from_json(json.loads(json.dumps(config.to_json())))
  assert again == config


def test_overrides_win_over_presets():
  assert config_lib.resolve('cpu', width=7).width == 7
  assert config_lib.resolve('cpu', width=None).width == 16


def test_the_preset_goes_by_the_dataset():
  assert config_lib.resolve().preset == 'cpu'
  assert config_lib.resolve(dataset='digits').preset == 'cpu'
  assert config_lib.resolve(dataset='svhn_mnist').preset == 'cpu_svhn'
  assert config_lib.resolve(dataset='maps').preset == 'cpu_pictures'
  assert config_lib.resolve(
      dataset='svhn_mnist', model='cyclegan').preset == 'cyclegan_cpu'
  assert config_lib.resolve('paper', dataset='digits').preset == 'paper'


def test_likelihood_weights():
  config = config_lib.resolve(lambda_a=1., lambda_b=2.)
  assert config.likelihood_weights(('x', 'y', 'z')) == {
      'x': 1., 'y': 2., 'z': 2.}
  config = config_lib.resolve(objective='adversarial')
  assert config.likelihood_weights(('x', 'y')) == {'x': 0., 'y': 0.}


@pytest.mark.parametrize(('overrides', 'message'), [
    (dict(cycle_weight=5.), '`cycle_weight` must be 0.0.*model=alignflow'),
    (dict(identity_weight=.5), '`identity_weight`.*model=alignflow'),
    (dict(model='cyclegan', range_weight=1.), '`range_weight`.*=cyclegan'),
    (dict(model='cyclegan', flow='glow'), '`flow`.*model=cyclegan'),
    (dict(model='cyclegan', lambda_a=1.), '`lambda_a`.*model=cyclegan'),
    (dict(model='cyclegan', magnitude_l2=1.), '`magnitude_l2`.*=cyclegan'),
    (dict(model='ot_cfm', framing=True), '`framing`.*model=ot_cfm'),
    (dict(model='cyclegan', objective='mle'), '`objective`.*=cyclegan'),
    (dict(objective='adversarial', lambda_b=1.), '`lambda_b`.*=adversarial'),
])
def test_a_setting_that_does_nothing_is_refused(overrides, message):
  with pytest.raises(config_lib.ConfigError, match=message):
    config_lib.resolve(**overrides)


def test_a_setting_that_does_nothing_may_be_given_as_nothing():
  config = config_lib.resolve(model='cyclegan', range_weight=0., framing=False)
  assert config.objective == 'adversarial'
  config_lib.resolve(objective='adversarial', lambda_a=0.)


def test_the_preset_goes_by_the_model():
  assert config_lib.resolve(model='cyclegan').preset == 'cyclegan_digits'
  assert config_lib.resolve(
      model='cyclegan', dataset='maps').preset == 'cyclegan_cpu'


def test_another_models_preset_has_no_weights_of_its_own():
  config = config_lib.resolve('cpu', model='cyclegan')
  assert (config.cycle_weight, config.framing, config.width) == (10., False, 16)


BAD = [
    ('dataset', 3, 'a string'),
    ('data_dir', 3, 'a string'),
    ('domain', ['a:b'], 'a tuple of strings'),
    ('image_size', 7, 'between 8 and 4096'),
    ('image_size', 5000, 'between 8 and 4096'),
    ('image_size', 16.5, 'an integer'),
    ('image_size', (16, 7), 'between 8 and 4096'),
    ('image_size', (16, 16, 3), 'an integer or'),
    ('channels', 2, '1 or 3'),
    ('load_size', 3, 'between 8 and 4096'),
    ('fit', 'squash', 'one of crop, stretch, pad'),
    ('flip', 'no', 'True or False'),
    ('max_pixels', 0, 'a positive integer'),
    ('cache', 'disk', 'one of memory, file, none'),
    ('preset', 'gpu', 'one of paper'),
    ('flow', 'maf', 'one of real_nvp, glow'),
    ('num_scales', 0, 'a positive integer'),
    ('num_scales', True, 'an integer'),
    ('width', -1, 'a positive integer'),
    ('num_blocks', 0, 'a positive integer'),
    ('share', '1,2', "'none' or 'all': single scales are no longer shared"),
    ('share', 'some', "'none' or 'all'"),
    ('objective', 'vae', 'one of hybrid, adversarial, mle'),
    ('gan_loss', 'lsgan', 'one of cross_entropy'),
    ('lambda_a', -1., 'finite and not negative'),
    ('lambda_a', math.nan, 'finite and not negative'),
    ('lambda_b', math.inf, 'finite and not negative'),
    ('lambda_b', '1', 'a number'),
    ('steps', 0, 'a positive integer'),
    ('steps', 1.5, 'an integer'),
    ('batch_size', 0, 'a positive integer'),
    ('learning_rate', 0., 'above 0'),
    ('learning_rate', math.nan, 'above 0'),
    ('critic_learning_rate', 2., 'at most 1'),
    ('beta_1', 1., 'below 1'),
    ('beta_2', -0.1, 'at least 0'),
    ('decay_from', 1.1, 'between 0 and 1'),
    ('lambda_until', 1.1, 'between 0 and 1'),
    ('clip_norm', -1., 'finite and not negative'),
    ('magnitude_l2', math.inf, 'finite and not negative'),
    ('ema_decay', 1., 'below 1'),
    ('critic_steps', 0, 'a positive integer'),
    ('critic_width', 0, 'a positive integer'),
    ('critic_layers', 0, 'a positive integer'),
    ('pool_size', -1, 'a non-negative integer'),
    ('precision', 'float8', 'one of float32'),
    ('xla', 1, 'True or False'),
    ('deterministic', 'yes', 'True or False'),
    ('skip_unreadable', 0, 'True or False'),
    ('seed', -1, 'a non-negative integer'),
    ('seed', 2**31, 'below 2'),
    ('memory', 'recompute', 'one of standard, reversible'),
    ('log_every', 0, 'a positive integer'),
    ('eval_every', 0, 'a positive integer'),
    ('checkpoint_every', 0, 'a positive integer'),
    ('keep_checkpoints', 0, 'a positive integer'),
]


@pytest.mark.parametrize(('name', 'value', 'message'), BAD)
def test_bad_values_are_named(name, value, message):
  with pytest.raises(config_lib.ConfigError) as e:
    config_lib.resolve(**{name: value})
  assert f'`{name}`' in str(e.value)
  assert message in str(e.value)
  if name not in ('preset',):
    assert repr(value) in str(e.value)


def test_hybrid_needs_a_lambda():
  with pytest.raises(config_lib.ConfigError, match='objective=adversarial'):
    config_lib.resolve(objective='hybrid', lambda_a=0., lambda_b=0.)


def test_unknown_settings_are_refused():
  with pytest.raises(config_lib.ConfigError, match='`colour` is no setting'):
    config_lib.Config.from_json({'colour': 1})


def _parse(*arguments):
  values = flags.FlagValues()
  real, flags.FLAGS = flags.FLAGS, values
  try:
    for name in ('DEFINE_string', 'DEFINE_integer', 'DEFINE_float',
                 'DEFINE_bool', 'DEFINE_multi_string'):
      assert hasattr(flags, name)
    _define_into(values)
  finally:
    flags.FLAGS = real
  values(['train', *arguments])
  return values


def _define_into(values):
  """`flags_lib.define`, into other flag values than the process's own."""
  names = ('string', 'integer', 'float', 'bool', 'multi_string')
  originals = {n: getattr(flags, f'DEFINE_{n}') for n in names}
  try:
    for n, original in originals.items():
      setattr(flags, f'DEFINE_{n}', lambda *a, _o=original, **k: _o(
          *a, **k, flag_values=values))
    flags_lib.define()
  finally:
    for n, original in originals.items():
      setattr(flags, f'DEFINE_{n}', original)


def test_no_flag_is_the_embedded_default(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config, run_dir = flags_lib.resolve(_parse())
  assert config == config_lib.resolve('cpu', dataset='digits')
  assert run_dir == 'runs/digits'


def test_every_setting_has_a_flag_with_help():
  values = _parse()
  for field in dataclasses.fields(config_lib.Config):
    assert len(values[field.name].help) > 10
  assert values['steps'].help == (
      'Number of generator updates. (a positive integer)')


def test_help_lists_the_settings():
  # absl's --help shows the main module's flags; `__main__` adopts these.
  from alignflow_tf.train import __main__ as main_lib
  text = flags.FLAGS.get_help()
  for name in ('--dataset', '--lambda_a', '--run_dir', '--critic_steps'):
    assert name in text
  assert 'adopt_module_key_flags' in inspect.getsource(main_lib)


def test_another_preset_is_another_run(tmp_path):
  runs.Run.create(str(tmp_path), config_lib.resolve('cpu'), ('a', 'b'),
                  (16, 16, 1), {})
  config, _ = flags_lib.resolve(
      _parse(f'--run_dir={tmp_path}', '--preset=paper'))
  assert runs.Run(str(tmp_path)).differences(config) == {
      'preset': ('cpu', 'paper')}


def test_flags_are_accepted_back(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config, _ = flags_lib.resolve(_parse(
      '--preset=paper', '--dataset=svhn_mnist', '--lambda_a=0.5', '--xla',
      '--critic_steps=2', '--seed=4', '--share=all'))
  path = tmp_path / 'flags.txt'
  path.write_text(config.flag_lines())
  again, run_dir = flags_lib.resolve(_parse(f'--flagfile={path}'))
  assert again == config
  assert run_dir == 'runs/svhn_mnist'


def test_sizes_of_pictures_that_are_no_squares(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config, _ = flags_lib.resolve(_parse(
      '--dataset=maps', '--image_size=32x64', '--load_size=70'))
  assert (config.image_size, config.load_size) == ((32, 64), 70)
  assert config_lib.Config.from_json(
      json.loads(json.dumps(config.to_json()))) == config
  assert '--image_size=32x64\n' in config.flag_lines()
  for text, message in (('32x', 'HEIGHTxWIDTH'), ('64x4', 'between 8 and')):
    with pytest.raises(config_lib.ConfigError, match=message):
      flags_lib.resolve(_parse(f'--image_size={text}'))


def test_two_folders(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config, _ = flags_lib.resolve(_parse('--domain_a=/x', '--domain_b=/y'))
  assert config.dataset == 'folders'
  assert config.domain == ('a:/x', 'b:/y')
  config, _ = flags_lib.resolve(_parse(
      '--domain=cat:/x', '--domain=dog:/y', '--domain=cow:/z'))
  assert config.domain == ('cat:/x', 'dog:/y', 'cow:/z')
  config, _ = flags_lib.resolve(_parse('--domain_a=/x', '--domain=cow:/z'))
  assert config.domain == ('cow:/z', 'a:/x')


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--domain_a=/x'], 'two or more different domains, got a.'),
    (['--domain=nodir', '--domain=a:/x'], 'name:DIR'),
    (['--domain=my cat:/y', '--domain=a:/x'], "'my cat:/y'"),
    (['--domain=a:/x', '--domain=a:/y'], 'different domains, got a, a'),
    (['--domain=a:/x'], 'two or more'),
    (['--domain=a:/x', '--domain=b:/y', '--dataset=maps'], '`dataset=folders`'),
])
def test_contradicting_folders(arguments, message, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(config_lib.ConfigError, match=message):
    flags_lib.resolve(_parse(*arguments))


def test_a_run_goes_on_with_its_own_settings(tmp_path):
  config = config_lib.resolve('cpu', width=5, steps=9)
  runs.Run.create(str(tmp_path / 'run'), config, ('a', 'b'), (16, 16, 1), {})
  again, _ = flags_lib.resolve(_parse(f'--run_dir={tmp_path / "run"}'))
  assert again == config
  run = runs.Run(str(tmp_path / 'run'))
  other, _ = flags_lib.resolve(
      _parse(f'--run_dir={tmp_path / "run"}', '--width=6', '--log_every=7'))
  assert run.differences(other) == {'width': (5, 6)}


@pytest.mark.parametrize(('text', 'message'), [
    ('{', 'damaged'),
    ('{}', 'damaged'),
    ('{"format": 99}', 'format 99'),
    ('{"format": 1}', 'format 1, written by version 0.1.*train again'),
    ('{"format": 2, "config": {"colour": 1}}', 'colour'),
])
def test_damaged_runs(tmp_path, text, message):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(runs.RunError, match=message):
    runs.Run(str(tmp_path))


def test_no_run(tmp_path):
  with pytest.raises(runs.RunError, match='has no config.json'):
    runs.Run(str(tmp_path))

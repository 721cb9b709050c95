"""Settings of training and of adaptation, and flags."""

import dataclasses

from absl import flags
import pytest

from alignflow_tf.adapt import config as adapt_config
from alignflow_tf.adapt import methods as adapt_methods
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import flags as flags_lib
from tests.bad_input import bad

POSITIVE = [f.name for f in dataclasses.fields(config_lib.Config)
            if f.name in (
                'num_scales', 'width', 'num_blocks', 'steps', 'batch_size',
                'critic_steps', 'critic_width', 'critic_layers', 'log_every',
                'eval_every', 'checkpoint_every', 'keep_checkpoints',
                'max_pixels', 'skip_limit')]

CONFIG = [(name, value) for name in POSITIVE for value in bad.COUNTS] + [
    (name, value) for name in ('pool_size', 'seed')
    for value in (-1, 0.5, 'x', False)] + [
    ('seed', 2**31)] + [
    (name, value) for name in ('learning_rate', 'critic_learning_rate')
    for value in (0., -1e-3, 1.1, bad.NAN, bad.INF, '1e-3', True, None)] + [
    (name, value)
    for name in ('lambda_a', 'lambda_b', 'clip_norm', 'magnitude_l2',
                 'critic_noise', 'range_weight')
    for value in (-1., bad.NAN, bad.INF, -bad.INF, 'much', None)] + [
    (name, value) for name in ('beta_1', 'beta_2', 'ema_decay')
    for value in (1., -0.1, bad.NAN, '0.5')] + [
    (name, value) for name in ('decay_from', 'lambda_until')
    for value in (-0.1, 1.1, bad.NAN)] + [
    (name, value) for name in ('image_size', 'load_size')
    for value in (0, 7, 4097, 16., '32')] + [
    ('channels', 2), ('channels', '3'), ('channels', 0)] + [
    (name, value)
    for name in ('objective', 'gan_loss', 'precision', 'cache', 'flow',
                 'preset', 'fit', 'model', 'memory')
    for value in ('nothing', '', 3)] + [
    ('domain', 'a:/x'), ('domain', (1,)), ('share', 'some'), ('share', '9'),
    ('share', '0,x'),
    ('share', 1)] + [
    (name, value) for name in ('flip', 'xla', 'deterministic', 'download',
                               'label_by_folder', 'skip_unreadable')
    for value in (1, 'yes', None)] + [
    (name, value) for name in ('dataset', 'data_dir', 'cache_dir')
    for value in (3, b'x')]


@pytest.mark.parametrize(('name', 'value'), CONFIG)
def test_config(name, value):
  bad.fails(name, value, lambda: dataclasses.replace(
      config_lib.Config(), **{name: value}))


@pytest.mark.parametrize(('name', 'value', 'overrides'), [
    ('lambda_b', bad.Shown('0'), dict(lambda_a=0., lambda_b=0.)),
    ('lambda_until', 0.5, dict(objective='mle', lambda_until=0.5)),
    ('domain', 'a', dict(domain=('a',))),
    ('domain', 'a b:/x', dict(domain=('a b:/x',))),
    ('objective', 'hybrid', dict(model='cyclegan')),
    ('share', 'all', dict(
        model='cyclegan', objective='adversarial', share='all')),
    ('framing', True, dict(
        model='ot_cfm', objective='adversarial', framing=True)),
])
def test_config_that_contradicts_itself(name, value, overrides):
  bad.fails(name, value, lambda: dataclasses.replace(
      config_lib.Config(), **overrides))


FLAGS = [
    ('preset', bad.Shown("'quick'"), ['--preset=quick']),
    ('steps', bad.Shown('0'), ['--steps=0']),
    ('learning_rate', bad.Shown('nan'), ['--learning_rate=nan']),
    ('domain', bad.Shown('got a.'), ['--domain_a=x']),
    ('domain', bad.Shown('got a, a.'), ['--domain=a:x', '--domain_a=x']),
    ('domain', bad.Shown('got a.'), ['--domain=a:x']),
    ('domain', bad.Shown('got a, a.'), ['--domain=a:x', '--domain=a:y']),
    ('domain', bad.Shown("'digits'"),
     ['--dataset=digits', '--domain=a:x', '--domain=b:y']),
    ('domain', bad.Shown("'a'"), ['--domain=a', '--domain=b:y']),
]


@pytest.mark.parametrize(('name', 'value', 'arguments'), FLAGS)
def test_flags(name, value, arguments):
  before = set(flags.FLAGS)
  if 'domain_a' not in before:
    flags_lib.define()
  values = flags.FLAGS
  try:
    def call():
      values.unparse_flags()
      values(['program', *arguments])
      flags_lib.resolve(values)
    bad.fails(name, value, call)
  finally:
    for flag in set(flags.FLAGS) - before:
      delattr(flags.FLAGS, flag)


@pytest.mark.parametrize(('argument', 'text'), [
    ('--steps=many', 'flag --steps=many'),
    ('--learning_rate=fast', 'flag --learning_rate=fast'),
    ('--deterministic=perhaps', 'flag --deterministic=perhaps'),
    ('--lerning_rate=1', "Unknown command line flag 'lerning_rate'"),
])
def test_flags_that_do_not_parse(argument, text):
  values = flags.FlagValues()
  flags.DEFINE_integer('steps', None, '', flag_values=values)
  flags.DEFINE_float('learning_rate', None, '', flag_values=values)
  flags.DEFINE_bool('deterministic', None, '', flag_values=values)
  with pytest.raises(flags.Error, match=text):
    values(['program', argument])


ADAPT = [
    *[(name, v) for name in ('batch_size', 'classifier_steps', 'feature_steps',
                             'target_steps') for v in bad.COUNTS],
    *[('classifier_size', v) for v in (-1, 1.5, '3', True, None)],
    *[('translated_images', v) for v in (0, 1.5, '3', True)],
    *[(name, v) for name in ('image_size', 'channels')
      for v in (0, 7, 16., '32', True)],
    *[(name, v) for name in ('classifier_rate', 'feature_rate', 'target_rate')
      for v in (0., 1.1, bad.NAN, '1e-3', None)],
    *[(name, v)
      for name in ('semantic_weight', 'semantic_target_weight',
                   'semantic_noise', 'feature_source_weight',
                   'target_source_weight', 'target_information_weight',
                   'target_pseudo_weight',
                   'augment_scale', 'augment_shift')
      for v in (-1., bad.NAN, bad.INF, 'much', None)],
    *[(name, v) for name in ('feature_beta_1', 'feature_gate',
                             'feature_average', 'target_confidence',
                             'target_average')
      for v in (1., -0.1, bad.NAN, '0.5')],
    *[('network', v) for v in ('vgg', '', 3, None)],
    *[(name, v) for name in ('semantic_on_translations', 'class_priors')
      for v in (1, 'yes', None)],
    *[(name, v) for name in ('translator', 'alignflow', 'cyclegan')
      for v in ('steps=3', ('steps',), (3,))],
    *[('translator', (v,)) for v in (
        'image_size=16', 'channels=1', 'seed=3', 'model=cyclegan')],
    ('preset', 3),
]


@pytest.mark.parametrize(('name', 'value'), ADAPT)
def test_adapt_settings(name, value):
  shown = bad.Shown(value[0]) if isinstance(value, tuple) and isinstance(
      value[0], str) else value
  bad.fails(name, shown, lambda: adapt_config.Settings(**{name: value}))


ADAPT_CALLS = [
    ('method', 'alignflo', (['adda', 'alignflo'], [0], [])),
    ('method', [], ([], [0], [])),
    ('skip', 'critic', (['adda'], [0], ['critic'])),
    ('seeds', [], (['adda'], [], [])),
    ('seeds', [1, 1], (['adda'], [1, 1], [])),
    *[('seed', v, (['adda'], [0, v], [])) for v in (-1, 2**31, 1.5, 'x', True)],
]


@pytest.mark.parametrize(('name', 'value', 'arguments'), ADAPT_CALLS)
def test_adapt_calls(name, value, arguments):
  bad.fails(name, value, lambda: adapt_methods.check_call(*arguments))


def test_there_are_enough():
  # `POSITIVE` goes by the names of settings, which may change.
  assert len(POSITIVE) == 14
  assert len(CONFIG) >= 150

"""Bad input: the message names the argument and shows what it was given.

A line of a table is a name, the value that is wrong, and a call. All are tried
in an empty folder, which must stay empty.
"""

import dataclasses
import math
import os

from absl import flags
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from alignflow_tf import data
from alignflow_tf import evaluate
from alignflow_tf import inference
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf import sheets
from alignflow_tf.adapt import config as adapt_config
from alignflow_tf.adapt import methods as adapt_methods
from alignflow_tf.evaluate import probes
from alignflow_tf.export import export
from alignflow_tf.train import checkpoints
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import flags as flags_lib
from alignflow_tf.train import loop
from alignflow_tf.train import pool
from alignflow_tf.train import runs
from alignflow_tf.train import trainer as trainer_lib

NAN, INF = math.nan, math.inf
SHAPE = (16, 16, 1)
# What the library says it raises; anything else would be an accident.
DOCUMENTED = (ValueError, TypeError, KeyError)

# Wrong for a positive integer, whatever it counts.
COUNTS = (0, -1, 1.5, '3', True, None)
POSITIVE = [f.name for f in dataclasses.fields(config_lib.Config)
            if f.name in (
                'num_scales', 'width', 'num_blocks', 'steps', 'batch_size',
                'critic_steps', 'critic_width', 'critic_layers', 'log_every',
                'eval_every', 'checkpoint_every', 'keep_checkpoints',
                'max_pixels', 'skip_limit')]

CONFIG = [(name, value) for name in POSITIVE for value in COUNTS] + [
    (name, value) for name in ('pool_size', 'seed')
    for value in (-1, 0.5, 'x', False)] + [
    ('seed', 2**31)] + [
    (name, value) for name in ('learning_rate', 'critic_learning_rate')
    for value in (0., -1e-3, 1.1, NAN, INF, '1e-3', True, None)] + [
    (name, value)
    for name in ('lambda_a', 'lambda_b', 'clip_norm', 'magnitude_l2',
                 'critic_noise', 'range_weight')
    for value in (-1., NAN, INF, -INF, 'much', None)] + [
    (name, value) for name in ('beta_1', 'beta_2', 'ema_decay')
    for value in (1., -0.1, NAN, '0.5')] + [
    (name, value) for name in ('decay_from', 'lambda_until')
    for value in (-0.1, 1.1, NAN)] + [
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


@pytest.fixture(scope='module', autouse=True)
def _folder(tmp_path_factory):
  """An empty folder to be in, which stays empty."""
  before = os.getcwd()
  path = tmp_path_factory.mktemp('empty')
  os.chdir(path)
  yield path
  os.chdir(before)


@pytest.fixture(autouse=True)
def _nothing_left(_folder):
  yield
  assert not os.listdir(_folder)


def _fails(name, value, call):
  with pytest.raises(DOCUMENTED) as e:
    call()
  # What a KeyError shows is its argument's repr.
  text = str(e.value.args[0] if isinstance(e.value, KeyError) else e.value)
  assert f'`{name}' in text, text
  shown = value if isinstance(value, _Shown) else repr(value)
  assert shown in text, text


class _Shown(str):
  """What a message shows of a value that has no short repr."""


@pytest.mark.parametrize(('name', 'value'), CONFIG)
def test_config(name, value):
  _fails(name, value, lambda: dataclasses.replace(
      config_lib.Config(), **{name: value}))


@pytest.mark.parametrize(('name', 'value', 'overrides'), [
    ('lambda_b', _Shown('0'), dict(lambda_a=0., lambda_b=0.)),
    ('lambda_until', 0.5, dict(objective='mle', lambda_until=0.5)),
    ('domain', 'a', dict(domain=('a',))),
    ('domain', 'a b:/x', dict(domain=('a b:/x',))),
    ('objective', 'hybrid', dict(model='cyclegan')),
    ('share', 'all', dict(
        model='cyclegan', objective='adversarial', share='all')),
    ('framing', True, dict(
        model='cyclegan', objective='adversarial', framing=True)),
])
def test_config_that_contradicts_itself(name, value, overrides):
  _fails(name, value, lambda: dataclasses.replace(
      config_lib.Config(), **overrides))


FLAGS = [
    ('preset', _Shown("'quick'"), ['--preset=quick']),
    ('steps', _Shown('0'), ['--steps=0']),
    ('learning_rate', _Shown('nan'), ['--learning_rate=nan']),
    ('domain', _Shown('got a.'), ['--domain_a=x']),
    ('domain', _Shown('got a, a.'), ['--domain=a:x', '--domain_a=x']),
    ('domain', _Shown('got a.'), ['--domain=a:x']),
    ('domain', _Shown('got a, a.'), ['--domain=a:x', '--domain=a:y']),
    ('domain', _Shown("'digits'"),
     ['--dataset=digits', '--domain=a:x', '--domain=b:y']),
    ('domain', _Shown("'a'"), ['--domain=a', '--domain=b:y']),
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
    _fails(name, value, call)
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


def _network(channels):
  return networks.ConditionerResNet(channels, 4, 1)


B, tfb = af.bijectors, tfp.bijectors
CHECKER, CHANNEL = B.CheckerboardMask(), B.ChannelMask()
BIJECTORS = [
    *[('channels', v, lambda v=v, c=c: c(v)) for v in COUNTS
      for c in (B.ActNorm, B.InvertibleConv1x1)],
    *[('channels', v, lambda v=v: B.Coupling(v, CHECKER, _network))
      for v in COUNTS],
    ('seed', -1, lambda: B.InvertibleConv1x1(2, seed=-1)),
    ('seed', 'x', lambda: B.InvertibleConv1x1(2, seed='x')),
    ('mask', 'checker', lambda: B.Coupling(2, 'checker', _network)),
    ('mask', None, lambda: B.Coupling(2, None, _network)),
    ('channels', 3, lambda: B.Coupling(3, CHANNEL, _network)),
    *[('reverse', v, lambda v=v, c=c: c(reverse=v)) for v in (1, 'x', None)
      for c in (B.CheckerboardMask, B.ChannelMask)],
    *[('alpha', v, lambda v=v: B.ImagePreprocess(v))
      for v in (0., 0.5, -1., NAN, '0.1', None, 1)],
    *[('order', v, lambda v=v: B.Squeeze(v)) for v in ('rows', None, 0)],
    *[('inner', v, lambda v=v: B.FactorOut(v)) for v in (None, 'x', 3)],
    ('inner', _Shown('squeeze, which takes (2, 4, 4, 1) to (2, 2, 2, 4)'),
     lambda: B.FactorOut(B.Squeeze()).forward(tf.zeros([2, 4, 4, 2]))),
    ('inner', _Shown('3 dimensions to 1'), lambda: B.FactorOut(
        tfb.Reshape([4], [2, 2, 1]))),
    ('act_norm', _Shown('(2, 4, 4, 3)'),
     lambda: B.ActNorm(2).forward(tf.zeros([2, 4, 4, 3]))),
    ('coupling', _Shown('(2, 4, 4, 3)'), lambda: B.Coupling(
        2, CHECKER, _network).inverse(tf.zeros([2, 4, 4, 3]))),
    ('invertible_conv_1x1', _Shown('(2, 4, 4, 3)'),
     lambda: B.InvertibleConv1x1(2).forward(tf.zeros([2, 4, 4, 3]))),
    ('squeeze', _Shown('(2, 5, 4, 1)'),
     lambda: B.Squeeze().forward(tf.zeros([2, 5, 4, 1]))),
    ('squeeze', _Shown('(2, 2, 2, 3)'),
     lambda: B.Squeeze().inverse(tf.zeros([2, 2, 2, 3]))),
    ('factor_out', _Shown('(2, 4, 4, 3)'),
     lambda: B.FactorOut(B.ActNorm(1)).forward(tf.zeros([2, 4, 4, 3]))),
    ('images', _Shown('NaN'), lambda: B.initialize_from_data(
        B.ActNorm(1), tf.fill([2, 4, 4, 1], NAN))),
    ('images', _Shown('(4, 4, 1)'), lambda: B.initialize_from_data(
        B.ActNorm(1), tf.zeros([4, 4, 1]))),
    ('images', _Shown('(1, 2, 4, 4, 1)'), lambda: B.initialize_from_data(
        B.ActNorm(1), tf.zeros([1, 2, 4, 4, 1]))),
    ('image_chain', _Shown('(4, 1)'), lambda: B.ImageChain(
        [B.ActNorm(1)]).forward(tf.zeros([4, 1]))),
    ('images', _Shown('(0, 4, 4, 1)'), lambda: B.initialize_from_data(
        B.ActNorm(1), tf.zeros([0, 4, 4, 1]))),
]


@pytest.mark.parametrize(('name', 'value', 'call'), BIJECTORS)
def test_bijectors(name, value, call):
  _fails(name, value, call)


FLOWS = [
    *[(name, v, lambda name=name, v=v: af.flows.real_nvp(SHAPE, **{name: v}))
      for name in ('num_scales', 'channels', 'num_blocks') for v in COUNTS],
    *[('steps_per_scale', v,
       lambda v=v: af.flows.glow(SHAPE, steps_per_scale=v)) for v in COUNTS],
    *[('seed', v, lambda v=v: af.flows.real_nvp(SHAPE, seed=v))
      for v in (-1, 1.5, None)],
    *[('event_shape', v, lambda v=v: af.flows.real_nvp(v))
      for v in ((16, 16), (16, 16, 0), (30, 30, 1), (16, 16, -1), 32)],
    ('alpha', 0.7, lambda: af.flows.real_nvp(SHAPE, alpha=0.7)),
    ('num_scales', _Shown('num_scales=9'),
     lambda: af.flows.glow(SHAPE, num_scales=9)),
    *[('bins', v, lambda v=v: af.flows.spline(SHAPE, bins=v)) for v in COUNTS],
    *[('components', v, lambda v=v: af.flows.flowpp(SHAPE, components=v))
      for v in COUNTS],
    ('transform', 'affine',
     lambda: af.flows.real_nvp(SHAPE, transform='affine')),
    *[(name, v, lambda name=name, v=v: networks.patch_critic(
        SHAPE, **{name: v})) for name in ('filters', 'num_layers')
      for v in COUNTS],
    ('num_layers', _Shown('is 4'),
     lambda: networks.patch_critic(SHAPE, num_layers=4)),
    *[(name, v, lambda name=name, v=v: networks.ConditionerResNet(
        **({'output_channels': 2} | {name: v})))
      for name in ('output_channels', 'filters', 'num_blocks') for v in COUNTS],
    ('image_shape', _Shown('(8, 8, 1)'), lambda: networks.lenet((8, 8, 1))),
    *[('num_classes', v, lambda v=v, c=c: c(SHAPE, v)) for v in COUNTS
      for c in (networks.lenet, networks.dtn, networks.strided_classifier)],
    *[('filters', v, lambda v=v: networks.strided_classifier(SHAPE, filters=v))
      for v in COUNTS],
    *[(name, v, lambda name=name, v=v: networks.resnet_generator(
        SHAPE, **{name: v})) for name in ('filters', 'num_blocks')
      for v in COUNTS],
    *[('num_halvings', v, lambda v=v: networks.resnet_generator(
        SHAPE, num_halvings=v)) for v in (-1, 1.5, '3', True, None)],
    *[('size', v, lambda v=v: pool.ImagePool(v, SHAPE))
      for v in (-1, 0.5, 'x', None)],
    ('terms', _Shown('none'), lambda: objectives.total([], None)),
]


@pytest.mark.parametrize(('name', 'value', 'call'), FLOWS)
def test_flows_and_networks(name, value, call):
  _fails(name, value, call)


def _identity(shape):
  del shape
  return B.ImagePreprocess()


@pytest.fixture(scope='module')
def model():
  return af.AlignFlow(('a', 'b'), SHAPE, adapter=_identity)


GREY = np.full([2, *SHAPE], 0.5, np.float32)
MODEL = [
    *[('domains', v, lambda m, v=v: af.AlignFlow(v, SHAPE, adapter=_identity))
      for v in ('ab', (), ('a',), ('a', 'a'), ('a', ''), ('a', 3), 5)],
    *[('event_shape', v,
       lambda m, v=v: af.AlignFlow(('a', 'b'), v, adapter=_identity))
      for v in ((8, 8), (8, 8, 0), (None, 8, 1), 32)],
    ('adapter', _Shown("('a',)"),
     lambda m: af.AlignFlow(('a', 'b'), SHAPE, adapter={'a': B.Squeeze()})),
    ('adapter', _Shown("'x'"),
     lambda m: af.AlignFlow(('a', 'b'), SHAPE, adapter=lambda shape: 'x')),
    ('adapter', _Shown('(8, 8, 4)'),
     lambda m: af.AlignFlow(('a', 'b'), SHAPE, adapter=lambda _: B.Squeeze())),
    ('domain', 'c', lambda m: m['c']),
    ('domain', 'c', lambda m: m.flow('c')),
    ('source', 'c', lambda m: m.translator('c', 'a')),
    ('target', None, lambda m: m.translator('a', None)),
    ('domain', 'c', lambda m: m.bits_per_dim(GREY, 'c')),
    ('images', _Shown("('a',)"), lambda m: m.initialize({'a': GREY})),
    ("images['a']", _Shown('int64'),
     lambda m: m.initialize({'a': np.ones([2, *SHAPE], np.int64), 'b': GREY})),
    ("images['b']", _Shown('[2, 16, 16]'),
     lambda m: m.initialize({'a': GREY, 'b': GREY[..., 0]})),
    ("images['b']", _Shown('NaN'),
     lambda m: m.initialize({'a': GREY, 'b': GREY * NAN})),
    ("images['b']", _Shown('127.5'),
     lambda m: m.initialize({'a': GREY, 'b': 255 * GREY})),
    ("images['b']", _Shown('none'),
     lambda m: m.initialize({'a': GREY, 'b': GREY[:0]})),
    *[('num', v, lambda m, v=v: m.interpolate(GREY, GREY, 'a', v))
      for v in (1, 0, -2, 2.5, '3', None, True)],
    ('source', 'c', lambda m: m.interpolate(GREY, GREY, 'c')),
    ('x0', _Shown('[16, 16, 1]'),
     lambda m: m.interpolate(GREY[0], GREY, 'a')),
    ('x1', _Shown('[2, 8, 8, 1]'),
     lambda m: m.interpolate(GREY, GREY[:, ::2, ::2], 'a')),
    ('x0', _Shown('(1, 16, 16, 1)'),
     lambda m: m.interpolate(GREY[:1], GREY, 'a')),
    *[('width', v, lambda m, v=v: af.images.dequantize(
        np.zeros([1, *SHAPE], np.uint8), (0, 1), v)) for v in (0.5, -1., NAN)],
    ('images', _Shown('float32'),
     lambda m: af.images.dequantize(GREY, (0, 1))),
    ('images', _Shown('float32'), lambda m: af.images.from_uint8(GREY)),
    *[('batch_size', v, lambda m, v=v: inference.Evaluator(m, v))
      for v in COUNTS],
    ('images', _Shown('[2, 16, 16]'),
     lambda m: inference.Evaluator(m).translate(GREY[..., 0], 'a', 'b')),
    *[('images', _Shown(d), lambda m, d=d: inference.Evaluator(m).translate(
        GREY.astype(d), 'a', 'b')) for d in ('uint8', 'int64')],
    ('images', _Shown('[0, 16, 16, 1]'),
     lambda m: inference.Evaluator(m).round_trip(GREY[:0], 'a', 'b')),
    ('source', 'c', lambda m: inference.Evaluator(m).translate(GREY, 'c', 'b')),
    ('levels', _Shown('float32'),
     lambda m: inference.Evaluator(m).bits_per_dim(GREY, 'a')),
    ('scale', 0, lambda m: sheets.grid([GREY], scale=0)),
    ('gap', -1, lambda m: sheets.grid([GREY], gap=-1)),
    ('rows', [], lambda m: sheets.grid([])),
    ('labels', _Shown('[3]'), lambda m: probes.train_classifier(
        GREY, np.zeros([3], np.int64), 10)),
    *[('steps', v, lambda m, v=v: probes.train_classifier(
        GREY, np.zeros([2], np.int64), 10, steps=v)) for v in (0, -1, 1.5)],
]


@pytest.mark.parametrize(('name', 'value', 'call'), MODEL)
def test_model_images_and_metrics(name, value, call, model):
  _fails(name, value, lambda: call(model))


ADAPT = [
    *[(name, v) for name in ('batch_size', 'classifier_steps', 'feature_steps',
                             'target_steps') for v in COUNTS],
    *[('classifier_size', v) for v in (-1, 1.5, '3', True, None)],
    *[('translated_images', v) for v in (0, 1.5, '3', True)],
    *[(name, v) for name in ('image_size', 'channels')
      for v in (0, 7, 16., '32', True)],
    *[(name, v) for name in ('classifier_rate', 'feature_rate', 'target_rate')
      for v in (0., 1.1, NAN, '1e-3', None)],
    *[(name, v)
      for name in ('semantic_weight', 'semantic_target_weight',
                   'semantic_noise', 'feature_source_weight',
                   'target_source_weight', 'target_information_weight',
                   'target_pseudo_weight',
                   'augment_scale', 'augment_shift')
      for v in (-1., NAN, INF, 'much', None)],
    *[(name, v) for name in ('feature_beta_1', 'feature_gate',
                             'feature_average', 'target_confidence',
                             'target_average')
      for v in (1., -0.1, NAN, '0.5')],
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
  shown = _Shown(value[0]) if isinstance(value, tuple) and isinstance(
      value[0], str) else value
  _fails(name, shown, lambda: adapt_config.Settings(**{name: value}))


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
  _fails(name, value, lambda: adapt_methods.check_call(*arguments))


DATA = [
    ('dataset', 'svnh', {'name': 'svnh'}),
    ('dataset', None, {'name': None}),
    *[('image_size', v, {'image_size': v})
      for v in (0, 3, 5000, 'big', (8,), 8.5, True)],
    *[('channels', v, {'channels': v}) for v in (0, 2, '1', True)],
    *[('cache', v, {'cache': v}) for v in ('disk', None)],
    ('fit', 'squash', {'fit': 'squash'}),
    *[('max_pixels', v, {'max_pixels': v}) for v in (0, -1, 'x', None)],
    *[('seed', v, {'seed': v}) for v in (-1, 'x', 1.5, None)],
    ('flip', True, {'flip': True}),
    ('load_size', 32, {'load_size': 32}),
    ('label_by_folder', _Shown("'digits'"), {'label_by_folder': True}),
    ('data_dir', '/etc/hostname', {'data_dir': '/etc/hostname'}),
    ('domain_dirs', _Shown("'digits'"), {'domain_dirs': {'a': 'x'}}),
    ('domain_dirs', {}, {'name': 'folders'}),
    ('domain_dirs', '/no/such', {
        'name': 'folders', 'domain_dirs': {'a': '/no/such', 'b': '/'}}),
    ('domain_dirs', '1a', {
        'name': 'folders', 'domain_dirs': {'1a': '/no', 'b': '/'}}),
    ('domain_dirs', '/etc', {
        'name': 'folders', 'domain_dirs': {'a': '/etc', 'b': '/etc'}}),
    ('load_size', _Shown('(16, 16)'), {
        'name': 'folders', 'image_size': 32, 'load_size': 16}),
]


@pytest.mark.parametrize(('name', 'value', 'arguments'), DATA)
def test_data(name, value, arguments):
  _fails(name, value, lambda: data.load(**arguments))


@pytest.fixture(scope='module')
def digits():
  return data.load('digits')


SETS = [
    *[('batch_size', v, lambda d, v=v: d.train_batches(v)) for v in COUNTS],
    ('batch_size', _Shown('5000'), lambda d: d.train_batches(5000)),
    *[('start_step', v, lambda d, v=v: d.train_batches(4, start_step=v))
      for v in (-1, 'x', 0.5, None)],
    *[('seed', v, lambda d, v=v: d.train_batches(4, seed=v))
      for v in (-1, 'x', 0.5)],
    ('labels', 'c', lambda d: d.train_batches(4, labels=['c'])),
    ('domain', 'c', lambda d: d.batches('c', 'test', 4)),
    ('split', 'dev', lambda d: d.batches('mnist', 'dev', 4)),
    *[('limit', v, lambda d, v=v: d.arrays('mnist', 'test', v))
      for v in (0, -1, 1.5, 'x', True)],
    ('pairs', 'digits', lambda d: d.pairs('test', 4)),
]


@pytest.mark.parametrize(('name', 'value', 'call'), SETS)
def test_sets(name, value, call, digits):
  _fails(name, value, lambda: call(digits))


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  """A run with a checkpoint of an untrained model."""
  path = str(tmp_path_factory.mktemp('run'))
  config = config_lib.resolve('cpu', num_scales=1, width=2, num_blocks=1)
  run = runs.Run.create(path, config, ('optical', 'mnist'), SHAPE, {})
  average = trainer_lib.build_model(config, run.domains, SHAPE)
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
      for v in COUNTS],
    *[('version', v, lambda r, v=v: export.export_run(r, 'out', version=v))
      for v in (0, -1, 1.5, '1', True, 2**63)],
    ('runtimes', _Shown("['tpu']"),
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
  _fails(name, value, lambda: call(run_dir))


@pytest.mark.parametrize(('name', 'value', 'domains', 'spoil'), [
    ('domains', 'a b', ('a b', 'c'), False),
    ('domains', _Shown('a_to_b'), ('a', 'b', 'a_to_b'), False),
    ('model', _Shown('NaN'), ('a', 'b'), True),
])
def test_models_that_cannot_be_exported(name, value, domains, spoil):
  made = af.AlignFlow(domains, SHAPE, adapter=lambda shape: B.ActNorm(1))
  if spoil:
    made.variables[0].assign(made.variables[0] * NAN)
  _fails(name, value, lambda: export.export_model(made, 'out'))


def test_there_are_enough():
  tables = (CONFIG, FLAGS, BIJECTORS, FLOWS, MODEL, DATA, SETS, RUNS)
  assert sum(map(len, tables)) >= 150

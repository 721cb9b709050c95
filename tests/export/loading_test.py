"""Every signature of every export, where it will be used.

The C++ loader is TF Serving's; the session is that of TensorFlow 1; the command
line tool and a process without this package, TFP and Keras are what others use.
"""

import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from alignflow_tf import images as images_lib
from alignflow_tf import one_to_many
from tests import cpp_loader

SERVABLES = ('ink_to_chalk', 'chalk_to_ink', 'ink', 'chalk')
SIGNATURES = {
    'translator': {'serving_default', 'translate_encoded', 'round_trip',
                   'interpolate', 'encode', 'decode', 'draw'},
    'domain': {'serving_default', 'log_prob', 'encode', 'decode', 'sample',
               'interpolate'},
}
_BATCH = 3


def _domains(servable):
  """Domains of the images that a servable reads and gives."""
  source, _, target = servable.partition('_to_')
  return source, target or source


def _image(seed, batch=_BATCH):
  return np.random.RandomState(seed).uniform(
      -0.1, 1.1, (batch, 8, 8, 1)).astype(np.float32)


def _levels():
  return np.random.RandomState(5).randint(
      0, 256, (_BATCH, 8, 8, 1)).astype(np.uint8)


def _feeds(signature):
  """A valid request by name of a signature."""
  if signature == 'decode':
    return {'latent': np.random.RandomState(1).randn(
        _BATCH, 8, 8, 1).astype(np.float32)}
  if signature == 'sample':
    return {'seed': np.array([[0, 1], [2, 3], [0, 1]], np.int64),
            'temperature': np.array([1., 0.7, 0.5], np.float32)}
  if signature == 'draw':
    return {'image': _image(4),
            'seed': np.array([[0, 1], [2, 3], [0, 1]], np.int64)}
  if signature == 'interpolate':
    return {'image_0': _image(2), 'image_1': _image(3),
            'fraction': np.array(
                [[0., 0.3], [1., 0.5], [0.25, 0.75]], np.float32)}
  if signature == 'translate_encoded':
    return {'image_bytes': np.array(
        [tf.io.encode_png(x).numpy() for x in _levels()], object)}
  return {'image': _image(4)}


def _expected(model, servable, signature):
  """What the Python model answers."""
  source, target = _domains(servable)
  feeds = {k: v if v.dtype == object else tf.constant(v)
           for k, v in _feeds(signature).items()}
  if signature in ('serving_default', 'log_prob') and source == target:
    nats = model[source].log_prob(feeds['image'])
    return {'log_prob': nats,
            'bits_per_dim': model.bits_per_dim(feeds['image'], source)}
  if signature == 'serving_default':
    return {'image': model.translator(source, target).forward(feeds['image'])}
  if signature == 'translate_encoded':
    x = images_lib.from_uint8(_levels())
    y = images_lib.to_uint8(model.translator(source, target).forward(x))
    return {'image_bytes': y}
  if signature == 'round_trip':
    y = model.translator(source, target).forward(feeds['image'])
    return {'translated': y, 'image': feeds['image'],
            'error': tf.zeros([_BATCH])}
  if signature == 'encode':
    return {'latent': model.flow(source).inverse(feeds['image'])}
  if signature == 'draw':
    drawn = tf.stack([tf.random.stateless_normal([8, 8, 1], s, alg='philox')
                      for s in feeds['seed']])
    z = one_to_many.redraw(
        model.flow(source).inverse(feeds['image']), drawn, every=2)
    return {'image': model.flow(target).forward(z)}
  if signature == 'decode':
    return {'image': model.flow(target).forward(feeds['latent'])}
  if signature == 'sample':
    z = tf.stack([
        t * tf.random.stateless_normal([8, 8, 1], s, alg='philox')
        for s, t in zip(feeds['seed'], feeds['temperature'], strict=True)])
    return {'latent': z, 'image': model.flow(source).forward(z)}
  assert signature == 'interpolate'
  phi = np.pi / 2. * (1. - feeds['fraction'].numpy())[..., None, None, None]
  z0, z1 = (model.flow(source).inverse(feeds[k])[:, None]
            for k in ('image_0', 'image_1'))
  z = tf.reshape(np.sin(phi) * z0 + np.cos(phi) * z1, [-1, 8, 8, 1])
  frames = {d: tf.reshape(model.flow(d).forward(z), [_BATCH, 2, 8, 8, 1])
            for d in {source, target}}
  if source == target:
    return {'image': frames[source]}
  return {'source': frames[source], 'target': frames[target]}


@pytest.fixture(scope='module', name='expected')
def _expected_fixture(exported):
  return functools.cache(
      lambda servable, name: _expected(exported.model, servable, name))


def _quick(servable):
  """All servables, all but one of them in slow tests alone."""
  return [s if s == servable else pytest.param(s, marks=pytest.mark.slow)
          for s in SERVABLES]


def _check(answer, expected):
  assert set(answer) == set(expected)
  for name, value in expected.items():
    got = answer[name]
    if name == 'image_bytes':
      got = np.stack([tf.io.decode_png(b).numpy() for b in got])
      # A float rounded otherwise may fall into the next level.
      assert np.abs(got.astype(int) - value.numpy().astype(int)).max() <= 1
    elif 'log_prob' == name:
      # Hundreds of nats: 1e-5 of them.
      np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-4)
    else:
      np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope='module', name='cpp')
def _cpp(exported):
  models = {name: cpp_loader.load(path)
            for name, path in exported.paths.items()}
  yield models
  for model in models.values():
    model.close()


def _kind(servable):
  return 'translator' if '_to_' in servable else 'domain'


_EVERY = [(s, name) for s in SERVABLES
          for name in sorted(SIGNATURES[_kind(s)])]


@pytest.mark.parametrize('servable', SERVABLES)
def test_signatures_are_complete_named_and_batched(cpp, servable):
  signatures = cpp[servable].signatures
  assert set(signatures) == SIGNATURES[_kind(servable)]
  for name, signature in signatures.items():
    assert set(signature.inputs) == set(_feeds(name))
    for info in (*signature.inputs.values(), *signature.outputs.values()):
      assert info.shape[0] is None, (name, info)


@pytest.mark.parametrize(('servable', 'signature'), _EVERY)
def test_cpp_loader_answers_as_the_model_does(
    cpp, expected, servable, signature):
  answer = cpp[servable].run(_feeds(signature), signature)
  _check(answer, expected(servable, signature))


@pytest.mark.parametrize(('servable', 'signature'), _EVERY)
def test_a_request_of_no_rows_gets_an_answer_of_no_rows(
    cpp, servable, signature):
  feeds = {name: value[:0] for name, value in _feeds(signature).items()}
  answer = cpp[servable].run(feeds, signature)
  whole = cpp[servable].run(_feeds(signature), signature)
  assert {k: v.shape for k, v in answer.items()} == {
      k: (0, *v.shape[1:]) for k, v in whole.items()}


@pytest.mark.parametrize('servable', _quick('ink_to_chalk'))
def test_session_answers_as_the_model_does(exported, expected, servable):
  requests = {name: _feeds(name) for name in SIGNATURES[_kind(servable)]}
  # The graph as it stands: the C++ session above runs the optimized one.
  config = tf.compat.v1.ConfigProto()
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
    signatures = tf.compat.v1.saved_model.loader.load(
        session, ['serve'], exported.paths[servable]).signature_def
    answers = session.run(
        {name: {k: v.name for k, v in signatures[name].outputs.items()}
         for name in requests},
        {signatures[name].inputs[k].name: v
         for name, feeds in requests.items() for k, v in feeds.items()})
  for name, answer in answers.items():
    _check(answer, expected(servable, name))


# Keras is blocked after TensorFlow, which itself needs it, has been imported.
_BLOCKED = """
import importlib.abc, json, os, sys
import numpy as np
import tensorflow as tf

blocked = ('alignflow_tf', 'keras', 'tf_keras', 'tensorflow_probability')

class Block(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] in blocked:
      raise ImportError(name + ' is blocked')

for name in [n for n in sys.modules if n.split('.')[0] in blocked]:
  del sys.modules[name]
sys.meta_path.insert(0, Block())
tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
feeds = np.load(sys.argv[2], allow_pickle=True)['feeds'].item()
answers = {}
for path in sys.argv[3:]:
  model = tf.saved_model.load(path)
  for name, function in model.signatures.items():
    answers[path, name] = {
        k: v.numpy() for k, v in function(
            **{k: tf.constant(v) for k, v in feeds[name].items()}).items()}
np.savez(sys.argv[1], answers=answers)
"""


def test_loads_without_this_package_tfp_and_keras(
    exported, expected, tmp_path):
  # One of each kind: the other two have the same signatures.
  servables = ('ink_to_chalk', 'ink')
  names = set().union(*SIGNATURES.values())
  feeds = {
      n: {k: v.tolist() if v.dtype == object else v
          for k, v in _feeds(n).items()} for n in names}
  np.savez(tmp_path / 'feeds.npz', feeds=np.array(feeds, object))
  done = subprocess.run(
      [sys.executable, '-c', _BLOCKED, tmp_path / 'answers.npz',
       tmp_path / 'feeds.npz', *(exported.paths[s] for s in servables)],
      capture_output=True, text=True, check=False, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  answers = np.load(
      tmp_path / 'answers.npz', allow_pickle=True)['answers'].item()
  assert len(answers) == sum(len(s) for s in SIGNATURES.values())
  for servable in servables:
    for signature in SIGNATURES[_kind(servable)]:
      _check(answers[exported.paths[servable], signature],
             expected(servable, signature))


# The tool in one process for all its commands, since a start takes seconds.
_COMMANDS = """
import json, sys
from tensorflow.python.tools import saved_model_cli

for command in json.loads(sys.argv[1]):
  sys.argv = ['saved_model_cli', *command]
  saved_model_cli.create_parser().parse_args(command).func()
"""


# The tool loads the model for each of its commands: half a minute. Its session
# is that of `test_session_answers_as_the_model_does`.
@pytest.mark.slow
@pytest.mark.parametrize('servable', ['ink_to_chalk', 'ink'])
def test_saved_model_cli_shows_and_runs_every_signature(
    exported, expected, tmp_path, servable):
  path = exported.paths[servable]
  commands = [['show', '--dir', path, '--all']]
  for name in sorted(SIGNATURES[_kind(servable)]):
    inputs = []
    for key, value in _feeds(name).items():
      if value.dtype == object:  # The tool does not load pickles.
        # NumPy's fixed-size strings lose zeros at the end, which PNGs have not.
        value = value.astype('S')
      np.save(tmp_path / f'{name}_{key}.npy', value)
      inputs.append(f'{key}={tmp_path}/{name}_{key}.npy')
    commands.append([
        'run', '--dir', path, '--tag_set', 'serve', '--signature_def', name,
        '--inputs', ';'.join(inputs), '--outdir', f'{tmp_path}/{name}'])
  done = subprocess.run(
      [sys.executable, '-c', _COMMANDS, json.dumps(commands)],
      capture_output=True, text=True, check=False, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  for name in SIGNATURES[_kind(servable)]:
    assert f"signature_def['{name}']" in done.stdout
    answer = {f.removesuffix('.npy'): np.load(tmp_path / name / f,
                                              allow_pickle=True)
              for f in os.listdir(tmp_path / name)}
    _check(answer, expected(servable, name))


def _operations(path):
  """Operations of the main graph and the library, by function name."""
  with open(os.path.join(path, 'saved_model.pb'), 'rb') as f:
    saved = saved_model_pb2.SavedModel.FromString(f.read())
  meta = saved.meta_graphs[0]
  graphs = {'': list(meta.graph_def.node)}
  for function in meta.graph_def.library.function:
    graphs[function.signature.name] = list(function.node_def)
  return meta, graphs


def _calls(node):
  for value in node.attr.values():
    for function in (value.func, *value.list.func):
      if function.name:
        yield function.name


def _count(graphs, name, op):
  """Operations of a type in a function and all that it calls."""
  return sum((node.op == op) + sum(_count(graphs, f, op) for f in _calls(node))
             for node in graphs[name])


@pytest.mark.parametrize('servable', SERVABLES)
def test_no_python_and_no_foreign_objects(exported, servable):
  meta, graphs = _operations(exported.paths[servable])
  ops = {node.op for nodes in graphs.values() for node in nodes}
  assert not {op for op in ops if 'Py' in op}
  nodes = meta.object_graph_def.nodes
  kinds = {node.user_object.identifier for node in nodes} - {''}
  assert kinds <= {'_generic_user_object', 'signature_map',
                   'trackable_list_wrapper'}
  # A variable has one handle: with two, a server restores only one of them.
  handles = [n for n in graphs[''] if n.op == 'VarHandleOp']
  names = [n.attr['shared_name'].s for n in handles]
  variables = [n for n in nodes if n.HasField('variable')]
  assert len(set(names)) == len(names) == len(variables)


def test_round_trip_holds_its_inverse_convolutions(exported):
  meta, graphs = _operations(exported.paths['ink_to_chalk'])
  counts = {}
  for name, signature in meta.signature_def.items():
    if name in ('serving_default', 'round_trip'):
      call = next(iter(signature.outputs.values())).name.partition(':')[0]
      node = next(n for n in graphs[''] if n.name == call)
      counts[name] = sum(_count(graphs, f, 'Conv2D') for f in _calls(node))
  assert counts['serving_default'] > 0
  assert counts['round_trip'] == 2 * counts['serving_default']


def test_no_norm_of_a_kernel_is_computed(exported):
  graphs = _operations(exported.paths['ink_to_chalk'])[1]
  operations = [node.op for nodes in graphs.values() for node in nodes]
  # Weight norm is folded into the kernels; nothing else squares.
  assert 'Square' not in operations
  assert 'Rsqrt' not in operations
  assert 'Conv2D' in operations


def test_the_way_back_through_the_other_export(cpp):
  x = _image(7)
  y = cpp['ink_to_chalk'].run({'image': x})['image']
  assert np.abs(y - x).max() > 0.05  # It does translate.
  back = cpp['chalk_to_ink'].run({'image': y})['image']
  np.testing.assert_allclose(back, x, atol=1e-5)
  trip = cpp['ink_to_chalk'].run({'image': x}, 'round_trip')
  assert 0 < trip['error'].max() < 1e-5


def test_a_row_is_the_same_alone_and_in_a_batch(cpp):
  # One of each kind: the other two have the same signatures.
  for servable, signature in _EVERY:
    if servable not in ('ink_to_chalk', 'ink'):
      continue
    feeds = _feeds(signature)
    whole = cpp[servable].run(feeds, signature)
    for row in range(_BATCH):
      alone = cpp[servable].run(
          {k: v[row:row + 1] for k, v in feeds.items()}, signature)
      for name, value in alone.items():
        if value.dtype != object:
          np.testing.assert_allclose(
              value[0], whole[name][row], rtol=1e-5, atol=1e-5)


def test_equal_seeds_give_paired_samples(cpp):
  feeds = _feeds('sample')
  ink, chalk = (cpp[d].run(feeds, 'sample') for d in ('ink', 'chalk'))
  np.testing.assert_array_equal(ink['latent'], chalk['latent'])
  translated = cpp['ink_to_chalk'].run({'image': ink['image']})['image']
  np.testing.assert_allclose(translated, chalk['image'], atol=1e-4)


def test_ends_of_an_interpolation_are_the_images(cpp):
  feeds = dict(_feeds('interpolate'), fraction=np.array([[0., 1.]] * _BATCH))
  feeds['fraction'] = feeds['fraction'].astype(np.float32)
  frames = cpp['ink'].run(feeds, 'interpolate')['image']
  np.testing.assert_allclose(frames[:, 0], feeds['image_0'], atol=1e-5)
  np.testing.assert_allclose(frames[:, 1], feeds['image_1'], atol=1e-5)

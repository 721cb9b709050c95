"""Tests of the C++ loader that the export tests rely on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import cpp_loader


class _Module(tf.Module):

  def __init__(self):
    super().__init__()
    self.scale = tf.Variable(3.)

  @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, 'x')])
  def multiply(self, x):
    tf.debugging.assert_less(x, 100., 'too large')
    return {'y': x * self.scale, 'count': tf.shape(x)[0]}

  @tf.function(input_signature=[
      tf.TensorSpec([None], tf.string, 'text'),
      tf.TensorSpec([], tf.string, 'suffix')])
  def join(self, text, suffix):
    return {'joined': text + suffix, 'length': tf.strings.length(text)}


@pytest.fixture(name='model', scope='module')
def _model(tmp_path_factory):
  path = tmp_path_factory.mktemp('export')
  module = _Module()
  tf.saved_model.save(module, path, signatures={
      'serving_default': module.multiply, 'join': module.join})
  with cpp_loader.load(path) as model:
    yield model


def test_lists_signatures(model):
  assert set(model.signatures) == {'serving_default', 'join'}
  info = model.signatures['serving_default'].inputs['x']
  assert (info.dtype, info.shape) == (tf.float32, (None, 2))


@pytest.mark.parametrize('batch', [0, 1, 3])
def test_runs_numbers_of_any_batch(model, batch):
  x = np.arange(2 * batch, dtype=np.float32).reshape(batch, 2)
  outputs = model.run({'x': x})
  np.testing.assert_array_equal(outputs['y'], 3 * x)
  assert outputs['count'] == batch
  assert outputs['count'].dtype == np.int32


def test_runs_non_contiguous_arrays_and_lists(model):
  x = np.arange(6, dtype=np.float32).reshape(2, 3).T
  np.testing.assert_array_equal(model.run({'x': x})['y'], 3 * x)
  np.testing.assert_array_equal(model.run({'x': [[1, 2]]})['y'], [[3, 6]])


def test_runs_strings(model):
  long = b'\x00' + b'long' * 100
  outputs = model.run({'text': ['a', long, b''], 'suffix': b'!'}, 'join')
  assert outputs['joined'].tolist() == [b'a!', long + b'!', b'!']
  assert outputs['length'].tolist() == [1, 401, 0]


def test_computes_only_the_outputs_asked_for(model):
  assert list(model.run({'x': [[1, 2]]}, outputs=['count'])) == ['count']


@pytest.mark.parametrize(('feeds', 'signature', 'code', 'pattern'), [
    ({'x': [[1, 2]]}, 'other', 'NOT_FOUND', "No signature 'other'"),
    ({'y': [[1, 2]]}, 'serving_default', 'INVALID_ARGUMENT', r"\['x'\].*'y'"),
    ({'x': np.zeros([1, 2])}, 'serving_default', 'INVALID_ARGUMENT', 'double'),
    ({'x': [[1, 200]]}, 'serving_default', 'INVALID_ARGUMENT', 'too large'),
    ({'text': [1], 'suffix': ''}, 'join', 'INVALID_ARGUMENT', 'takes strings'),
])
def test_raises_the_runtimes_code_and_message(
    model, feeds, signature, code, pattern):
  with pytest.raises(cpp_loader.CppLoaderError, match=pattern) as info:
    model.run(feeds, signature)
  assert info.value.code == code


def test_raises_on_a_folder_without_a_model(tmp_path):
  with pytest.raises(cpp_loader.CppLoaderError, match='SavedModel') as info:
    cpp_loader.load(tmp_path)
  assert info.value.code == 'NOT_FOUND'


def test_raises_on_a_closed_model(tmp_path):
  module = _Module()
  tf.saved_model.save(
      module, tmp_path, signatures={'serving_default': module.multiply})
  model = cpp_loader.load(tmp_path)
  model.close()
  model.close()
  with pytest.raises(cpp_loader.CppLoaderError, match='closed'):
    model.run({'x': [[1, 2]]})


def test_sees_the_keras_failure_that_python_hides(tmp_path):
  """Why this loader exists: Keras 3 variables tracked through a module."""

  class Holder(tf.Module):

    def __init__(self):
      super().__init__()
      self.net = keras.layers.Dense(2)
      self.net.build((None, 2))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, 'x')])
    def __call__(self, x):
      return {'y': self.net(x)}

  holder = Holder()
  tf.saved_model.save(
      holder, tmp_path, signatures={'serving_default': holder.__call__})
  x = tf.ones([1, 2])
  signature = tf.saved_model.load(tmp_path).signatures['serving_default']
  np.testing.assert_allclose(signature(x=x)['y'], holder(x)['y'])
  with cpp_loader.load(tmp_path) as model:
    with pytest.raises(cpp_loader.CppLoaderError, match='variable'):
      model.run({'x': x})

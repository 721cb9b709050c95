"""Translators for LiteRT and ONNX."""

import contextlib
import functools
import re

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import flows
from alignflow_tf import model as model_lib
from alignflow_tf import networks
from alignflow_tf.export import convert
from alignflow_tf.export import export


def _translate(exported, images):
  return exported.model.translator('ink', 'chalk').forward(tf.constant(images))


def _images(batch):
  return np.random.RandomState(1).uniform(
      size=(batch, 8, 8, 1)).astype(np.float32)


@pytest.mark.filterwarnings('ignore:.*tf.lite.Interpreter is deprecated')
def test_litert_computes_the_same(exported):
  content, line = convert.convert(exported.model, 'ink', 'chalk', 'litert')
  assert 'MB, differs by' in line
  interpreter = tf.lite.Interpreter(model_content=content)
  for batch in (1, 4):
    x = _images(batch)
    index = interpreter.get_input_details()[0]['index']
    interpreter.resize_tensor_input(index, x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, x)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]['index'])
    np.testing.assert_allclose(got, _translate(exported, x), atol=1e-4)


# tf2onnx calls parts of TensorFlow and NumPy that are on their way out.
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_onnx_computes_the_same(exported):
  pytest.importorskip('tf2onnx', reason='needs tf2onnx')
  onnxruntime = pytest.importorskip('onnxruntime', reason='needs onnxruntime')
  content, _ = convert.convert(exported.model, 'ink', 'chalk', 'onnx')
  session = onnxruntime.InferenceSession(content)
  for batch in (1, 4):
    x = _images(batch)
    got = session.run(None, {session.get_inputs()[0].name: x})[0]
    np.testing.assert_allclose(got, _translate(exported, x), atol=1e-4)


def test_a_conversion_that_computes_otherwise_is_refused(
    exported, monkeypatch):
  monkeypatch.setitem(
      convert.RUNTIMES, 'litert',
      ('tflite', lambda frozen, model: (b'', lambda images: images + 1.)))
  with pytest.raises(convert.ConvertError, match='differs from the model'):
    convert.convert(exported.model, 'ink', 'chalk', 'litert')


def test_kernels_that_are_folded_wrongly_are_noticed(exported, monkeypatch):
  """The model that a conversion is compared with is not the folded one."""
  right = networks.fold_weight_norm

  @contextlib.contextmanager
  def wrong(model):
    with right(model):
      kernel = next(iter(networks.conditioners(model))).weight_list[0]
      kernel.assign(1.5 * kernel)
      yield

  monkeypatch.setitem(
      convert.RUNTIMES, 'litert', ('tflite', lambda frozen, model: (
          b'', lambda images: frozen(tf.constant(images))[0].numpy())))
  convert.convert(exported.model, 'ink', 'chalk', 'litert')
  monkeypatch.setattr(networks, 'fold_weight_norm', wrong)
  with pytest.raises(convert.ConvertError, match='differs from the model'):
    convert.convert(exported.model, 'ink', 'chalk', 'litert')


def test_unknown_runtimes_are_refused(exported, tmp_path):
  with pytest.raises(export.ExportError, match='`runtimes`'):
    export.export_model(exported.model, str(tmp_path), runtimes=['tpu'])


@pytest.fixture(scope='module')
def double():
  return model_lib.AlignFlow(
      ('ink', 'chalk'), (8, 8, 1), dtype=tf.float64,
      adapter=functools.partial(
          flows.FLOWS['short'], num_scales=1, dtype=tf.float64))


def test_a_float64_model_is_exported(double, tmp_path):
  x = _images(2)
  double.initialize({'ink': x, 'chalk': x})
  paths = export.export_model(double, str(tmp_path))
  served = tf.saved_model.load(paths[0]).signatures['serving_default']
  np.testing.assert_allclose(
      served(image=tf.constant(x))['image'],
      double.translator('ink', 'chalk').forward(tf.constant(x, tf.float64)),
      atol=1e-6)


def test_a_conversion_compares_a_float64_model_in_its_own_type(
    double, monkeypatch):
  monkeypatch.setitem(
      convert.RUNTIMES, 'litert', ('tflite', lambda frozen, model: (
          b'', lambda images: frozen(tf.constant(images))[0].numpy())))
  content, report = convert.convert(double, 'ink', 'chalk', 'litert')
  assert not content
  error = float(re.search(r'differs by (\S+),', report)[1])
  assert error < 1e-6


def test_what_a_converter_raises_becomes_the_documented_error(
    exported, monkeypatch):

  def fail(frozen, model):
    raise RuntimeError('no such operation\nand many more lines')

  monkeypatch.setitem(convert.RUNTIMES, 'litert', ('tflite', fail))
  with pytest.raises(
      convert.ConvertError,
      match='`litert` cannot hold ink_to_chalk, of type float32: no such op'):
    convert.convert(exported.model, 'ink', 'chalk', 'litert')

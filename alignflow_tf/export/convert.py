"""Translators for other runtimes: LiteRT (TensorFlow Lite) and ONNX.

Both hold one function, `image -> image`, float32 `[B, H, W, C]`. It has no
checks of requests, unlike a server's graph.
"""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any
import warnings

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from alignflow_tf import _errors
from alignflow_tf import _io
from alignflow_tf import model as model_lib
from alignflow_tf import networks

# Largest difference from the model, in units of [0, 1].
TOLERANCE = 1e-4
_OPSET = 17
_CALLS = 30


class ConvertError(_errors.UserError, RuntimeError):
  """A conversion that failed, or whose result differs from the model."""


def convert(model: model_lib.Translates, source: str, target: str,
            runtime: str) -> tuple[bytes, str]:
  """Converts a translator, and compares the result with the model.

  Args:
    model: The model.
    source: Domain of the images that come in.
    target: Domain of the images that go out.
    runtime: A name of `RUNTIMES`.

  Returns:
    The content of a file, and a line on its size, difference and latency.

  Raises:
    ConvertError: If a package is missing, the runtime has not all operations of
      the model (as LiteRT for a float64 one), or the answers differ by more
      than `TOLERANCE`.
  """
  translator = model.translator(source, target)
  spec = tf.TensorSpec([None, *model.event_shape], tf.float32, 'image')

  def translate(image: tf.Tensor) -> tf.Tensor:
    translated = translator.forward(tf.cast(image, model.dtype))
    return tf.identity(tf.cast(translated, tf.float32), 'translated')

  # Freezing makes all weights constants and inlines all calls. The couplings
  # share one traced function, for which LiteRT's own freezing confuses weights.
  with networks.fold_weight_norm(model):
    traced = tf.function(
        translate, input_signature=[spec], autograph=False
    ).get_concrete_function()
    frozen = convert_to_constants.convert_variables_to_constants_v2(traced)
  try:
    content, run = RUNTIMES[runtime][1](frozen, model)
  except ConvertError:
    raise
  except Exception as e:  # Converters raise errors of their own types.
    raise ConvertError(
        f'`{runtime}` cannot hold {source}_to_{target}, of type '
        f'{model.dtype.name}: {_io.first_line(e)}') from e
  images = np.random.RandomState(0).uniform(
      size=(3, *model.event_shape)).astype(np.float32)
  expected = translator.forward(tf.constant(images, model.dtype)).numpy()
  error = float(np.abs(run(images) - expected).max())
  if not error <= TOLERANCE:
    raise ConvertError(
        f'`{runtime}`: {source}_to_{target} differs from the model by '
        f'{error:.1e}, more than {TOLERANCE:.0e}.')
  times = []
  for _ in range(_CALLS):
    begin = time.perf_counter()
    run(images[:1])
    times.append(time.perf_counter() - begin)
  return content, (
      f'{len(content) / 2**20:.1f} MB, differs by {error:.1e}, '
      f'{1e3 * float(np.median(times)):.2f} ms an image')


Run = Callable[[np.ndarray], np.ndarray]


def _litert(frozen: Any, model: tf.Module) -> tuple[bytes, Run]:
  content = tf.lite.TFLiteConverter.from_concrete_functions(
      [frozen], model).convert()
  with warnings.catch_warnings():
    # The interpreter moves to another package, which is not needed to check.
    warnings.simplefilter('ignore')
    interpreter = tf.lite.Interpreter(model_content=content)
  source = interpreter.get_input_details()[0]['index']
  target = interpreter.get_output_details()[0]['index']

  def run(images: np.ndarray) -> np.ndarray:
    interpreter.resize_tensor_input(source, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source, images)
    interpreter.invoke()
    return interpreter.get_tensor(target)

  return content, run


def _onnx(frozen: Any, model: tf.Module) -> tuple[bytes, Run]:
  del model
  try:
    import onnxruntime  # pylint: disable=import-outside-toplevel
    import tf2onnx  # pylint: disable=import-outside-toplevel
  except ImportError as e:
    raise ConvertError(
        f'`onnx` needs packages that are not installed ({e}): see BUILD.md.'
    ) from e
  proto, _ = tf2onnx.convert.from_graph_def(
      _without_log1p(frozen.graph.as_graph_def()), opset=_OPSET,
      input_names=[frozen.inputs[0].name],
      output_names=[frozen.outputs[0].name])
  content = proto.SerializeToString()
  session = onnxruntime.InferenceSession(content)
  name = session.get_inputs()[0].name
  return content, lambda images: session.run(None, {name: images})[0]


def _without_log1p(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
  """Replaces log1p(x), which ONNX lacks, by log(1 + x).

  `ImagePreprocess` takes it of -p, with p in [alpha, 1 - alpha], where both are
  equal to rounding.
  """
  result = tf.compat.v1.GraphDef()
  result.CopyFrom(graph)
  for node in list(result.node):
    if node.op == 'Log1p':
      one = result.node.add(op='Const', name=f'{node.name}/one')
      one.attr['dtype'].CopyFrom(node.attr['T'])
      one.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(
          1, tf.as_dtype(node.attr['T'].type)))
      add = result.node.add(op='AddV2', name=f'{node.name}/add')
      add.input.extend([node.input[0], one.name])
      add.attr['T'].CopyFrom(node.attr['T'])
      node.op = 'Log'
      node.input[0] = add.name
  return result


# Name -> extension of the file, and the conversion of a frozen function.
RUNTIMES: dict[str, tuple[str, Callable[..., tuple[bytes, Run]]]] = {
    'litert': ('tflite', _litert),
    'onnx': ('onnx', _onnx),
}

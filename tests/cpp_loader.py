"""Runs SavedModels through TensorFlow's C++ loader, as TF Serving does.

`tf.saved_model.load` rebuilds Python objects and works on exports that a server
cannot run (Keras 3 variables in a `tf.Module` are the usual case). TF Serving
loads a graph and restores its variables by name, with no Python; so does the C
API inside TensorFlow's own shared library, called here with `ctypes`.

```python
with cpp_loader.load(export_dir) as model:
  model.signatures                      # {'serving_default': Signature(...)}
  model.run({'image': images})['image']
  model.run({'text': [b'a', b'b']}, signature='decode')
```
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import ctypes
import dataclasses
import functools
import os
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ['CppLoaderError', 'Model', 'Signature', 'TensorInfo', 'load']


class CppLoaderError(RuntimeError):
  """An error of the C++ runtime, or of a call that a server would refuse.

  Attributes:
    code: Name of the `TF_Code`: `'INVALID_ARGUMENT'`, `'NOT_FOUND'`, ...
    message: The runtime's message.
  """

  def __init__(self, code: str, message: str):
    super().__init__(f'{code}: {message}')
    self.code = code
    self.message = message


@dataclasses.dataclass(frozen=True)
class TensorInfo:
  """An input or output of a signature; `shape` has None where unknown."""
  name: str  # Of the tensor in the graph, as 'serving_default_image:0'.
  dtype: tf.DType
  shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Signature:
  """Inputs and outputs of a signature by the names that clients use."""
  inputs: dict[str, TensorInfo]
  outputs: dict[str, TensorInfo]
  method_name: str


class _Output(ctypes.Structure):
  _fields_ = (('operation', ctypes.c_void_p), ('index', ctypes.c_int))


class _Buffer(ctypes.Structure):
  _fields_ = (('data', ctypes.c_void_p), ('length', ctypes.c_size_t),
              ('data_deallocator', ctypes.c_void_p))


_CODES = {
    getattr(tf.errors, name): name
    for name in dir(tf.errors) if name.isupper()
}

_POINTER, _INT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
_STRING_BYTES = 24  # sizeof(TF_TString)

# Function -> (result, arguments). Without them ctypes cuts pointers to 32 bits.
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    'TF_AllocateTensor':
        (_POINTER, [_INT, ctypes.POINTER(ctypes.c_int64), _INT, _SIZE]),
    'TF_CloseSession': (None, [_POINTER, _POINTER]),
    'TF_DeleteBuffer': (None, [_POINTER]),
    'TF_DeleteGraph': (None, [_POINTER]),
    'TF_DeleteSession': (None, [_POINTER, _POINTER]),
    'TF_DeleteSessionOptions': (None, [_POINTER]),
    'TF_DeleteStatus': (None, [_POINTER]),
    'TF_DeleteTensor': (None, [_POINTER]),
    'TF_Dim': (ctypes.c_int64, [_POINTER, _INT]),
    'TF_GetCode': (_INT, [_POINTER]),
    'TF_GraphOperationByName': (_POINTER, [_POINTER, ctypes.c_char_p]),
    'TF_LoadSessionFromSavedModel':
        (_POINTER, [_POINTER, _POINTER, ctypes.c_char_p,
                    ctypes.POINTER(ctypes.c_char_p), _INT, _POINTER, _POINTER,
                    _POINTER]),
    'TF_Message': (ctypes.c_char_p, [_POINTER]),
    'TF_NewBuffer': (_POINTER, []),
    'TF_NewGraph': (_POINTER, []),
    'TF_NewSessionOptions': (_POINTER, []),
    'TF_NewStatus': (_POINTER, []),
    'TF_NumDims': (_INT, [_POINTER]),
    'TF_SessionRun':
        (None, [_POINTER, _POINTER,
                ctypes.POINTER(_Output), ctypes.POINTER(_POINTER), _INT,
                ctypes.POINTER(_Output), ctypes.POINTER(_POINTER), _INT,
                ctypes.POINTER(_POINTER), _INT, _POINTER, _POINTER]),
    'TF_StringCopy': (None, [_POINTER, ctypes.c_char_p, _SIZE]),
    'TF_StringDealloc': (None, [_POINTER]),
    'TF_StringGetDataPointer': (_POINTER, [_POINTER]),
    'TF_StringGetSize': (_SIZE, [_POINTER]),
    'TF_StringInit': (None, [_POINTER]),
    'TF_TensorByteSize': (_SIZE, [_POINTER]),
    'TF_TensorData': (_POINTER, [_POINTER]),
    'TF_TensorType': (_INT, [_POINTER]),
}


@functools.cache
def _library() -> Any:
  """The C API: an object with the functions of `_PROTOTYPES`."""
  folder = os.path.dirname(tf.__file__)
  libraries = [
      ctypes.CDLL(os.path.join(folder, name))
      for name in ('libtensorflow_cc.so.2', 'libtensorflow_framework.so.2')]

  class Library:
    pass

  library = Library()
  for name, (result, arguments) in _PROTOTYPES.items():
    function = next(
        (getattr(lib, name) for lib in libraries if hasattr(lib, name)), None)
    if function is None:
      raise OSError(f'{name} is not in the shared libraries of {folder}.')
    function.restype, function.argtypes = result, arguments
    setattr(library, name, function)
  return library


class _Status:
  """A `TF_Status` that lives in a `with` block and raises what it holds."""

  def __enter__(self) -> _Status:
    self.pointer = _library().TF_NewStatus()
    return self

  def check(self) -> None:
    code = _library().TF_GetCode(self.pointer)
    if code:
      message = _library().TF_Message(self.pointer).decode(errors='replace')
      raise CppLoaderError(_CODES.get(code, str(code)), message)

  def __exit__(self, *unused: Any) -> None:
    _library().TF_DeleteStatus(self.pointer)


def _new_tensor(array: np.ndarray) -> int:
  """Makes a `TF_Tensor` of an array (bytes in an array of objects)."""
  lib = _library()
  dims = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
  if array.dtype == object:
    dtype, size = tf.string, array.size * _STRING_BYTES
  else:
    array = np.ascontiguousarray(array).reshape(array.shape)
    dtype, size = tf.as_dtype(array.dtype), array.nbytes
  tensor = lib.TF_AllocateTensor(
      dtype.as_datatype_enum, dims, array.ndim, size)
  data = lib.TF_TensorData(tensor)
  if dtype == tf.string:
    for i, text in enumerate(array.reshape(-1)):
      lib.TF_StringInit(data + i * _STRING_BYTES)
      lib.TF_StringCopy(data + i * _STRING_BYTES, text, len(text))
  elif size:
    ctypes.memmove(data, array.ctypes.data, size)
  return tensor


def _delete_tensor(tensor: int | None, own_strings: bool = False) -> None:
  if tensor is None:
    return
  lib = _library()
  if own_strings and lib.TF_TensorType(
      tensor) == tf.string.as_datatype_enum:
    data = lib.TF_TensorData(tensor)
    for i in range(lib.TF_TensorByteSize(tensor) // _STRING_BYTES):
      lib.TF_StringDealloc(data + i * _STRING_BYTES)
  lib.TF_DeleteTensor(tensor)


def _to_array(tensor: int) -> np.ndarray:
  """Copies a `TF_Tensor` out; strings become an array of `bytes` objects."""
  lib = _library()
  shape = [lib.TF_Dim(tensor, i) for i in range(lib.TF_NumDims(tensor))]
  dtype = tf.as_dtype(lib.TF_TensorType(tensor))
  data = lib.TF_TensorData(tensor)
  if dtype == tf.string:
    texts = np.empty(int(np.prod(shape)), object)
    for i in range(texts.size):
      place = data + i * _STRING_BYTES
      texts[i] = ctypes.string_at(
          lib.TF_StringGetDataPointer(place), lib.TF_StringGetSize(place))
    return texts.reshape(shape)
  size = lib.TF_TensorByteSize(tensor)
  raw = ctypes.string_at(data, size) if size else b''
  return np.frombuffer(raw, dtype.as_numpy_dtype).reshape(shape).copy()


def _feed(value: Any, info: TensorInfo, name: str) -> np.ndarray:
  """Makes an array of a feed; typed values keep their type, as on the wire."""
  if isinstance(value, tf.Tensor):
    value = value.numpy()
  if info.dtype == tf.string:
    array = np.asarray(value, object)
    flat = [
        text.encode() if isinstance(text, str) else text
        for text in array.reshape(-1)]
    if not all(isinstance(text, bytes) for text in flat):
      raise CppLoaderError(
          'INVALID_ARGUMENT', f'Input {name!r} takes strings, got {value!r}.')
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(np.shape(np.asarray(value, object)))
  if isinstance(value, (np.ndarray, np.generic)):
    return np.asarray(value)
  return np.asarray(value, info.dtype.as_numpy_dtype)


def _tensor_infos(infos: Mapping[str, Any]) -> dict[str, TensorInfo]:
  result = {}
  for key in sorted(infos):
    info = infos[key]
    shape = None if info.tensor_shape.unknown_rank else tuple(
        None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    result[key] = TensorInfo(info.name, tf.as_dtype(info.dtype), shape)
  return result


class Model:
  """A SavedModel in a C++ session. Use `load`; close it or use `with`."""

  def __init__(self, export_dir: str | os.PathLike[str],
               tags: Iterable[str] = ('serve',)):
    """Loads the model.

    Args:
      export_dir: Folder that holds `saved_model.pb`.
      tags: Tags of the meta graph.

    Raises:
      CppLoaderError: If the C++ loader refuses the model.
    """
    lib = _library()
    tags = [tag.encode() for tag in tags]
    self._session: int | None = None
    self._graph = lib.TF_NewGraph()
    options, buffer = lib.TF_NewSessionOptions(), lib.TF_NewBuffer()
    try:
      with _Status() as status:
        session = lib.TF_LoadSessionFromSavedModel(
            options, None, os.fspath(export_dir).encode(),
            (ctypes.c_char_p * len(tags))(*tags), len(tags), self._graph,
            buffer, status.pointer)
        status.check()
        self._session = session
      content = _Buffer.from_address(buffer)
      self.meta_graph_def = tf.compat.v1.MetaGraphDef.FromString(
          ctypes.string_at(content.data, content.length))
    except CppLoaderError:
      self.close()
      raise
    finally:
      lib.TF_DeleteSessionOptions(options)
      lib.TF_DeleteBuffer(buffer)
    #: Signatures by name, the initialisation's and the like left out.
    self.signatures = {
        name: Signature(
            _tensor_infos(signature.inputs), _tensor_infos(signature.outputs),
            signature.method_name)
        for name, signature in sorted(self.meta_graph_def.signature_def.items())
        if not name.startswith('__')
    }

  def run(
      self,
      feeds: Mapping[str, Any],
      signature: str = 'serving_default',
      outputs: Iterable[str] | None = None,
  ) -> dict[str, np.ndarray]:
    """Runs a signature.

    Args:
      feeds: For each input of the signature an array. NumPy arrays and tensors
        keep their type, which must be the signature's; Python numbers and lists
        take the signature's. Strings may be `bytes` or `str`.
      signature: Name of the signature.
      outputs: Names of outputs to compute; by default all.

    Returns:
      The outputs by name, strings as arrays of `bytes` objects.

    Raises:
      CppLoaderError: If there is no such signature, the names of the inputs are
        not the signature's, or the runtime fails.
    """
    lib = _library()
    if self._session is None:
      raise CppLoaderError('FAILED_PRECONDITION', 'The model is closed.')
    if signature not in self.signatures:
      raise CppLoaderError(
          'NOT_FOUND',
          f'No signature {signature!r}; there are {sorted(self.signatures)}.')
    spec = self.signatures[signature]
    if set(feeds) != set(spec.inputs):
      raise CppLoaderError(
          'INVALID_ARGUMENT', f'Signature {signature!r} takes inputs '
          f'{sorted(spec.inputs)}, got {sorted(feeds)}.')
    names = list(spec.outputs if outputs is None else outputs)
    if not set(names) <= set(spec.outputs):
      raise CppLoaderError(
          'INVALID_ARGUMENT', f'Signature {signature!r} gives '
          f'{sorted(spec.outputs)}, got {names}.')
    arrays = {key: _feed(feeds[key], info, key)
              for key, info in spec.inputs.items()}
    num_in, num_out = len(arrays), len(names)
    in_ports = (_Output * num_in)(
        *[self._port(spec.inputs[key].name) for key in arrays])
    out_ports = (_Output * num_out)(
        *[self._port(spec.outputs[key].name) for key in names])
    results = (_POINTER * num_out)()
    tensors: list[int] = []
    try:
      tensors.extend(_new_tensor(array) for array in arrays.values())
      with _Status() as status:
        lib.TF_SessionRun(
            self._session, None,
            in_ports, (_POINTER * num_in)(*tensors), num_in,
            out_ports, results, num_out,
            None, 0, None, status.pointer)
        status.check()
      return {key: _to_array(result) for key, result in zip(
          names, results, strict=True)}
    finally:
      for tensor in tensors:
        _delete_tensor(tensor, own_strings=True)
      for result in results:
        _delete_tensor(result)

  def _port(self, tensor_name: str) -> _Output:
    name, _, index = tensor_name.partition(':')
    operation = _library().TF_GraphOperationByName(self._graph, name.encode())
    if not operation:
      raise CppLoaderError('NOT_FOUND', f'No operation {name!r} in the graph.')
    return _Output(operation, int(index or 0))

  def close(self) -> None:
    """Frees the session and the graph; calling it again does nothing."""
    lib = _library()
    if self._session is not None:
      with _Status() as status:
        lib.TF_CloseSession(self._session, status.pointer)
      with _Status() as status:
        lib.TF_DeleteSession(self._session, status.pointer)
      self._session = None
    if self._graph is not None:
      lib.TF_DeleteGraph(self._graph)
      self._graph = None

  def __enter__(self) -> Model:
    return self

  def __exit__(self, *unused: Any) -> None:
    self.close()


def load(export_dir: str | os.PathLike[str],
         tags: Iterable[str] = ('serve',)) -> Model:
  """Loads a SavedModel through the C++ loader; see `Model`."""
  return Model(export_dir, tags)

"""Files for TF Serving: configuration, batching, warm-up requests."""

from __future__ import annotations

from collections.abc import Mapping
import os
from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf.export import servables as servables_lib

# A server pads a batch to the next of these sizes; each has a slow first call.
_BATCH_SIZES = (1, 8, 32, 64)
_BATCHING = """\
# One row of a request is one unit of a batch. See docs/serving.md.
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: {threads} }}
{sizes}
"""
_README = """\
# Translators and domains for TF Serving

Written by `python -m alignflow_tf.export`. One directory a servable, in it one
a version; `models.config` names the newest two versions `latest` and
`previous`. Signatures and clients: docs/serving.md of alignflow_tf.

```
docker run --rm -p 8500:8500 -p 8501:8501 \\
  -v "{output}:/models:ro" tensorflow/serving \\
  --model_config_file=/models/models.config \\
  --model_config_file_poll_wait_seconds=30 \\
  --allow_version_labels_for_unavailable_models=true \\
  --enable_batching=true \\
  --batching_parameters_file=/models/batching.config
```

8500 is gRPC, 8501 REST. Is it up?

```
{health}
```

| servable | versions |
|---|---|
{table}
"""


def versions(directory: str) -> list[int]:
  """Version numbers of a servable's directory, ascending."""
  try:
    names = os.listdir(directory)
  except (FileNotFoundError, NotADirectoryError):
    return []
  # By a server's rule: '007' and '.partial' are no versions.
  return sorted(int(n) for n in names if n.isdecimal() and str(int(n)) == n)


def servables(output: str) -> dict[str, list[int]]:
  """Versions by name of all servables in a directory."""
  found = {}
  for name in sorted(os.listdir(output)):
    numbers = [
        v for v in versions(os.path.join(output, name)) if os.path.isfile(
            os.path.join(output, name, str(v), 'saved_model.pb'))]
    if numbers and not name.startswith('.'):
      found[name] = numbers
  return found


def write(output: str) -> None:
  """Writes `models.config`, `batching.config` and `README.md`.

  `models.config` lists every servable in the directory with its newest two
  versions, labelled `latest` and `previous`.

  Args:
    output: Directory of the servables; the container sees it as `/models`.
  """
  found = servables(output)
  _io.write_aside(os.path.join(output, 'models.config'), _models(found))
  _io.write_aside(os.path.join(output, 'batching.config'), _BATCHING.format(
      largest=_BATCH_SIZES[-1], threads=os.cpu_count() or 1,
      sizes='\n'.join(f'allowed_batch_sizes: {n}' for n in _BATCH_SIZES)))
  _io.write_aside(os.path.join(output, 'README.md'), _README.format(
      output=output,
      health='\n'.join(f'curl --fail localhost:8501/v1/models/{name}'
                       for name in found),
      table='\n'.join(f'| `{name}` | {", ".join(map(str, numbers))} |'
                      for name, numbers in found.items())))


def _models(found: dict[str, list[int]]) -> str:
  lines = ['model_config_list {']
  for name, numbers in found.items():
    newest = numbers[-2:]
    labels = {'latest': newest[-1], 'previous': newest[0]}
    if len(newest) == 1:
      del labels['previous']
    lines += [
        '  config {',
        f"    name: '{name}'",
        f"    base_path: '/models/{name}'",
        "    model_platform: 'tensorflow'",
        '    model_version_policy {',
        '      specific {',
        *[f'        versions: {number}' for number in newest],
        '      }',
        '    }',
        *[f"    version_labels {{ key: '{label}' value: {number} }}"
          for label, number in labels.items()],
        '  }',
    ]
  return '\n'.join([*lines, '}', ''])


def write_facts(path: str, facts: Mapping[str, Any]) -> None:
  """Writes `assets.extra/alignflow.json`.

  It is what `alignflow_tf.translate` needs to know of a SavedModel, in addition
  to its signatures.

  Args:
    path: Directory of the version.
    facts: `domains`, `event_shape`, `preparations` and `many`, as JSON values.
  """
  directory = os.path.join(path, 'assets.extra')
  os.makedirs(directory, exist_ok=True)
  _io.dump(os.path.join(directory, 'alignflow.json'), facts)


def write_warmup(path: str, servable: servables_lib.Servable) -> None:
  """Writes the requests that a server warms up with.

  They are `PredictionLog` records in `assets.extra`: one request for each
  signature, and for the default one a request of each batch size of
  `batching.config`.
  """
  directory = os.path.join(path, 'assets.extra')
  os.makedirs(directory, exist_ok=True)
  with tf.io.TFRecordWriter(
      os.path.join(directory, 'tf_serving_warmup_requests')) as writer:
    for name, function in sorted(servable.signatures.items()):
      specs = function.input_signature
      for rows in _BATCH_SIZES if name == 'serving_default' else (1,):
        writer.write(_prediction_log(
            servable.name, name,
            {spec.name: _example(spec, rows) for spec in specs}))


def _example(spec: tf.TensorSpec, rows: int) -> np.ndarray:
  """A valid input of a name and shape."""
  shape = [rows, *[2 if n is None else n for n in spec.shape[1:]]]
  if spec.dtype == tf.string:
    png = tf.io.encode_png(np.full([8, 8, 1], 128, np.uint8)).numpy()
    return np.array([png] * rows, object)
  if spec.dtype == tf.int64:
    return np.arange(np.prod(shape)).reshape(shape)
  return np.full(shape, 0.5, np.float32)


def _prediction_log(model: str, signature: str,
                    inputs: dict[str, np.ndarray]) -> bytes:
  """A serialized `tensorflow.serving.PredictionLog` of a `PredictRequest`.

  Put together by hand, so that an export does not need tensorflow-serving-api.
  Field numbers are those of prediction_log.proto, predict.proto and model.proto
  in https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis.
  """
  request = _field(
      1, _field(1, model.encode()) + _field(3, signature.encode()))
  for name, value in inputs.items():
    tensor = tf.make_tensor_proto(value).SerializeToString()
    request += _field(2, _field(1, name.encode()) + _field(2, tensor))
  return _field(6, _field(1, request))


def _field(number: int, content: bytes) -> bytes:
  """A length-delimited field of a protocol buffer (numbers below 16)."""
  size, prefix = len(content), bytearray([number << 3 | 2])
  while size > 127:
    prefix.append(size & 127 | 128)
    size >>= 7
  return bytes(prefix) + bytes([size]) + content

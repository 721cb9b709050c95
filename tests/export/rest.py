"""TF Serving's REST interface over the C++ loader, for tests.

The rules by which a server turns JSON into tensors and back, from
https://www.tensorflow.org/tfx/serving/api_rest and json_tensor.cc of
https://github.com/tensorflow/serving, and a server on localhost that speaks
them. Versions and labels: the only version is 1, labelled `latest`.
"""

import base64
import http.server
import json
import re
import threading

import numpy as np
import tensorflow as tf

from tests import cpp_loader

_PATH = re.compile(
    r'/v1/models/([^/:]+)(?:/versions/1|/labels/latest)?(:predict|/metadata)?')


class Refused(ValueError):
  """A request that the server answers with 400."""


def handle(models, method, path, body=''):
  """Answers a request: `(HTTP status, JSON value)`."""
  match = _PATH.fullmatch(path)
  if not match or match.group(1) not in models:
    return 404, {'error': f'Servable not found for request: {path}'}
  model, action = models[match.group(1)], match.group(2)
  if method == 'GET' and not action:
    return 200, {'model_version_status': [{
        'version': '1', 'state': 'AVAILABLE',
        'status': {'error_code': 'OK', 'error_message': ''}}]}
  if method != 'POST' or action != ':predict':
    return 400, {'error': f'Malformed request: {method} {path}'}
  try:
    return 200, _predict(model, json.loads(body))
  except (Refused, ValueError) as e:
    return 400, {'error': str(e)}
  except cpp_loader.CppLoaderError as e:
    return 400 if e.code == 'INVALID_ARGUMENT' else 500, {'error': e.message}


def _predict(model, body):
  if not isinstance(body, dict) or ('inputs' in body) == ('instances' in body):
    raise Refused("Need one of 'inputs' and 'instances'")
  name = body.get('signature_name', 'serving_default')
  if name not in model.signatures:
    raise Refused(f'No signature {name!r}')
  specs = model.signatures[name].inputs
  by_rows = 'instances' in body
  value = body['instances' if by_rows else 'inputs']
  if by_rows:
    columns = _columns(value, specs)
  elif len(specs) == 1 and not (
      isinstance(value, dict) and set(value) == set(specs)):
    columns = {next(iter(specs)): value}
  else:
    columns = value
  if set(columns) != set(specs):
    raise Refused(f'Inputs must be {sorted(specs)}, got {sorted(columns)}')
  answer = model.run(
      {k: _tensor(v, specs[k].dtype) for k, v in columns.items()}, name)
  return _rows(answer) if by_rows else _whole(answer)


def _columns(rows, specs):
  if not isinstance(rows, list) or not rows:
    raise Refused("'instances' must be a list that is not empty")
  # An object that is not {"b64": ...} names the inputs.
  if all(isinstance(r, dict) and set(r) != {'b64'} for r in rows):
    if any(set(r) != set(specs) for r in rows):
      raise Refused(f'Every instance must have inputs {sorted(specs)}')
    return {k: [r[k] for r in rows] for k in specs}
  if len(specs) != 1:
    raise Refused(f'Every instance must name inputs {sorted(specs)}')
  return {next(iter(specs)): rows}


def _tensor(value, dtype):
  if dtype == tf.string:
    return _strings(value)
  array = np.array(value)  # A ragged list is a ValueError.
  if not (np.issubdtype(array.dtype, np.floating) and dtype.is_floating or
          np.issubdtype(array.dtype, np.integer)):
    raise Refused(f'JSON value is not of type {dtype.name}')
  return array.astype(dtype.as_numpy_dtype)


def _strings(value):
  if isinstance(value, list):
    return np.array([_strings(v) for v in value], object)
  if isinstance(value, dict) and set(value) == {'b64'}:
    return base64.b64decode(value['b64'], validate=True)
  if isinstance(value, str):
    return value.encode()
  raise Refused('JSON value is not a string')


def _plain(name, value):
  """An output as JSON: bytes in base64 where the name ends in `_bytes`."""
  if isinstance(value, np.ndarray) and value.ndim:
    return [_plain(name, v) for v in value]
  if isinstance(value, bytes):
    if name.endswith('_bytes'):
      return {'b64': base64.b64encode(value).decode()}
    return value.decode()
  return value.item()


def _rows(answer):
  sizes = {len(v) for v in answer.values()}
  if len(sizes) != 1:
    raise Refused('Outputs have different batch sizes')
  plain = {k: _plain(k, v) for k, v in answer.items()}
  if len(plain) == 1:
    return {'predictions': next(iter(plain.values()))}
  return {'predictions': [
      {k: v[i] for k, v in plain.items()} for i in range(sizes.pop())]}


def _whole(answer):
  plain = {k: _plain(k, v) for k, v in answer.items()}
  return {'outputs': next(iter(plain.values())) if len(plain) == 1 else plain}


class Server:
  """Serves models on a free port of localhost, in a `with` block.

  Attributes:
    url: Where it listens.
  """

  def __init__(self, models):
    class Handler(http.server.BaseHTTPRequestHandler):

      def do_GET(self):  # noqa: N802
        self._answer('GET', '')

      def do_POST(self):  # noqa: N802
        size = int(self.headers.get('Content-Length', 0))
        self._answer('POST', self.rfile.read(size).decode())

      def _answer(self, method, body):
        status, value = handle(models, method, self.path, body)
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

      def log_message(self, *unused):
        pass

    self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    self.url = f'http://127.0.0.1:{self._server.server_address[1]}'

  def __enter__(self):
    self._thread = threading.Thread(target=self._server.serve_forever)
    self._thread.start()
    return self

  def __exit__(self, *unused):
    self._server.shutdown()
    self._thread.join()
    self._server.server_close()

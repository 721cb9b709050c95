"""Translates a picture through TF Serving's REST interface.

  python examples/serving_rest.py --servable=optical_to_mnist in.png out.png
  python examples/serving_rest.py --servable=optical_to_mnist --health

Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Sequence
import json
import sys
from typing import Any
import urllib.error
import urllib.request


class ServingError(RuntimeError):
  """A request that the server refused, with its answer."""


def call(url: str, body: Any = None, timeout: float = 30.) -> Any:
  """Posts JSON (or gets, where there is no body) and returns JSON."""
  data = None if body is None else json.dumps(body).encode()
  request = urllib.request.Request(
      url, data, {'Content-Type': 'application/json'})
  try:
    with urllib.request.urlopen(request, timeout=timeout) as response:
      return json.load(response)
  except urllib.error.HTTPError as e:
    raise ServingError(json.load(e).get('error', str(e))) from e


def is_available(base: str, servable: str, timeout: float = 5.) -> bool:
  """Whether the server has a version of a servable that takes requests."""
  try:
    status = call(f'{base}/v1/models/{servable}', timeout=timeout)
  except (ServingError, OSError):
    return False
  return any(version['state'] == 'AVAILABLE'
             for version in status['model_version_status'])


def translate(base: str, servable: str, pictures: Sequence[bytes]
             ) -> list[bytes]:
  """Translates PNG or JPEG pictures; gives PNGs of the model's size."""
  answer = call(f'{base}/v1/models/{servable}:predict', {
      'signature_name': 'translate_encoded',
      'instances': [
          {'b64': base64.b64encode(p).decode()} for p in pictures]})
  return [base64.b64decode(p['b64']) for p in answer['predictions']]


def main(argv: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--url', default='http://localhost:8501')
  parser.add_argument('--servable', required=True)
  parser.add_argument('--health', action='store_true')
  parser.add_argument('pictures', nargs='*', metavar='IN OUT')
  args = parser.parse_args(argv)
  if args.health:
    available = is_available(args.url, args.servable)
    print('available' if available else 'not available')
    return 0 if available else 1
  if len(args.pictures) != 2:
    parser.error('Give a picture to read and one to write.')
  with open(args.pictures[0], 'rb') as f:
    picture = f.read()
  try:
    translated = translate(args.url, args.servable, [picture])
  except (ServingError, OSError) as e:
    print(f'{args.url}: {e}', file=sys.stderr)
    return 1
  with open(args.pictures[1], 'wb') as f:
    f.write(translated[0])
  return 0


if __name__ == '__main__':
  sys.exit(main())

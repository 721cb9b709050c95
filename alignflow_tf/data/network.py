"""A quick look whether a download can succeed at all.

`download_and_prepare` without a network retries for 205 s (TFDS 4.9.10). Two
seconds tell as much.
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request

# The answers of a proxy that does not let the request through.
_REFUSALS = (403, 407, 502, 503, 504)


def reachable(url: str, timeout: float = 2.0) -> bool:
  """Whether a URL's server can be reached, directly or through a proxy.

  Directly, a TCP connection tells. A proxy always takes the connection, so it
  is asked for the page; what the server answers does not matter.

  Returns:
    True if the server was reached in that time.
  """
  parts = urllib.parse.urlsplit(url)
  host = parts.hostname or ''
  port = parts.port or (443 if parts.scheme == 'https' else 80)
  proxied = parts.scheme in urllib.request.getproxies() and (
      not urllib.request.proxy_bypass(host))
  outcome: list[bool] = []

  def attempt() -> None:
    try:
      if proxied:
        request = urllib.request.Request(url, method='HEAD')
        # Not `urlopen`, which keeps the proxies of its first call.
        opener = urllib.request.build_opener()
        with opener.open(request, timeout=timeout):
          outcome.append(True)
      else:
        with socket.create_connection((host, port), timeout):
          outcome.append(True)
    except urllib.error.HTTPError as error:
      outcome.append(error.code not in _REFUSALS)
      error.close()
    except (OSError, http.client.HTTPException):
      outcome.append(False)

  # Name resolution ignores socket timeouts, hence the thread.
  thread = threading.Thread(target=attempt, daemon=True)
  thread.start()
  thread.join(timeout)
  return bool(outcome and outcome[0])


def data_dir(given: str | None) -> str:
  """The folder of the data: that given, TFDS_DATA_DIR, or TFDS's default."""
  return os.path.expanduser(
      given or os.environ.get('TFDS_DATA_DIR')
      or os.path.join('~', 'tensorflow_datasets'))

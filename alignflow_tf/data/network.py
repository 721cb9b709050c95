"""A quick look whether a download can succeed at all.

`download_and_prepare` without a network retries for 205 s (TFDS 4.9.10). Two
seconds tell as much.
"""

from __future__ import annotations

import os
import socket
import threading
import urllib.parse
import urllib.request


def reachable(url: str, timeout: float = 2.0) -> bool:
  """Whether a TCP connection to a URL's host, or to its proxy, can be made.

  Args:
    url: The address to be fetched.
    timeout: Seconds, in all.

  Returns:
    True if a connection was made in that time.
  """
  parts = urllib.parse.urlsplit(url)
  proxy = urllib.request.getproxies().get(parts.scheme)
  if proxy and not urllib.request.proxy_bypass(parts.hostname or ''):
    parts = urllib.parse.urlsplit(proxy if '//' in proxy else f'//{proxy}')
  port = parts.port or (443 if parts.scheme == 'https' else 80)
  outcome: list[bool] = []

  def attempt() -> None:
    try:
      with socket.create_connection((parts.hostname, port), timeout):
        outcome.append(True)
    except OSError:
      outcome.append(False)

  # Name resolution ignores socket timeouts, hence the thread.
  thread = threading.Thread(target=attempt, daemon=True)
  thread.start()
  thread.join(timeout)
  return bool(outcome and outcome[0])


def default_data_dir() -> str:
  """Where TFDS keeps its data: TFDS_DATA_DIR or ~/tensorflow_datasets."""
  return os.path.expanduser(
      os.environ.get('TFDS_DATA_DIR')
      or os.path.join('~', 'tensorflow_datasets'))

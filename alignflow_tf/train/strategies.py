"""Devices and processes that train together, on `tf.distribute`.

This module does not load TensorFlow before `make` does, so that mistakes in
`TF_CONFIG` are answered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import functools
import json
import os
import re
from typing import Any
import zlib

import numpy as np

from alignflow_tf import _errors
from alignflow_tf import _io
from alignflow_tf import data
from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.train import config as config_lib

# Words in errors of collective operations, in addition to names of processes.
_REMOTE = re.compile(
    'collective|coordination|heartbeat|socket|connect|peer|rpc|/task:|'
    'recv|barrier', re.IGNORECASE)


class Lost(_errors.UserError):
  """Another process of the run ended, or cannot be reached."""


class Team:
  """The processes of a run, and the devices of this one.

  Attributes:
    strategy: TensorFlow's strategy; None for one device.
    workers: Number of processes.
    worker: The number of this one, from 0.
    chief: Whether this process is the first one, which writes.
  """

  def __init__(self, strategy: tf.distribute.Strategy | None = None,
               workers: int = 1, worker: int = 0):
    self.strategy = strategy
    self.workers = workers
    self.worker = worker
    self.chief = worker == 0

  def rows(self, number: int) -> list[int] | None:
    """Places, in a step's `number` images, of this process; None for all."""
    if self.workers == 1:
      return None
    part = number // self.workers
    return list(range(self.worker * part, (self.worker + 1) * part))

  def total(self, value: int) -> int:
    """The sum of all processes' values; waits for the last one.

    Raises:
      Lost: If another process cannot be reached.
    """
    return int(self._gather([value]).sum())

  def wait(self) -> None:
    """Waits until all processes are here; see `total`."""
    self.total(0)

  def agree(self, facts: Mapping[str, Any], things: str,
            error: type[Exception]) -> None:
    """Raises `error` in all processes where their facts, by name, differ."""
    hashes = self._gather([
        zlib.crc32(json.dumps(value, sort_keys=True).encode())
        for value in facts.values()])
    names = [name for name, column in zip(facts, hashes.T, strict=True)
             if len(set(column)) > 1]
    if names:
      raise error(f'the processes of a run must have the same {things}, got '
                  f'others for {", ".join(names)}. Start all of them again, '
                  'with the same ones.')

  def _gather(self, values: list[int]) -> np.ndarray:
    """The values of all processes, `[workers, N]`."""
    # Each process adds its row to zeros.
    rows = np.zeros([self.workers, len(values)], np.int64)
    rows[self.worker] = values
    if self.workers == 1:
      return rows
    return np.asarray(self.call(self._sum, tf.constant(rows)))

  @functools.cached_property
  def _sum(self) -> Callable[..., tf.Tensor]:
    strategy: Any = self.strategy

    # A function, as each new collective operation would be kept for ever.
    @tf.function(autograph=False)
    def total(values: tf.Tensor) -> tf.Tensor:
      each = strategy.run(tf.identity, args=(values,))
      # Each process counts once, whatever its number of devices.
      return strategy.reduce('SUM', each, axis=None) // len(
          strategy.extended.worker_devices)

    return total

  def call(self, function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function that works together with the other processes.

    Raises:
      Lost: If another process ended or cannot be reached. Errors of this
        process, such as those of its GPU, pass.
    """
    try:
      return function(*args)
    except tf.errors.OpError as e:
      # Internal errors and failed preconditions may be of this process alone.
      if self.workers == 1 or not (
          isinstance(e, (
              tf.errors.AbortedError, tf.errors.CancelledError,
              tf.errors.DeadlineExceededError, tf.errors.UnavailableError)) or
          isinstance(e, (
              tf.errors.FailedPreconditionError, tf.errors.InternalError)) and
          _REMOTE.search(str(e))):
        raise
      here = getattr(self.strategy, 'cluster_resolver', None)
      own = here and f'/job:{here.task_type}/replica:0/task:{here.task_id}'
      names = re.findall(r'/job:\w+/replica:0/task:\d+', str(e))
      other = next((name for name in names if name != own), 'unknown which')
      raise Lost(f'another process of this run ({other}) ended or cannot be '
                 f'reached ({type(e).__name__})') from e


def check_flags(config: config_lib.Config, team: Team) -> None:
  """Raises ConfigError, in all processes, where their flags differ."""
  team.agree({f'`{name}` (here {value!r})': value
              for name, value in config.to_json().items()
              if name not in config_lib.FREE}, 'flags', config_lib.ConfigError)


def check_data(domains: data.DomainSet, team: Team) -> None:
  """Raises DataError, in all processes, where their data differ."""
  facts = domains.describe()['domains'].values()
  team.agree({
      'the domains': domains.domains,
      'the image shape': domains.event_shape,
      'the numbers of images': [f['sizes'] for f in facts],
      'the names and sizes of files': [f.get('files') for f in facts],
      'the number of channels': [f['grey_copied'] for f in facts]},
             'data', data.DataError)


def make(config: config_lib.Config) -> Team:
  """Makes the strategy of a configuration, and waits for other processes.

  Where there are several processes, to be called before TensorFlow's first
  operation.

  Raises:
    ConfigError: If `TF_CONFIG` is not good, the devices cannot share the batch
      equally, or processes were started with different flags.
    Lost: If the other processes do not come.
  """
  if config.strategy == 'default':
    return Team()
  if config.strategy == 'mirrored':
    return Team(_shared_by(config, _mirrored()))
  workers, worker = _cluster(os.environ.get('TF_CONFIG', ''))
  if workers > 1:
    print(f'Process {worker + 1} of {workers}, waiting for the others.')
  try:
    team = Team(
        _shared_by(config, tf.distribute.MultiWorkerMirroredStrategy()),
        workers, worker)
    check_flags(config, team)
  except (tf.errors.OpError, RuntimeError) as e:
    raise Lost('the other processes that TF_CONFIG names did not come '
               f'({_io.first_line(e)})') from e
  return team


def _cluster(text: str) -> tuple[int, int]:
  """Number of processes that train by `TF_CONFIG`, and which one this is."""
  try:
    values = json.loads(text)
    jobs, task = values['cluster'], values['task']
    places = [(job, i) for job in ('chief', 'worker')
              for i in range(len(jobs.get(job, ())))]
    addresses = [address for job in jobs.values() for address in job]
    # Some services give the index as a string.
    worker = places.index((task['type'], int(task['index'])))
    if (len(places) == len(set(addresses)) == len(addresses)
        and ('chief', 1) not in places
        and all(re.fullmatch(r'.+:\d+', address) for address in addresses)):
      return len(places), worker
  except (AttributeError, KeyError, TypeError, ValueError):
    pass
  raise config_lib.ConfigError(
      "`strategy='multi_worker'` needs the environment variable TF_CONFIG, "
      'which names the addresses of all processes, each another one, and this '
      'process, as in {"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
      '"task": {"type": "worker", "index": 0}}; one of them may be the "chief".'
      f' Got {text[:200]!r}. See docs/scaling.md.')


def _shared_by(config: config_lib.Config, strategy: tf.distribute.Strategy
              ) -> tf.distribute.Strategy:
  """The strategy; raises ConfigError if it cannot share a batch equally."""
  number = strategy.num_replicas_in_sync
  if config.batch_size % number:
    raise config_lib.ConfigError(
        f'`batch_size` must be a multiple of the {number} devices that share '
        f'it, got {config.batch_size}.')
  return strategy


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
  """One for a process: the collective operations of two would be mixed up."""
  gpus = tf.config.list_logical_devices('GPU')
  devices = gpus or tf.config.list_logical_devices('CPU')
  return tf.distribute.MirroredStrategy([device.name for device in devices])

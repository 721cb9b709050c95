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
from alignflow_tf import data
from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.train import config as config_lib

# Settings of one process, in which the processes of a run may differ.
_LOCAL = frozenset({
    'data_dir', 'cache', 'cache_dir', 'data_service', 'download',
    'max_pixels'})
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
    replicas: Number of devices that share a step, in all processes.
    workers: Number of processes.
    worker: The number of this one, from 0.
  """

  def __init__(self, strategy: tf.distribute.Strategy | None = None,
               workers: int = 1, worker: int = 0):
    self.strategy = strategy
    self.replicas = strategy.num_replicas_in_sync if strategy else 1
    self.workers = workers
    self.worker = worker
    self._sum: Callable[..., tf.Tensor] | None = None

  @property
  def chief(self) -> bool:
    """Whether this process is the one that writes."""
    return not self.worker

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

  def tell(self, value: int) -> int:
    """The first process's value, in all of them; see `total`."""
    return int(self._gather([value])[0, 0])

  def wait(self) -> None:
    """Waits until all processes are here; see `total`."""
    self.total(0)

  def agree(self, facts: Mapping[str, Any], things: str, advice: str,
            error: type[Exception]) -> None:
    """Compares facts in all processes; see `total`.

    Args:
      facts: JSON values by name, equally many in all processes.
      things: The facts in one word, for the message.
      advice: Last sentences of the message.
      error: Raised, in all processes, where some facts differ.
    """
    hashes = self._gather([
        zlib.crc32(json.dumps(value, sort_keys=True).encode())
        for value in facts.values()])
    names = [name for name, column in zip(facts, hashes.T, strict=True)
             if len(set(column)) > 1]
    if names:
      raise error(f'the processes of a run must have the same {things}, got '
                  f'others for {", ".join(names)}. {advice}')

  def _gather(self, values: list[int]) -> np.ndarray:
    """The values of all processes, as `[workers, N]`; `N` is one for all."""
    # Each process adds its row to zeros.
    rows = np.zeros([self.workers, len(values)], np.int64)
    rows[self.worker] = values
    if self.workers == 1:
      return rows
    if self._sum is None:
      strategy = self.strategy
      assert strategy is not None
      local = len(strategy.extended.worker_devices)

      # A function, as each new collective operation would be kept for ever.
      @tf.function(autograph=False)
      def total(values: tf.Tensor) -> tf.Tensor:
        each = strategy.run(tf.identity, args=(values,))
        # Each process counts once, whatever its number of devices.
        return strategy.reduce('SUM', each, axis=None) // local

      self._sum = total
    return np.asarray(self.call(self._sum, tf.constant(rows)))

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
      raise Lost(
          f'another process of this run ({self._other(str(e))}) ended or '
          f'cannot be reached ({type(e).__name__})') from e

  def _other(self, text: str) -> str:
    """The first process but this one that an error names."""
    here = getattr(self.strategy, 'cluster_resolver', None)
    own = here and f'/job:{here.task_type}/replica:0/task:{here.task_id}'
    names = re.findall(r'/job:\w+/replica:0/task:\d+', text)
    return next((name for name in names if name != own), 'unknown which')


def check(config: config_lib.Config) -> None:
  """Checks a configuration against `TF_CONFIG`, where that is used.

  Raises:
    ConfigError: If they contradict each other, or `TF_CONFIG` is not good.
  """
  if config.strategy != 'multi_worker':
    return
  text = os.environ.get('TF_CONFIG', '')
  if not text:
    raise config_lib.ConfigError(
        "`strategy='multi_worker'` needs the environment variable TF_CONFIG, "
        'which names all processes and this one, as in {"cluster": {"worker": '
        '["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": '
        '0}}; it is not set. See docs/scaling.md.')
  _check_batch(config, _cluster(text)[0], 'processes')


def check_flags(config: config_lib.Config, team: Team) -> None:
  """Compares the configurations of all processes; waits for the last one.

  Raises:
    ConfigError: If they differ, in all of them.
    Lost: If another process cannot be reached.
  """
  team.agree(
      {f'`{name}` (here {value!r})': value
       for name, value in config.to_json().items() if name not in _LOCAL},
      'flags', 'Start all of them again, with the same ones.',
      config_lib.ConfigError)


def check_data(domains: data.DomainSet, team: Team) -> None:
  """Compares the data of all processes; waits for the last one.

  Raises:
    DataError: If they differ, in all of them.
    Lost: If another process cannot be reached.
  """
  facts = domains.describe()['domains'].values()
  team.agree({
      'the domains': domains.domains,
      'the image shape': domains.event_shape,
      'the numbers of images': [f['sizes'] for f in facts],
      'the names and sizes of files': [f.get('files') for f in facts],
      'the number of channels': [f['grey_copied'] for f in facts]},
             'data', 'Bring the same to all of them, and start them again.',
             data.DataError)


def _check_batch(config: config_lib.Config, number: int, kind: str) -> None:
  if config.batch_size % number:
    raise config_lib.ConfigError(
        f'`batch_size` must be a multiple of the {number} {kind} that share '
        f'it, got {config.batch_size}.')


def _cluster(text: str) -> tuple[int, int]:
  """Number of processes that train by `TF_CONFIG`, and which one this is."""

  def bad(why: str) -> config_lib.ConfigError:
    return config_lib.ConfigError(
        f'TF_CONFIG {why}, got {text[:200]!r}. See docs/scaling.md.')

  try:
    values = json.loads(text)
    jobs = values.get('cluster', {})
    task = values.get('task', {})
    kind, index = task.get('type'), task.get('index')
    sizes = {job: len(addresses) for job, addresses in jobs.items()}
    addresses = [a for job in jobs.values() for a in job]
  except (AttributeError, TypeError, ValueError):
    raise bad('must be JSON with "cluster" and "task"') from None
  if not jobs:
    return 1, 0
  others = sorted(set(jobs) - {'chief', 'worker'})
  if others:
    raise bad(f'must name "chief" and "worker" processes alone, not {others}')
  if sizes.get('chief', 0) > 1:
    raise bad('must name one "chief" at most')
  # TensorFlow takes a string for a number too, as some services give it.
  if isinstance(index, str) and index.isdecimal():
    index = int(index)
  if kind not in jobs or not isinstance(index, int) or not (
      0 <= index < sizes[kind]):
    raise bad('must have a "task" with the "type" and "index" of a process '
              'that its "cluster" names')
  for address in addresses:
    if not isinstance(address, str) or not address.rpartition(':')[2].isdigit():
      raise bad('must give addresses as "host:port"')
  if len(set(addresses)) < len(addresses):
    raise bad('must give each process an address of its own')
  before = sizes.get('chief', 0) if kind == 'worker' else 0
  return sum(sizes.values()), before + index


def make(config: config_lib.Config,
         say: Callable[[str], None] = print) -> Team:
  """Makes the strategy of a configuration, and waits for other processes.

  To be called before TensorFlow's first operation where there are several
  processes.

  Args:
    config: The configuration, which passed `check`.
    say: Takes a line for a person.

  Raises:
    ConfigError: If the batch cannot be divided among the devices, or the
      processes were started with different flags.
    Lost: If the other processes do not come.
  """
  check(config)
  if config.strategy != 'multi_worker':
    workers = 0
    try:
      # Some services set it for all that they start, and it need not be good.
      workers, _ = _cluster(os.environ.get('TF_CONFIG', ''))
    except config_lib.ConfigError:
      pass
    if workers > 1:
      say(f'TF_CONFIG names {workers} processes, which '
          f'--strategy={config.strategy} ignores: this one trains by itself.')
  if config.strategy == 'default':
    return Team()
  if config.strategy == 'mirrored':
    team = Team(_mirrored())
    _check_batch(config, team.replicas, 'devices')
    return team
  workers, worker = _cluster(os.environ['TF_CONFIG'])
  if workers > 1:
    say(f'Process {worker + 1} of {workers}, waiting for the others.')
  try:
    team = Team(tf.distribute.MultiWorkerMirroredStrategy(), workers, worker)
    _check_batch(config, team.replicas, 'devices')
    check_flags(config, team)
  except (tf.errors.OpError, RuntimeError) as e:
    raise Lost(
        'the other processes that TF_CONFIG names did not come '
        f'({(str(e).splitlines() or [""])[0][:200]})') from e
  return team


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
  """One for a process: the collective operations of two would be mixed up."""
  gpus = tf.config.list_logical_devices('GPU')
  devices = gpus or tf.config.list_logical_devices('CPU')
  return tf.distribute.MirroredStrategy([device.name for device in devices])

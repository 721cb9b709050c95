"""The devices and processes that train together.

Nothing here loads TensorFlow before `make` does: `check` answers mistakes at
once.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import json
import os
import re
from typing import Any

from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.train import config as config_lib

__all__ = ['Lost', 'Team', 'check', 'make']


class Lost(Exception):
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

  def rows(self, batch_size: int, rounds: int) -> list[int] | None:
    """Which images of a step's `rounds` batches are this process's part.

    Args:
      batch_size: Images of a domain in a batch.
      rounds: Number of batches in a step.

    Returns:
      Their places among all; None for all of them.
    """
    if self.workers == 1:
      return None
    part = batch_size // self.workers
    begin = self.worker * part
    return [i * batch_size + begin + j
            for i in range(rounds) for j in range(part)]

  def total(self, value: int) -> int:
    """The sum of all processes' values; all wait for the last one.

    Raises:
      Lost: If another process cannot be reached.
    """
    if self.workers == 1:
      return value
    strategy = self.strategy
    assert strategy is not None
    if self._sum is None:
      # A function: each new collective operation would be kept for ever.
      @tf.function(autograph=False)
      def total(value: tf.Tensor) -> tf.Tensor:
        # Each process counts once, whatever the number of its devices.
        def run(value: tf.Tensor) -> tf.Tensor:
          context = tf.distribute.get_replica_context()
          first = context.replica_id_in_sync_group % local == 0
          return context.all_reduce(
              tf.distribute.ReduceOp.SUM,
              tf.where(first, value, tf.zeros_like(value)))

        local = len(strategy.extended.worker_devices)
        return strategy.experimental_local_results(
            strategy.run(run, args=(value,)))[0]

      self._sum = total
    return int(self.call(self._sum, tf.constant(value, tf.int64)))

  def tell(self, value: int) -> int:
    """The first process's value, in all of them; see `total`."""
    return self.total(value if self.chief else 0)

  def wait(self) -> None:
    """Waits until all processes are here; see `total`."""
    self.total(0)

  def call(self, function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function that works together with the other processes.

    Raises:
      Lost: If another process ended or cannot be reached.
    """
    if self.workers == 1:
      return function(*args)
    try:
      return function(*args)
    except (tf.errors.AbortedError, tf.errors.CancelledError,
            tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError,
            tf.errors.InternalError, tf.errors.UnavailableError) as e:
      peer = re.search(r'/job:\w+/replica:\d+/task:\d+', str(e))
      raise Lost(
          f'another process of this run ({peer.group() if peer else "one"}) '
          f'ended or cannot be reached ({type(e).__name__})') from e


def check(config: config_lib.Config) -> None:
  """Checks a configuration against `TF_CONFIG`.

  Raises:
    ConfigError: If they contradict each other, or `TF_CONFIG` is not good.
  """
  text = os.environ.get('TF_CONFIG', '')
  workers, _ = _cluster(text) if text else (1, 0)
  if config.strategy != 'multi_worker':
    if workers > 1:
      raise config_lib.ConfigError(
          "`strategy` must be 'multi_worker' where the environment variable "
          f'TF_CONFIG names {workers} processes, got {config.strategy!r}. '
          'Unset TF_CONFIG to train in this one alone.')
    return
  if not text:
    raise config_lib.ConfigError(
        "`strategy='multi_worker'` needs the environment variable TF_CONFIG, "
        'which names all processes and this one, as in {"cluster": {"worker": '
        '["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": '
        '0}}; it is not set. See docs/scaling.md.')
  _check_batch(config, workers, 'processes')


def _check_batch(config: config_lib.Config, number: int, what: str) -> None:
  if config.batch_size % number:
    raise config_lib.ConfigError(
        f'`batch_size` must be a multiple of the {number} {what} that share '
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

  Returns:
    This process's place.

  Raises:
    ConfigError: If the batch cannot be divided among the devices.
    Lost: If the other processes do not come.
  """
  check(config)
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
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    team = Team(strategy, workers, worker)
    _check_batch(config, team.replicas, 'devices')
    team.wait()
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

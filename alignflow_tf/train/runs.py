"""Run directories: what is in one, and loading a model from it."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import fcntl
import json
import os
from typing import Any

from absl import logging
import keras
import tensorflow as tf

from alignflow_tf import baselines
from alignflow_tf import networks
from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import tracing
from alignflow_tf.train import trainer as trainer_lib

__all__ = ['Run', 'RunError', 'load', 'load_critics', 'lock']

FORMAT = 1
RunError = checkpoints_lib.RunError
# Settings that a run may change as it goes on.
FREE = frozenset({
    'data_dir', 'cache', 'cache_dir', 'data_service', 'download', 'max_pixels',
    'skip_unreadable', 'memory', 'strategy',
    'log_every', 'eval_every', 'checkpoint_every', 'keep_checkpoints'})


class Run:
  """A run directory.

  ```
  config.json     the resolved configuration, domains and image shape
  flags.txt       the configuration for --flagfile
  data.json       what the data are, how they are split and brought to size
  checkpoints/    the newest ones, and the best on validation data
  metrics.jsonl   one JSON object a line
  summaries/      TensorBoard
  sheets/         pictures on validation data
  ```

  Attributes:
    directory: Path of the directory.
    config: The configuration.
    domains: Names of the domains.
    event_shape: `(height, width, channels)`.
    copied_channels: By domain, whether channels are copies of one another.
  """

  def __init__(self, directory: str):
    """Reads `config.json`.

    Args:
      directory: A run directory.

    Raises:
      RunError: If it is none, or from another version.
    """
    self.directory = os.path.expanduser(directory)
    path = os.path.join(self.directory, 'config.json')
    if not os.path.isfile(path):
      raise RunError(
          f'`run` must be a directory made by `python -m alignflow_tf.train`, '
          f'got {directory!r}, which has no config.json.')
    try:
      with open(path, encoding='utf-8') as f:
        saved = json.load(f)
      version = saved['format']
      if version == FORMAT:
        self.config = config_lib.Config.from_json(saved['config'])
        self.domains = tuple(saved['domains'])
        self.event_shape = tuple(saved['event_shape'])
        self.copied_channels = dict(saved['copied_channels'])
    except OSError as e:
      raise RunError(f'`run`: {path} cannot be read: {e}') from e
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as e:
      raise RunError(f'`run`: {path} is damaged or of another version: {e}'
                    ) from e
    if version != FORMAT:
      raise RunError(
          f'`run`: {path} has format {version}; this version of alignflow_tf '
          f'reads format {FORMAT}.')

  @property
  def checkpoints(self) -> str:
    """Path of the checkpoints."""
    return os.path.join(self.directory, 'checkpoints')

  def sizes(self) -> dict[str, dict[str, int]]:
    """Images by domain and split when the run began; {} where not known."""
    return {d: dict(facts['sizes']) for d, facts in self._facts().items()}

  def files(self) -> dict[str, str]:
    """What hangs on the names and sizes of picture files, where known."""
    return {d: facts['files'] for d, facts in self._facts().items()
            if 'files' in facts}

  def without_labels(self) -> tuple[str, ...]:
    """Domains whose labels the run did not see, nor had a part in its splits.

    See `DomainSet.without_labels`. Where data.json is lost: none.
    """
    return tuple(d for d, facts in self._facts().items()
                 if facts.get('without_labels'))

  def _facts(self) -> dict[str, dict[str, Any]]:
    """Facts about the data of each domain when the run began."""
    try:
      with open(os.path.join(self.directory, 'data.json'),
                encoding='utf-8') as f:
        found = json.load(f)['domains']
      return {d: {'sizes': dict(found[d]['sizes']), **found[d]}
              for d in self.domains}
    except (OSError, ValueError, KeyError, TypeError):
      return {}

  @classmethod
  def create(cls, directory: str, config: config_lib.Config,
             domains: tuple[str, ...], event_shape: tuple[int, int, int],
             copied_channels: dict[str, bool],
             description: dict[str, Any] | None = None) -> Run:
    """Makes a run directory; `config.json`, written last, makes it a run."""
    os.makedirs(directory, exist_ok=True)
    config_lib.write_aside(
        os.path.join(directory, 'flags.txt'), config.flag_lines())
    config_lib.dump(os.path.join(directory, 'data.json'), description or {})
    config_lib.dump(os.path.join(directory, 'config.json'), {
        'format': FORMAT,
        'config': config.to_json(),
        'domains': list(domains),
        'event_shape': list(event_shape),
        'copied_channels': copied_channels,
    })
    return cls(directory)

  def differences(self, config: config_lib.Config) -> dict[str, Any]:
    """Settings that differ and would make it another run, (saved, given)."""
    saved, given = self.config.to_json(), config.to_json()
    return {name: (saved[name], given[name]) for name in (
        checkpoints_lib.differences(saved, given, FREE))}

  def latest(self) -> str:
    """Path of the newest checkpoint that reads well.

    Damaged ones are reported and passed over.

    Raises:
      RunError: If there is none.
    """
    path = checkpoints_lib.newest(self.checkpoints)
    if path is None:
      raise RunError(
          f'`run`: {self.directory!r} has no checkpoint yet; go on with '
          f'`python -m alignflow_tf.train --run_dir={self.directory}`.')
    return path

  def checkpoint(self, which: str = 'newest') -> str:
    """Path of a checkpoint.

    Args:
      which: 'newest'; 'best', the lowest mean bits/dim on validation data; or
        the number of its step.

    Raises:
      RunError: If there is none of that name.
    """
    if which == 'newest':
      return self.latest()
    steps = checkpoints_lib.steps(self.checkpoints)
    if which == 'best':
      path = checkpoints_lib.best(self.checkpoints)
    else:
      path = checkpoints_lib.prefix(self.checkpoints, int(which)) if (
          str(which).isdecimal() and int(which) in steps) else None
    if path is None:
      raise RunError(
          f"`checkpoint` must be 'newest', 'best' or a step that is there "
          f'({", ".join(map(str, steps)) or "none"}), got {which!r}.')
    damaged = checkpoints_lib.problem(path)
    if damaged:
      raise RunError(f'`checkpoint`: {path} is damaged: {damaged}.')
    return path


def load(run_dir: str, average: bool = True,
         checkpoint: str = 'newest') -> baselines.Model:
  """Loads the model of a run.

  Args:
    run_dir: The run directory of `python -m alignflow_tf.train`.
    average: Whether to load the moving average of the weights, which is what
      is evaluated and exported, or the newest weights.
    checkpoint: As in `Run.checkpoint`. Damaged newest ones are reported and
      the one before is used.

  Returns:
    The model: an `AlignFlow`, or what `Config.model` names.

  Raises:
    RunError: If there is no run or no checkpoint in the directory, or its
      weights are not finite.
  """
  run = Run(run_dir)
  path = run.checkpoint(checkpoint)
  with tracing.uncollected(), networks.draw_once():
    model = trainer_lib.build_model(run.config, run.domains, run.event_shape)
  part = {'average' if average else 'model': model}
  checkpoints_lib.restore(tf.train.Checkpoint(**part), path, whole=False)
  for variable in model.variables:
    if variable.dtype.is_floating and not bool(
        tf.reduce_all(tf.math.is_finite(variable))):
      raise RunError(
          f'`run_dir`: weights of {path} are not finite, at {variable.name}.')
  return model


def load_critics(run_dir: str,
                 checkpoint: str = 'newest') -> dict[str, keras.Model]:
  """Loads the critics of a run.

  Args:
    run_dir: The run directory of `python -m alignflow_tf.train`.
    checkpoint: As in `Run.checkpoint`.

  Returns:
    For each domain, its critic: from images in [-1, 1] to logits a patch. Empty
    where the run's objective has none.

  Raises:
    RunError: If there is no run or no checkpoint in the directory.
  """
  run = Run(run_dir)
  if run.config.objective == 'mle':
    return {}
  critics = trainer_lib.build_critics(
      run.config, run.domains, run.event_shape)
  holder = trainer_lib.Holder({
      d: [v.value for v in critic.variables] for d, critic in critics.items()})
  checkpoints_lib.restore(tf.train.Checkpoint(critics=holder),
                          run.checkpoint(checkpoint), whole=False)
  return critics


@contextlib.contextmanager
def lock(directory: str, argument: str = 'run_dir') -> Iterator[None]:
  """Keeps a run directory to one process.

  Args:
    directory: The directory, which is there.
    argument: What the message calls it.

  Raises:
    RunError: If another process trains in it.
  """
  path = os.path.join(directory, 'lock')
  with open(path, 'a+', encoding='utf-8') as f:
    try:
      fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      f.seek(0)
      raise RunError(
          f'`{argument}`: process {f.read().strip() or "?"} is training in '
          f'{directory!r}; choose another directory or stop it.') from None
    except OSError as e:
      # Some network file systems have no locks.
      logging.warning(
          '%s cannot be locked (%s): see to it that no other process trains '
          'there.', directory, e)
    f.truncate(0)
    f.write(f'{os.getpid()}\n')
    f.flush()
    yield

"""Run directories: their files, and loading a model from one."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import fcntl
import functools
import json
import os
from typing import Any

from absl import logging
import keras
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import baselines
from alignflow_tf import data
from alignflow_tf import model as model_lib
from alignflow_tf import pretrained
from alignflow_tf.data import preparation
from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import critics as critics_lib

RunError = checkpoints_lib.RunError


class Run:
  """A run directory.

  ```
  config.json     the configuration, domains and image shape
  flags.txt       the configuration for --flagfile
  data.json       the data, their splits and how they are brought to size
  checkpoints/    the newest ones, and the best on validation data
  metrics.jsonl   one JSON object a line
  summaries/      TensorBoard
  sheets/         pictures of validation images
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
      directory: A run directory, or `pretrained:NAME`.

    Raises:
      RunError: If it is none, or from another version.
    """
    self.directory = pretrained.directory(directory)
    path = os.path.join(self.directory, 'config.json')
    if not os.path.isfile(path):
      raise RunError(
          '`run` must be a directory made by `python -m alignflow_tf.train` '
          f'(or pretrained:digits), got {directory!r}, which has no '
          'config.json.')
    try:
      with open(path, encoding='utf-8') as f:
        saved = json.load(f)
      checkpoints_lib.check_format(path, saved['format'], 'run')
      self.config = config_lib.Config.from_json(saved['config'])
      self.domains = tuple(saved['domains'])
      self.event_shape = tuple(saved['event_shape'])
      self.copied_channels = dict(saved['copied_channels'])
    except RunError:
      raise
    except OSError as e:
      raise RunError(f'`run`: {path} cannot be read: {e}') from e
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as e:
      raise RunError(f'`run`: {path} is damaged or of another version: {e}'
                    ) from e

  @property
  def checkpoints(self) -> str:
    """Path of the checkpoints."""
    return os.path.join(self.directory, 'checkpoints')

  @functools.cached_property
  def facts(self) -> dict[str, dict[str, Any]]:
    """Facts about each domain's data when the run began, where known.

    See `DomainSet.describe`.

    Raises:
      RunError: If data.json is damaged.
    """
    path = os.path.join(self.directory, 'data.json')
    try:
      with open(path, encoding='utf-8') as f:
        found = json.load(f).get('domains', {})
      return {d: dict(found[d]) for d in self.domains if d in found}
    except FileNotFoundError:
      return {}
    except (AttributeError, OSError, TypeError, ValueError) as e:
      raise RunError(f'`run`: {path} is damaged: {e}') from e

  def without_labels(self) -> tuple[str, ...]:
    """Domains whose labels the run did not see, nor had a part in its splits.

    See `DomainSet.without_labels`. Where data.json is lost: none.
    """
    return tuple(
        d for d, facts in self.facts.items() if facts.get('without_labels'))

  def preparations(self) -> dict[str, preparation.Preparation]:
    """By domain, how a picture of any size becomes an image of the model."""
    return {d: dataclasses.replace(
        preparation.Preparation.of(
            {'domains': self.facts}, d, self.config.load_size),
        standard_levels=self.config.standard_levels) for d in self.domains}

  @classmethod
  def create(cls, directory: str, config: config_lib.Config,
             domains: tuple[str, ...], event_shape: tuple[int, int, int],
             copied_channels: dict[str, bool],
             description: dict[str, Any] | None = None) -> Run:
    """Makes a run directory; `config.json`, written last, makes it a run."""
    os.makedirs(directory, exist_ok=True)
    _io.write_aside(
        os.path.join(directory, 'flags.txt'), config.flag_lines())
    _io.dump(os.path.join(directory, 'data.json'), description or {})
    _io.dump(os.path.join(directory, 'config.json'), {
        'format': checkpoints_lib.FORMAT,
        'config': config.to_json(),
        'domains': list(domains),
        'event_shape': list(event_shape),
        'copied_channels': copied_channels,
    })
    return cls(directory)

  def extend(self, steps: int) -> str:
    """Gives the run more steps, in its files.

    Returns:
      Lines for a person, with the rule of the schedule.
    """
    before, config = self.config, dataclasses.replace(self.config, steps=steps)
    _io.write_aside(
        os.path.join(self.directory, 'flags.txt'), config.flag_lines())
    path = os.path.join(self.directory, 'config.json')
    with open(path, encoding='utf-8') as f:
      saved = json.load(f)
    _io.dump(path, saved | {'config': config.to_json()})
    self.config = config
    decay = round(config.decay_from * steps)
    lambdas = round(config.lambda_until * steps)
    return (
        f'Extended from {before.steps} to {steps} steps. Schedules are those '
        f'of a run of {steps} steps: the learning rates are constant up to '
        f'step {decay} and fall linearly to 0 at step {steps}' + (
            f'; the lambdas fall to 0 at step {lambdas}.' if lambdas else '.'))

  def differences(self, config: config_lib.Config) -> dict[str, Any]:
    """Settings that differ and would make it another run, (saved, given)."""
    saved, given = self.config.to_json(), config.to_json()
    return {name: (saved[name], given[name]) for name in (
        checkpoints_lib.differences(saved, given, config_lib.FREE))}

  def check_config(self, config: config_lib.Config) -> None:
    """Refuses a configuration that would make it another run.

    A run may be extended: `steps` may be larger than the run's.

    Raises:
      RunError: If a setting differs.
    """
    differences = self.differences(config)
    if config.steps > self.config.steps:
      del differences['steps']
    if differences:
      lines = '\n'.join(f'  {name}: {saved!r} in the run, {given!r} given'
                        for name, (saved, given) in differences.items())
      raise RunError(
          f'`run_dir` {self.directory!r} holds a run of another configuration:'
          f'\n{lines}\nUse another --run_dir, or leave those flags away to go '
          'on.')

  def check_data(self, domains: data.DomainSet) -> None:
    """Refuses other domains or shapes, and warns of other images.

    Raises:
      RunError: If domains or the image shape differ, or with --deterministic
        the images.
    """
    for name, saved, found in (
        ('domains', self.domains, domains.domains),
        ('image shape', self.event_shape, domains.event_shape)):
      if tuple(saved) != tuple(found):
        raise RunError(
            f'`run_dir` {self.directory!r}: the data have changed under the '
            f'run, {name} {tuple(saved)} in the run, {tuple(found)} now.')
    facts = domains.describe()['domains']
    for domain, before in self.facts.items():
      sizes, now = before['sizes'], domains.sizes[domain]
      if sizes != now:
        changed = f'images of {domain!r} {sizes} in the run, {now} now'
      elif 'files' in before and before['files'] != facts[domain].get('files'):
        changed = (f'there are as many files of {domain!r} as before, but with '
                   'other names or sizes')
      else:
        continue
      text = f'the data have changed under the run: {changed}'
      if self.config.deterministic:
        raise RunError(
            f'`run_dir` {self.directory!r}: {text}. With --deterministic, '
            'bring them back, or start another --run_dir.')
      logging.warning(
          '%s: %s. The run goes on, but with other results than it would have '
          'had.', self.directory, text)

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
      which: 'newest'; 'best', whose figure on validation data is the lowest
        (docs/training.md); or the number of its step.

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


def find(run_dir: str, writes: bool = True) -> Run | None:
  """The run in a directory, or None where one can begin.

  Args:
    run_dir: The directory, which need not exist.
    writes: Whether this process would write the run's files.

  Raises:
    RunError: If the run is damaged or of another version, or the directory
      holds other files.
    OSError: If the directory cannot be read.
  """
  if os.path.exists(os.path.join(run_dir, 'config.json')):
    return Run(run_dir)
  # A run that was killed before it began leaves these.
  if writes and os.path.isdir(run_dir) and not all(
      name in ('lock', 'flags.txt', 'data.json') or name.endswith('.partial')
      for name in os.listdir(run_dir)):
    raise RunError(
        f'`run_dir` must be new, empty, or a run, got {run_dir!r}, which holds '
        'other files.')
  return None


def load(run_dir: str, average: bool = True,
         checkpoint: str = 'newest') -> model_lib.Translates:
  """Loads the model of a run.

  Args:
    run_dir: The run directory of `python -m alignflow_tf.train`, or
      `pretrained:digits`, which comes with the package.
    average: Whether to load the moving average of the weights, which is
      evaluated and exported, or the newest weights.
    checkpoint: As in `Run.checkpoint`. Damaged newest ones are reported and
      the one before is used.

  Returns:
    The model: an `AlignFlow`, or of the system that `Config.model` names.

  Raises:
    RunError: If there is no run or no checkpoint in the directory, or its
      weights are not finite.

  Examples:
    >>> model = alignflow_tf.load('pretrained:digits')
    >>> model.domains
    ('optical', 'mnist')
  """
  run = Run(run_dir)
  path = run.checkpoint(checkpoint)
  model = baselines.get(run.config.model).build(
      run.config, run.domains, run.event_shape)
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
    where the checkpoint has none (`objective=mle`, and pretrained models), or
    where they take classes as well as images.

  Raises:
    RunError: If there is no run or no checkpoint in the directory.
  """
  run = Run(run_dir)
  path = run.checkpoint(checkpoint)
  found = dict(tf.train.list_variables(path))
  seen = [shape[1:] for name, shape in found.items() if (
      name.startswith('critics/_pools') and len(shape) == 4)]
  if not any(name.startswith('critics/networks') for name in found) or any(
      tuple(shape) != run.event_shape for shape in seen):
    return {}
  networks = critics_lib.build(run.config, run.domains, run.event_shape)
  checkpoints_lib.restore(
      tf.train.Checkpoint(critics=tf.train.Checkpoint(networks=networks)),
      path, whole=False)
  return networks.by_domain


@contextlib.contextmanager
def lock(directory: str, argument: str = 'run_dir') -> Iterator[None]:
  """Keeps a run directory to one process.

  Args:
    directory: The directory, which is there.
    argument: Name of the argument, for the message.

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

"""Checkpoints of a run: written aside, verified on reading, kept by rule."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import glob
import json
import os
import re
import shutil
from typing import Any

from absl import logging
import tensorflow as tf

from alignflow_tf import _errors
from alignflow_tf import _io
from alignflow_tf.train import config as config_lib

__all__ = [
    'Checkpoints', 'RunError', 'best', 'check_format', 'difference',
    'newest', 'prefix', 'problem', 'restore', 'steps'
]

# Format 1, of version 0.1, named variables otherwise.
FORMAT = 2
# Errors that reading a damaged file raises.
_READING = (IndexError, OSError, RuntimeError, ValueError, tf.errors.OpError)
# Errors that say nothing about the file, which may be read the next time.
_ELSEWHERE = (MemoryError, PermissionError, tf.errors.PermissionDeniedError,
              tf.errors.ResourceExhaustedError)


class RunError(_errors.UserError, ValueError):
  """A run directory that cannot be used; says why and what to do."""


def prefix(directory: str, step: int) -> str:
  """Path of the checkpoint of a step, without the endings of its files."""
  return os.path.join(directory, f'ckpt-{step}')


def steps(directory: str) -> list[int]:
  """Steps of the checkpoints in a directory, ascending."""
  try:
    names = os.listdir(directory)
  except (FileNotFoundError, NotADirectoryError):
    return []
  # TensorFlow renames the index into place last: without it, a killed process
  # left the rest.
  found = [re.fullmatch(r'ckpt-(\d+)\.index', name) for name in names]
  return sorted(int(match.group(1)) for match in found if match)


def problem(path: str) -> str:
  """Says what is wrong with a checkpoint's files; '' if they read well.

  Every tensor is read, and TensorFlow compares each with the CRC-32C that it
  was written with.

  Args:
    path: Path of a checkpoint, as of `prefix`.

  Returns:
    A line for a person, or ''.

  Raises:
    RunError: If it cannot be read for another reason than its contents.
  """
  try:
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
    _read_json(f'{path}.json')
  except _ELSEWHERE as e:
    raise RunError(
        f'`run_dir`: {path} cannot be read: {_io.first_line(e)}. Nothing was '
        'changed; mend that and start again.') from e
  except _READING as e:
    return _io.first_line(e)
  return ''


def newest(directory: str) -> str | None:
  """The newest checkpoint that reads well; damaged ones are reported.

  Args:
    directory: Directory of checkpoints; it is left as it is.

  Returns:
    Its path, or None where there is no checkpoint at all.

  Raises:
    RunError: If there are checkpoints, but all are damaged.
  """
  damaged = []
  for step in reversed(steps(directory)):
    path = prefix(directory, step)
    found = problem(path)
    if not found:
      return path
    logging.warning('%s is damaged (%s); the one before is used.', path, found)
    damaged.append(path)
  if damaged:
    raise RunError(_all_damaged(damaged))
  return None


def best(directory: str) -> str | None:
  """The checkpoint that was best on validation data, or None."""
  return _best(directory)[1]


def _best(directory: str) -> tuple[float, str | None]:
  """The lowest figure of the checkpoints in a directory, and its first one."""
  lowest, found = float('inf'), None
  for step in steps(directory):
    path = prefix(directory, step)
    with contextlib.suppress(RunError):  # Damaged: it is nobody's best.
      figure = _read_json(f'{path}.json').get('figure')
      if figure is not None and figure < lowest:
        lowest, found = figure, path
  return lowest, found


def restore(checkpoint: tf.train.Checkpoint, path: str, whole: bool) -> None:
  """Restores a checkpoint.

  Args:
    checkpoint: The objects to restore.
    path: Path of the checkpoint.
    whole: Whether the checkpoint must hold nothing else.

  Raises:
    RunError: If the file is damaged or holds something else.
  """
  try:
    status = checkpoint.restore(path)
    if whole:
      status.assert_consumed()
    else:
      status.expect_partial().assert_existing_objects_matched()
  except (AssertionError, *_READING) as e:
    raise RunError(
        f'`run_dir`: {path} is damaged or does not hold this model: '
        f'{_io.first_line(e)}.') from e


def check_format(path: str, found: Any, argument: str = 'run_dir') -> None:
  """Refuses files of another version.

  Args:
    path: Path of the file, for the message.
    found: Its format.
    argument: Name of the argument, for the message.

  Raises:
    RunError: If it is not `FORMAT`.
  """
  if found != FORMAT:
    written = ('version 0.1 of alignflow_tf' if found == 1 else
               'another version of alignflow_tf')
    raise RunError(
        f'`{argument}`: {path} has format {found}, written by {written}; this '
        f'version reads format {FORMAT}. Use that version to go on with the '
        'run, or train again in another --run_dir.')


def differences(saved: dict[str, Any], given: dict[str, Any],
                free: frozenset[str] = frozenset()) -> list[str]:
  """Names of settings in which two configurations are not the same run's.

  Of `domain`, `name:DIR` for each, only the names count: a folder may be found
  elsewhere when a run goes on.

  Args:
    saved: One configuration.
    given: The other.
    free: Settings that may differ.
  """
  def value(values: dict[str, Any], name: str) -> Any:
    found = values.get(name)
    return [d.split(':', 1)[0] for d in found or ()] if (
        name == 'domain') else found

  return [name for name in sorted((set(saved) | set(given)) - free)
          if value(saved, name) != value(given, name)]


def difference(saved: dict[str, Any], given: dict[str, Any],
               free: frozenset[str] = frozenset()) -> str:
  """Lines on settings that differ in a saved and a given configuration."""
  return '\n'.join(
      f'  {n}: {saved.get(n)!r} in the checkpoint, {given.get(n)!r} here'
      for n in differences(saved, given, free))


class Checkpoints:
  """The checkpoints that a training process writes and goes on from.

  `ckpt-<step>.json` accompanies TensorFlow's files of a step. It holds the
  configuration, versions, the figure on validation data, and the state of the
  loop. It is written first, so that there is no checkpoint without it.

  The newest ones and the best on validation data are kept, others removed.
  """

  def __init__(self, directory: str, checkpoint: tf.train.Checkpoint,
               keep: int, config: dict[str, Any],
               free: frozenset[str] = frozenset()):
    """Prepares; nothing is read or written yet.

    Args:
      directory: Directory of the checkpoints.
      checkpoint: The objects that are saved and restored.
      keep: How many of the newest are kept.
      config: The configuration, as JSON values.
      free: Settings that a run may change as it goes on.
    """
    self.directory = directory
    self._checkpoint = checkpoint
    # `restore` looks for this counter, which is made at its first use.
    self._counter = checkpoint.save_counter
    self._keep = keep
    self._config = config
    self._free = free

  def save(self, step: int, state: dict[str, Any],
           figure: float | None = None) -> str:
    """Writes a checkpoint, and removes those that need not be kept.

    Args:
      step: The step, which numbers it.
      state: The state of the loop, as JSON values.
      figure: Figure on validation data, the lower the better, where there is
        one at this step.

    Returns:
      Its path.

    Raises:
      OSError: If it cannot be written.
      tf.errors.OpError: Likewise.
    """
    os.makedirs(self.directory, exist_ok=True)
    path = prefix(self.directory, step)
    _io.dump(f'{path}.json', {
        'format': FORMAT, 'tensorflow': tf.__version__, 'step': step,
        'config': self._config, 'figure': figure, 'state': state})
    try:
      self._checkpoint.write(path)
    except (OSError, tf.errors.OpError):
      shutil.rmtree(f'{path}_temp', ignore_errors=True)
      raise
    # A machine that is preempted loses buffers that are not on its disk.
    for name in [*glob.glob(f'{glob.escape(path)}.*'), self.directory]:
      _sync(name)
    self._clean()
    return path

  def best_figure(self) -> float:
    """The best figure on validation data yet; infinity where there is none."""
    return _best(self.directory)[0]

  def restore(self, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Restores the newest checkpoint that reads well.

    Newer ones that are damaged are reported and renamed to `damaged-...`; where
    all are damaged, they stay as they are.

    Args:
      say: Takes a line for a person.

    Returns:
      The state that it was saved with, or None where there is no checkpoint.

    Raises:
      RunError: If it is of another configuration or version, or all are
        damaged.
    """
    damaged: dict[str, str] = {}
    for step in reversed(steps(self.directory)):
      path = prefix(self.directory, step)
      found = problem(path)
      if found:
        damaged[path] = found
        continue
      facts = self._facts(path)
      restore(self._checkpoint, path, whole=True)
      for bad, why in damaged.items():
        self._put_aside(bad, why, say)
      return facts['state']
    if damaged:
      raise RunError(_all_damaged(list(damaged)))
    return None

  def restore_step(self, step: int) -> dict[str, Any]:
    """Restores the checkpoint of a step that another process has chosen.

    Returns:
      The state that it was saved with.

    Raises:
      RunError: If it is not there, is damaged, or of another configuration.
    """
    path = prefix(self.directory, step)
    if step not in steps(self.directory):
      raise RunError(
          f'`run_dir`: {path}, which the first process has, is not seen by '
          'this one: all processes of a run need the same directory, on a file '
          'system that they share.')
    facts = self._facts(path)
    restore(self._checkpoint, path, whole=True)
    return facts['state']

  def _put_aside(self, path: str, why: str, say: Callable[[str], None]) -> None:
    aside = os.path.join(self.directory, 'damaged-')
    say(f'{path} is damaged ({why}): it is renamed to '
        f'{aside}{os.path.basename(path)}, and the one before is used.')
    for name in glob.glob(f'{glob.escape(path)}.*'):
      os.replace(name, aside + os.path.basename(name))

  def _facts(self, path: str) -> dict[str, Any]:
    """The JSON values of a checkpoint, checked."""
    facts = _read_json(f'{path}.json')
    check_format(path, facts.get('format', 1))
    # A setting that is new since has its default in an older checkpoint.
    saved = {**config_lib.Config().to_json(), **facts.get('config', {})}
    lines = difference(saved, self._config, self._free)
    if lines:
      raise RunError(
          f'`run_dir`: {path} is of another configuration than the run '
          f'(written with TensorFlow {facts.get("tensorflow")}):\n{lines}')
    return facts

  def _clean(self) -> None:
    found = steps(self.directory)
    kept = {best(self.directory),
            *(prefix(self.directory, s) for s in found[-self._keep:])}
    for step in found:
      if prefix(self.directory, step) not in kept:
        self._remove(step)
    for name in glob.glob(os.path.join(
        glob.escape(self.directory), 'ckpt-*_temp')):
      shutil.rmtree(name, ignore_errors=True)
    # For TensorFlow's own tools, `tf.train.latest_checkpoint` and its like.
    _io.write_aside(
        os.path.join(self.directory, 'checkpoint'),
        f'model_checkpoint_path: "ckpt-{found[-1]}"\n' + ''.join(
            f'all_model_checkpoint_paths: "ckpt-{s}"\n'
            for s in steps(self.directory)))

  def _remove(self, step: int) -> None:
    path = prefix(self.directory, step)
    # The index first: without it, the rest is no checkpoint.
    for name in [f'{path}.index', *glob.glob(f'{glob.escape(path)}.*')]:
      with contextlib.suppress(FileNotFoundError):
        os.remove(name)


def _read_json(path: str) -> dict[str, Any]:
  """Values of a JSON file; {} where there is none.

  Raises:
    RunError: If it is damaged.
  """
  try:
    with open(path, encoding='utf-8') as f:
      values = json.load(f)
    if not isinstance(values, dict):
      raise ValueError(f'holds {type(values).__name__}, not an object')
  except FileNotFoundError:
    return {}
  except ValueError as e:
    raise RunError(f'{path} is damaged: {e}') from e
  return values


def _sync(path: str) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def _all_damaged(paths: list[str]) -> str:
  return (f'`run_dir`: all checkpoints are damaged: {", ".join(paths)}. Bring '
          'them back from a copy, or start again in another --run_dir.')


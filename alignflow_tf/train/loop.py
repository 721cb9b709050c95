"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import os
import shlex
import signal
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf import bijectors
from alignflow_tf import data
from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import monitor as monitor_lib
from alignflow_tf.train import recovery
from alignflow_tf.train import runs
from alignflow_tf.train import same
from alignflow_tf.train import signals as signals_lib
from alignflow_tf.train import strategies
from alignflow_tf.train import trainer as trainer_lib
from alignflow_tf.train import validation

__all__ = ['Stopped', 'train']

# What operations that write raise where the disk or the folder is at fault.
_DISK = (
    tf.errors.DataLossError, tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError, tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError, tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError, tf.errors.UnknownError)
# Images of each domain for the initialisation.
_INITIALIZE = 256


class Stopped(Exception):
  """A run was stopped by a signal, after its checkpoint was written."""

  def __init__(self, message: str, signum: int):
    super().__init__(message)
    self.signum = signum


def train(
    config: config_lib.Config,
    run_dir: str,
    domains: data.DomainSet | None = None,
    auxiliary: trainer_lib.Auxiliary | None = None,
    team: strategies.Team | None = None,
) -> str:
  """Trains a model, or goes on with a run that was stopped.

  The same call on a run directory that holds a checkpoint goes on from it, and
  on one that is done returns at once.

  Args:
    config: The configuration.
    run_dir: Where the run's files go; made where missing.
    domains: The data, where they are loaded already (`inputs.load`).
    auxiliary: An objective beside the model's own; see `trainer.Auxiliary`.
      The same one must be given to go on with a run.
    team: The devices and processes that train, where they are known already
      (`strategies.make`); None for what the configuration and `TF_CONFIG` say.

  Returns:
    The run directory.

  Raises:
    ConfigError: If the configuration does not fit the data, or other processes
      of the run have another one.
    DataError: If the data cannot be had, or other processes of the run have
      others.
    RunError: If the directory holds a run of another configuration, another
      process trains in it, it cannot be written to, memory does not suffice,
      numbers are not finite, again and again, or another process of the run
      was lost.
    Stopped: If the run was stopped by SIGTERM or Ctrl-C, after a checkpoint.
  """
  run_dir = os.path.expanduser(run_dir)
  if not run_dir or os.path.exists(run_dir) and not os.path.isdir(run_dir):
    raise runs.RunError(
        f'`run_dir` must be a directory, or a name for a new one, got '
        f'{run_dir!r}.')
  try:
    if team is None:
      team = strategies.make(config)
    return _together(config, run_dir, domains, auxiliary, team)
  except strategies.Lost as e:
    saved = checkpoints_lib.steps(os.path.join(run_dir, 'checkpoints'))
    there = f'its checkpoint of step {saved[-1]}' if saved else 'the beginning'
    raise runs.RunError(
        f'{e}, so this one ends as well. Start the same command on all of them '
        f'again: the run goes on from {there}.') from e
  finally:
    # A process that trains again and again would keep all steps' graphs.
    bijectors.clear_cache()


def _together(
    config: config_lib.Config,
    run_dir: str,
    domains: data.DomainSet | None,
    auxiliary: trainer_lib.Auxiliary | None,
    team: strategies.Team,
) -> str:
  # A team may have been made with another configuration than this one.
  strategies.check_flags(config, team)
  exists = os.path.exists(os.path.join(run_dir, 'config.json'))
  copied: dict[str, bool] | None = None
  if exists:
    run = runs.Run(run_dir)
    same.check_configuration(run, config)
    copied = run.copied_channels
  elif team.chief and os.path.isdir(run_dir) and not all(
      # What a run leaves that was killed before it began.
      name in ('lock', 'flags.txt', 'data.json') or name.endswith('.partial')
      for name in _names(run_dir)):
    raise runs.RunError(
        f'`run_dir` must be new, empty, or a run, got {run_dir!r}, which holds '
        'other files.')
  if domains is None:
    domains = inputs.load(config, batch_size=config.batch_size)
  inputs.check(config, domains)
  same.check_data_of_all(domains, team)
  if exists:
    same.check_data(run, domains)
  keras.utils.set_random_seed(config.seed)
  if config.deterministic:
    tf.config.experimental.enable_op_determinism()
  with _without_graph_optimizer():
    # Processes agree on the value of each variable as it is made.
    trainer = team.call(
        trainer_lib.Trainer, config, domains.domains, domains.event_shape,
        domains.grey_copied if copied is None else copied, auxiliary,
        team.strategy)
    # Nothing stands in the run directory before all the above went well.
    with _writing(run_dir), contextlib.ExitStack() as stack:
      if team.chief:
        os.makedirs(run_dir, exist_ok=True)
        stack.enter_context(runs.lock(run_dir))
        if not os.path.exists(os.path.join(run_dir, 'config.json')):
          _create(config, run_dir, domains)
        elif not exists:  # Another run began there meanwhile.
          run = runs.Run(run_dir)
          same.check_configuration(run, config)
          same.check_data(run, domains)
      _train(config, run_dir, domains, trainer, team)
  return run_dir


def _names(run_dir: str) -> list[str]:
  with _writing(run_dir):
    return os.listdir(run_dir)


def _create(config: config_lib.Config, run_dir: str,
            domains: data.DomainSet) -> None:
  runs.Run.create(run_dir, config, domains.domains, domains.event_shape,
                  domains.grey_copied, domains.describe())


@contextlib.contextmanager
def _writing(run_dir: str) -> Iterator[None]:
  """Turns what the machine lacks into an error that says what would do."""
  again = 'the same command then goes on from the last checkpoint.'
  try:
    yield
  except (OSError, tf.errors.OpError) as e:
    text = f'{type(e).__name__}: {checkpoints_lib.first_line(e)}'
    if isinstance(e, tf.errors.ResourceExhaustedError) and (
        'No space left' not in str(e)):
      raise runs.RunError(
          f'memory does not suffice ({text}). In another --run_dir, lower '
          '--batch_size, --image_size, --width or --num_blocks, or try '
          f'--precision=mixed_bfloat16; if others used the memory, {again}'
      ) from e
    # Errors of operations that do not come from the disk are ours.
    if isinstance(e, tf.errors.OpError) and not isinstance(e, _DISK):
      raise
    raise runs.RunError(
        f'`run_dir` {run_dir!r} cannot be written to ({text}). Make room, or '
        f'make it writable; {again}') from e


@contextlib.contextmanager
def _reading() -> Iterator[None]:
  """Turns what reading images raises into an error that says what would do."""
  try:
    yield
  except tf.errors.OpError as e:
    raise data.DataError(
        f'images cannot be read any more: {checkpoints_lib.first_line(e)}. '
        'Bring the data back, or leave such pictures out by --skip_unreadable; '
        'the same command then goes on.') from e


@contextlib.contextmanager
def _without_graph_optimizer() -> Iterator[None]:
  """Turns grappler off: it costs seconds at the first step and gains nothing.

  Measured: see docs/performance.md.
  """
  before = tf.config.optimizer.get_experimental_options()
  tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
  try:
    yield
  finally:
    tf.config.optimizer.set_experimental_options(
        {'disable_meta_optimizer': before.get('disable_meta_optimizer', False)})


def _train(config: config_lib.Config, run_dir: str, domains: data.DomainSet,
           trainer: trainer_lib.Trainer, team: strategies.Team) -> None:
  checkpoints = checkpoints_lib.Checkpoints(
      os.path.join(run_dir, 'checkpoints'), trainer.checkpoint(),
      config.keep_checkpoints, config.to_json(), runs.FREE, recovery.sound)
  state = _restore(team, trainer, checkpoints, print)
  with monitor_lib.Monitor(run_dir, config.steps, config.images_per_step(
  ) * len(domains.domains), int(trainer.step.numpy())) if team.chief else (
      monitor_lib.Silent()) as monitor:
    run = _Loop(config, run_dir, domains, trainer, checkpoints, monitor, team)
    if state is not None:
      run.resume(state)
      monitor.say(f'Going on from step {trainer.step.numpy()} in {run_dir}.')
    if int(trainer.step.numpy()) >= config.steps:
      monitor.say(f'{run_dir} is done: {config.steps} steps.')
      return
    if state is None:
      if team.chief:
        with _reading():
          first = next(iter(domains.train_batches(
              min(_INITIALIZE, *(s['train'] for s in domains.sizes.values())),
              seed=config.seed)))
        trainer.initialize({d: first[d]['image'] for d in domains.domains})
        # What a run can go back to, and a disk that cannot be written is found
        # out about now.
        run.save(0)
      team.wait()
      if not team.chief:
        checkpoints.restore_step(0)
    monitor.say(domains.summary())
    monitor.say(
        f'Training {config.dataset} for {config.steps} steps in {run_dir}; '
        'the first step takes a while.')
    with signals_lib.Signals() as signals:
      run(signals)
    # The first process writes last, and the others are not to be missed.
    team.wait()
    if run.stopped or signals.received is not None:
      raise Stopped(
          f'Stopped at step {trainer.step.numpy()}, which is saved. Go on with:'
          f' python -m alignflow_tf.train --run_dir={shlex.quote(run_dir)}',
          signals.received or signal.SIGTERM)


def _restore(
    team: strategies.Team, trainer: trainer_lib.Trainer,
    checkpoints: checkpoints_lib.Checkpoints, say: Callable[[str], None],
    good: Callable[[dict[str, Any]], bool] = lambda state: True,
) -> dict[str, Any] | None:
  """`Checkpoints.restore` by the first process, and the same in the others."""
  state = checkpoints.restore(say, good) if team.chief else None
  found = team.tell(0 if state is None else 1 + int(trainer.step.numpy()))
  if found and not team.chief:
    state = checkpoints.restore_step(found - 1)
  team.wait()  # Until then, no checkpoint may be removed.
  return state


class _Loop:
  """Steps, and what is done between them.

  Attributes:
    stopped: Whether a signal, to any of the processes, ended the steps.
  """

  def __init__(self, config: config_lib.Config, run_dir: str,
               domains: data.DomainSet, trainer: trainer_lib.Trainer,
               checkpoints: checkpoints_lib.Checkpoints,
               monitor: monitor_lib.Monitor, team: strategies.Team):
    self.stopped = False
    self._team = team
    self._config = config
    self._run_dir = run_dir
    self._domains = domains
    self._trainer = trainer
    self._checkpoints = checkpoints
    self._monitor = monitor
    self._watch = recovery.Watch(config, trainer.model)
    self._validation = validation.Validation(
        domains, trainer, run_dir, self._watch)
    self._skips = recovery.Skips(config.skip_limit)
    # Scalars of the steps since the last line of `metrics.jsonl`. They are
    # saved too: a line after a stop is the one it would have been without.
    self._recent: list[dict[str, Any]] = []
    # Whether a signal came before the validation of the last step.
    self._due = False

  def resume(self, state: dict[str, Any]) -> None:
    """Takes over what a checkpoint was saved with."""
    self._skips = recovery.Skips(self._config.skip_limit, state)
    self._watch.resume(state)
    self._due = bool(state.get('due'))
    self._trainer.rate_factor.assign(self._skips.rate)
    self._recent = [
        {k: float('nan') if v is None else v for k, v in values.items()}
        for values in state.get('recent', ())]

  def save(self, step: int, figure: float | None = None) -> None:
    """Writes a checkpoint, in the first process."""
    if not self._team.chief:
      return
    self._recent = [{k: float(v) for k, v in values.items()}
                    for values in self._recent]
    if not os.path.exists(os.path.join(self._run_dir, 'config.json')):
      self._monitor.say(f'{self._run_dir} was removed: it is made anew.')
      _create(self._config, self._run_dir, self._domains)
      self._monitor.rewind(step)
    self._monitor.flush()
    self._checkpoints.save(
        step, self._skips.state() | self._watch.state() | {
            'recent': self._recent, 'due': self._due}, figure)

  def __call__(self, signals: signals_lib.Signals) -> None:
    """Trains to the end, or until a signal.

    Raises:
      RunError: If numbers are not finite, again and again.
    """
    while True:
      try:
        self._steps(signals)
        return
      except recovery.NotFinite as e:
        self._go_back(str(e))

  def _go_back(self, why: str) -> None:
    trainer, skips = self._trainer, self._skips
    failed = int(trainer.step.numpy())
    why = f'At step {failed}, {why}'
    state = None
    if skips.rollbacks < self._config.max_rollbacks:
      state = _restore(self._team, trainer, self._checkpoints,
                       self._monitor.say, recovery.sound)
    if state is None:
      if not self._team.chief:
        raise runs.RunError(f'{why}. The first process reports on it.')
      raise runs.RunError(self._report(
          failed, f'{why}, after going back {skips.rollbacks} times'))
    skips.back()
    self.resume(state | skips.state())
    step = int(trainer.step.numpy())
    if self._team.chief:
      self._checkpoints.drop_after(step)
    self._monitor.done()
    self._monitor.rewind(step)
    self._monitor.say(
        f'{why}. Going back to step {step} with rates times {skips.rate:g} '
        f'({skips.rollbacks} of at most {self._config.max_rollbacks} times).')

  def _report(self, step: int, why: str) -> str:
    trainer = self._trainer
    batch = next(self._stream(step - 1, whole=True))
    trainer.step.assign(step - 1)
    return recovery.report(
        os.path.join(self._run_dir, 'not_finite'), step, self._config.seed, why,
        trainer.diagnose(batch), {d: x.numpy() for d, x in batch.items()})

  def _stream(self, start: int,
              whole: bool = False) -> Iterator[dict[str, tf.Tensor]]:
    """Batches from a step on: this process's part of them, or the whole."""
    config = self._config
    number, size = config.images_per_step(), config.batch_size
    batches = iter(self._domains.train_batches(
        number, seed=config.seed, start_step=start,
        labels=self._trainer.labels,
        rows=None if whole else self._team.rows(size, number // size)))
    while True:
      with _reading():
        batch = next(batches)
      yield {d: b['image'] for d, b in batch.items()} | {
          f'{d}/label': batch[d]['label'] for d in self._trainer.labels}

  def _steps(self, signals: signals_lib.Signals) -> None:
    config, trainer, monitor = self._config, self._trainer, self._monitor
    begin = time.monotonic()
    start = int(trainer.step.numpy())
    if self._due:
      self.save(start, self._validate(start))
    stream = self._stream(start)
    for step in range(start + 1, config.steps + 1):
      try:
        batch = next(stream)
      except data.DataError:
        self.save(step - 1)
        raise
      values = self._team.call(trainer.train_step, batch)
      self._recent.append(values)
      if step == start + 1:
        monitor.say(f'First step after {time.monotonic() - begin:.1f} s.')
        monitor.start(step)
      if step % config.log_every == 0 or step == config.steps:
        self._log(step)
      self._skips.add(step, values['skipped'])
      stop = self.stopped = bool(
          self._team.total(int(signals.received is not None)))
      figure = None
      if step % config.eval_every == 0 or step == config.steps:
        self._due = stop and step < config.steps
        if not self._due:
          try:
            figure = self._validate(step)
          except data.DataError:
            self._due = True
            self.save(step)
            raise
      if step % config.checkpoint_every == 0 or stop or (
          step == config.steps) or (
              figure is not None and figure < self._checkpoints.best_figure()):
        self.save(step, figure)
        monitor.start(step)
      if stop:
        break
    monitor.done()

  def _validate(self, step: int) -> float | None:
    self._due = False
    if not self._team.chief:
      return None
    self._monitor.done()
    with _reading():
      self._validation.read()
    found = self._validation(step, self._monitor)
    self._monitor.scalars(step, found)
    self._monitor.start(step)
    return _figure(self._config, found)

  def _log(self, step: int) -> None:
    config = self._config
    recent, self._recent = self._recent, []
    if not self._team.chief:
      return
    values = _mean(recent)
    values['skipped_steps'] = float(self._trainer.skipped.numpy())
    values |= self._monitor.progress(step, values)
    values['learning_rate'] = self._skips.rate * (
        config.learning_rate * config.learning_rate_multiplier(step))
    self._monitor.scalars(step, values)


def _figure(config: config_lib.Config,
            values: dict[str, float]) -> float | None:
  """By which checkpoints are compared: mean bits/dim on validation images.

  None where the likelihood is not trained to the end: it says nothing there.
  """
  bits = [v for k, v in values.items() if '/bits_per_dim/' in k]
  if not config.keeps_likelihood or not bits:
    return None
  mean = float(np.mean(bits))
  return mean if np.isfinite(mean) else None


def _mean(values: list[dict[str, tf.Tensor]]) -> dict[str, float]:
  """Means over steps, of finite values where there are some."""
  result = {}
  for name in values[0]:
    numbers = np.asarray([float(v[name]) for v in values])
    finite = numbers[np.isfinite(numbers)]
    result[name] = float(finite.mean()) if finite.size else float('nan')
  return result

"""Training of a run: from its configuration to its last checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
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
from alignflow_tf.train import auxiliary as auxiliary_lib
from alignflow_tf.train import checkpoints as checkpoints_lib
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import divergence
from alignflow_tf.train import faults
from alignflow_tf.train import inputs
from alignflow_tf.train import monitor as monitor_lib
from alignflow_tf.train import recent
from alignflow_tf.train import runs
from alignflow_tf.train import signals as signals_lib
from alignflow_tf.train import strategies
from alignflow_tf.train import trainer as trainer_lib
from alignflow_tf.train import unpaired
from alignflow_tf.train import validation
from alignflow_tf.train import warm_start

# Images of each domain for the initialisation.
_INITIALIZE = 256

Stopped = signals_lib.Stopped


def train(
    config: config_lib.Config,
    run_dir: str,
    domains: data.DomainSet | None = None,
    auxiliary: auxiliary_lib.Auxiliary | None = None,
    team: strategies.Team | None = None,
) -> str:
  """Trains a model, or goes on with a run that was stopped.

  The same call on a run directory that holds a checkpoint goes on from it, and
  on one that is done returns at once.

  ```python
  loop.train(config_lib.resolve('cpu', dataset='digits'), 'runs/digits')
  model = alignflow_tf.load('runs/digits')
  ```

  Args:
    config: The configuration.
    run_dir: Directory for the run's files; made where missing.
    domains: The data, where they are loaded already (`inputs.load`).
    auxiliary: An additional objective; see `train.auxiliary.Auxiliary`. To go
      on with a run, the same one must be given.
    team: The devices and processes that train, where they are known already
      (`strategies.make`); None for those of the configuration and `TF_CONFIG`.

  Returns:
    The run directory.

  Raises:
    ConfigError: If the configuration does not fit the data, or other processes
      of the run have another one.
    DataError: If the data cannot be read, or other processes of the run have
      others.
    RunError: If the directory cannot be used (it holds a run of another
      configuration, another process trains in it, or it cannot be written to),
      or the run cannot go on (memory does not suffice, the GPU fails, too many
      steps were not finite, or another process of the run was lost).
    Stopped: If the run was stopped by SIGTERM or Ctrl-C, after a checkpoint.
  """
  run_dir = os.path.expanduser(run_dir)
  if not run_dir or run_dir.startswith('pretrained:') or (
      os.path.exists(run_dir) and not os.path.isdir(run_dir)):
    raise runs.RunError(
        '`run_dir` must be a directory, or a name for a new one, got '
        f'{run_dir!r} (--init_from starts from a pretrained model).')
  try:
    with faults.computing():
      team = team or strategies.make(config)
      _run(config, run_dir, domains, auxiliary, team)
    return run_dir
  except strategies.Lost as e:
    saved = checkpoints_lib.steps(os.path.join(run_dir, 'checkpoints'))
    there = f'its checkpoint of step {saved[-1]}' if saved else 'the beginning'
    raise runs.RunError(
        f'{e}, so this one ends as well. Start the same command on all of them '
        f'again: the run goes on from {there}.') from e
  finally:
    # A process that trains again and again would keep all steps' graphs.
    bijectors.clear_cache()


def _run(
    config: config_lib.Config, run_dir: str, domains: data.DomainSet | None,
    auxiliary: auxiliary_lib.Auxiliary | None, team: strategies.Team) -> None:
  """Checks the arguments, builds the trainer and opens the run directory."""
  with faults.writing(run_dir):
    run = runs.find(run_dir, writes=team.chief)
  if run is not None:
    run.check_config(config)
  if domains is None:
    domains = inputs.load(config, batch_size=config.batch_size)
  inputs.check(config, domains)
  strategies.check_data(domains, team)
  if run is not None:
    run.check_data(domains)
  keras.utils.set_random_seed(config.seed)
  if config.deterministic:
    tf.config.experimental.enable_op_determinism()
  with _without_graph_optimizer(), contextlib.ExitStack() as stack:
    # Processes agree on the value of each variable as it is made.
    trainer = team.call(
        trainer_lib.Trainer, config, domains.domains, domains.event_shape,
        run.copied_channels if run is not None else domains.grey_copied,
        auxiliary, team.strategy)
    if team.chief:
      # Nothing stands in the run directory before all the above went well.
      with faults.writing(run_dir):
        os.makedirs(run_dir, exist_ok=True)
        stack.enter_context(runs.lock(run_dir))
        if not os.path.exists(os.path.join(run_dir, 'config.json')):
          _create(config, run_dir, domains)
      if run is None:  # Another process may have begun one meanwhile.
        run = runs.Run(run_dir)
        run.check_config(config)
        run.check_data(domains)
      if config.steps > run.config.steps:
        with faults.writing(run_dir):
          print(run.extend(config.steps))
    _Loop(config, run_dir, domains, trainer, team).run()


def _create(config: config_lib.Config, run_dir: str,
            domains: data.DomainSet) -> None:
  runs.Run.create(run_dir, config, domains.domains, domains.event_shape,
                  domains.grey_copied, domains.describe())


@contextlib.contextmanager
def _without_graph_optimizer() -> Iterator[None]:
  """Turns grappler off: it costs seconds at the first step and gains nothing.

  Measured: see docs/results/performance_log.md.
  """
  before = tf.config.optimizer.get_experimental_options()
  tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
  try:
    yield
  finally:
    tf.config.optimizer.set_experimental_options(
        {'disable_meta_optimizer': before.get('disable_meta_optimizer', False)})


def _batches(config: config_lib.Config, domains: data.DomainSet, start: int,
             labels: tuple[str, ...], team: strategies.Team
            ) -> Iterator[dict[str, tf.Tensor]]:
  """This process's part of each step's images and labels, from a step on."""
  number = config.images_per_step()
  batches = iter(domains.train_batches(
      number, seed=config.seed, start_step=start, labels=labels,
      rows=team.rows(number)))
  while True:
    with faults.reading():
      batch = next(batches)
    yield {d: b['image'] for d, b in batch.items()} | {
        f'{d}/label': batch[d]['label'] for d in labels}


class _Loop:
  """Steps, and the work between them: logs, validations and checkpoints."""

  def __init__(self, config: config_lib.Config, run_dir: str,
               domains: data.DomainSet, trainer: trainer_lib.Trainer,
               team: strategies.Team):
    self._config = config
    self._run_dir = run_dir
    self._domains = domains
    self._trainer = trainer
    self._team = team
    self._checkpoints = checkpoints_lib.Checkpoints(
        os.path.join(run_dir, 'checkpoints'), trainer.checkpoint(),
        config.keep_checkpoints, config.to_json(),
        # `Run.check_config` has checked the steps.
        config_lib.FREE | {'steps'})
    self._watch = divergence.Watch(config, trainer.model)
    self._validation = validation.Validation(
        domains, trainer, run_dir, self._watch)
    self._skips = divergence.Skips(config.skip_limit)
    self._monitor: monitor_lib.Monitor = monitor_lib.Silent()
    self._recent = recent.Recent()
    # Whether a signal came before the validation of the last step.
    self._due = False

  def run(self) -> None:
    """Trains from the newest checkpoint, or from the beginning, to the end."""
    config, trainer, team = self._config, self._trainer, self._team
    state = self._restore()
    start = int(trainer.step.numpy())
    if team.chief:
      with faults.writing(self._run_dir):
        self._monitor = monitor_lib.Monitor(
            self._run_dir, config.steps,
            config.images_per_step() * len(self._domains.domains), start)
    with self._monitor as monitor:
      if state is None:
        self._initialize()
      else:
        monitor.say(f'Going on from step {start} in {self._run_dir}.')
      if start >= config.steps:
        monitor.say(f'{self._run_dir} is done: {config.steps} steps.')
        return
      monitor.say(self._domains.summary())
      monitor.say(
          f'Training {config.dataset} for {config.steps} steps in '
          f'{self._run_dir}; the first step takes up to a minute.')
      with signals_lib.Signals() as signals:
        stopped = self._steps(start, signals)
      # The first process writes last, and the others wait for it.
      team.wait()
      if stopped or signals.received is not None:
        raise Stopped(
            f'Stopped at step {trainer.step.numpy()}, which is saved. Go on '
            'with: python -m alignflow_tf.train '
            f'--run_dir={shlex.quote(self._run_dir)}',
            signals.received or signal.SIGTERM)

  def _restore(self) -> dict[str, Any] | None:
    """Restores the first process's newest checkpoint, in all processes."""
    team, checkpoints = self._team, self._checkpoints
    state = checkpoints.restore(print) if team.chief else None
    found = team.total(
        0 if state is None else 1 + int(self._trainer.step.numpy()))
    if found and not team.chief:
      state = checkpoints.restore_step(found - 1)
    team.wait()  # Until then, no checkpoint may be removed.
    if state is not None:
      self._skips = divergence.Skips(self._config.skip_limit, state)
      self._watch.resume(state)
      self._due = bool(state.get('due'))
      self._recent.restore(state.get('recent', ()))
    return state

  def _initialize(self) -> None:
    """Sets data-dependent weights in the first process, and shares them."""
    if self._team.chief:
      sizes = (n['train'] for n in self._domains.sizes.values())
      with faults.reading():
        first = next(iter(self._domains.train_batches(
            min(_INITIALIZE, *sizes), seed=self._config.seed)))
      self._trainer.initialize({d: first[d]['image'] for d in first})
      if self._config.init_from:
        self._monitor.say(
            warm_start.start_from(self._config.init_from, self._trainer,
                                  self._config))
      # A disk that cannot be written to is found out about now.
      self._save(0)
    self._team.wait()
    if not self._team.chief:
      self._checkpoints.restore_step(0)

  def _steps(self, start: int, signals: signals_lib.Signals) -> bool:
    """Trains from a step on; returns whether a signal ended it."""
    config, monitor = self._config, self._monitor
    begin = time.monotonic()
    if self._due:
      self._save(start, self._validate(start))
    batches = _batches(
        config, self._domains, start, self._trainer.labels, self._team)
    stop, of_trunk = False, 0.
    for step in range(start + 1, config.steps + 1):
      last = step == config.steps
      with self._saved_on_bad_data(step - 1):
        batch = next(batches)
      steps = [self._trainer.trunk_step] if step <= config.trunk_steps else (
          self._trainer.train_steps)
      values = self._team.call(steps[step % len(steps)], batch)
      self._recent.add(values)
      if step == config.trunk_steps:
        of_trunk = time.monotonic() - begin
        monitor.say(f'The trunk took {of_trunk:.0f} s for {step - start} '
                    'steps; the adapters follow.')
      if step == start + 1:
        monitor.say(f'First step after {time.monotonic() - begin:.1f} s.')
        monitor.start(step)
      if step % config.log_every == 0 or last:
        self._log(step)
      self._count_skips(step, values)
      stop = bool(self._team.total(int(signals.received is not None)))
      figure = None
      if step % config.eval_every == 0 or last:
        self._due = True
        if last or not stop:
          with self._saved_on_bad_data(step):
            figure = self._validate(step)
      if step % config.checkpoint_every == 0 or stop or last or (
          figure is not None and figure < self._checkpoints.best_figure()):
        self._save(step, figure)
        monitor.start(step)
      if stop:
        break
    monitor.done()
    if of_trunk and not stop:
      monitor.say('The trunk took '
                  f'{of_trunk / (time.monotonic() - begin):.0%} of the time.')
    return stop

  @contextlib.contextmanager
  def _saved_on_bad_data(self, step: int) -> Iterator[None]:
    """Writes a checkpoint where images cannot be read any more."""
    try:
      yield
    except data.DataError:
      self._save(step)
      raise

  def _count_skips(self, step: int, values: dict[str, tf.Tensor]) -> None:
    try:
      self._skips.add(step, values)
    except divergence.NotFinite as e:
      self._monitor.done()
      saved = checkpoints_lib.newest(self._checkpoints.directory)
      raise runs.RunError(
          f'At step {step}, {e}. {saved} is the newest checkpoint; its weights '
          'are finite. If the images are as they should be, start another '
          '--run_dir with a lower --learning_rate or --clip_norm, or with '
          '--precision=float32.') from e

  def _validate(self, step: int) -> float | None:
    """Validates in the first process; returns the figure of the checkpoint."""
    found = None
    if self._team.chief:
      self._monitor.done()
      with faults.reading():
        self._validation.read()
      values = self._validation(step, self._monitor)
      with faults.writing(self._run_dir):
        self._monitor.scalars(step, values)
      self._monitor.start(step)
      found = _figure(self._config, step, values)
    self._due = False
    return found

  def _log(self, step: int) -> None:
    values = self._recent.take()
    if not self._team.chief:
      return
    values['skipped_steps'] = float(self._trainer.skipped.numpy())
    values |= self._monitor.progress(step, values)
    every = self._config.eval_every
    self._monitor.announce_pictures(
        step, (self._config.trunk_steps // every + 1) * every)
    with faults.writing(self._run_dir):
      self._monitor.scalars(step, values)

  def _save(self, step: int, figure: float | None = None) -> None:
    """Writes a checkpoint, in the first process."""
    if not self._team.chief:
      return
    state = self._skips.state() | self._watch.state() | {
        'recent': self._recent.state(), 'due': self._due}
    with faults.writing(self._run_dir):
      if not os.path.exists(os.path.join(self._run_dir, 'config.json')):
        self._monitor.say(f'{self._run_dir} was removed: it is made again.')
        _create(self._config, self._run_dir, self._domains)
        self._monitor.reopen(step)
      self._monitor.flush()
      self._checkpoints.save(step, state, figure)


def _figure(config: config_lib.Config, step: int,
            values: dict[str, float]) -> float | None:
  """The figure by which checkpoints are compared, on validation images.

  It is `unpaired.FIGURE`; with `objective=mle`, where translations are not
  trained, mean bits/dim. None before they are
  trained, and where it is not finite.
  """
  if step <= config.trunk_steps:
    return None
  figure = float(np.mean([v for k, v in values.items() if '/bits_per_dim' in k])
                 ) if config.objective == 'mle' else values[unpaired.FIGURE]
  return figure if np.isfinite(figure) else None

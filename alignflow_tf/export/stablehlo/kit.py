"""Writes a kit: programs, initial state and data, run by JAX and NumPy alone.

```
manifest.json           names, shapes, types; which result updates which tensor
programs/NAME.PRECISION.mlirbc.gz
                        StableHLO, portable artifacts of version 1.0
state.npz               the initial state, without constants and random draws
data.npz                uint8 images by split and domain
run.py                  the command
runner/                 a copy of the package `runner` in this folder
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import functools
import gzip
import itertools
import json
import os
import pathlib
import re
import shutil
from typing import Any

import numpy as np
import tensorflow as tf

from alignflow_tf import _errors
from alignflow_tf import data
from alignflow_tf import model as model_lib
from alignflow_tf.export.stablehlo import lower
from alignflow_tf.train import checkpoints
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import trainer as trainer_lib

FORMAT = 2
# Names, and the configuration's precision and whether TF32 is on.
PRECISIONS: Mapping[str, tuple[str, bool]] = {
    'float32': ('float32', False),
    'tf32': ('float32', True),
    'bfloat16': ('mixed_bfloat16', True),
}
# Larger tensors are stored as distributions where they were drawn from one.
_STORED = 4096
# Images that activation normalisation is initialised from, as in training.
_INITIALIZE = 256

_RUN = '''"""Trains and translates with this kit: python run.py --help."""

from runner import command

command.main()
'''


class KitError(_errors.UserError, ValueError):
  """A kit that cannot be written; says which argument and why."""


def write(
    config: config_lib.Config,
    domains: data.DomainSet,
    output: str,
    precisions: Sequence[str] = ('float32',),
    compact: bool = True,
    checkpoint: str | None = None,
) -> str:
  """Writes a kit.

  Args:
    config: The configuration of the training step.
    domains: The data, which the kit holds as uint8 images.
    output: Directory of the kit, which must not be there yet.
    precisions: Names of `PRECISIONS`: `float32` with TF32 off, `tf32`, and
      `bfloat16` networks. A program of each is written for each.
    compact: Whether a large tensor that was drawn from a normal distribution is
      stored as that distribution. A run from such a kit starts from other draws
      than TensorFlow's.
    checkpoint: Path of a run's checkpoint to go on from; None for the initial
      weights.

  Raises:
    KitError: If a precision is unknown, the directory is there, or the steps
      translate in turns.
    ConfigError: If the architecture does not fit the images.
  """
  unknown = [p for p in precisions if p not in PRECISIONS]
  if unknown or not precisions:
    raise KitError(
        f'`precisions` must be of {tuple(PRECISIONS)}, got '
        f'{tuple(precisions)}.')
  output = os.path.abspath(os.path.expanduser(output))
  if os.path.exists(output):
    raise KitError(
        f'`output` must be a new directory, got {output!r}, which is there.')
  if len(domains.domains) > 2 and config.directions != 'all':
    raise KitError(
        "`directions` must be 'all' where there are more than two domains, "
        f'since a kit has one set of directions, got {config.directions!r}.')
  partial = f'{output}.partial'
  shutil.rmtree(partial, ignore_errors=True)
  os.makedirs(os.path.join(partial, 'programs'))
  manifest: dict[str, Any] = {}
  for network in dict.fromkeys(PRECISIONS[p][0] for p in precisions):
    trainer = _trainer(config, domains, network, checkpoint)
    with _tf32_off():
      programs = _programs(trainer, config, domains)
    interface, captures = _interface(programs)
    for precision in precisions:
      if PRECISIONS[precision][0] == network:
        for name, (program, _) in programs.items():
          path = os.path.join(
              partial, 'programs', f'{name}.{precision}.mlirbc.gz')
          with gzip.open(path, 'wb') as f:
            f.write(lower.serialize(program, PRECISIONS[precision][1]))
    if not manifest:
      values = [_value(tensor) for tensor in captures]
      manifest = {
          'format': FORMAT,
          'config': config.to_json(),
          'domains': list(domains.domains),
          'event_shape': list(domains.event_shape),
          'images_per_step': config.images_per_step(),
          'batch_size': config.batch_size,
          'paired': domains.paired,
          'step': int(trainer.step),
          'steps': _steps(config),
          'programs': interface,
      }
      stored = _state(
          captures, values, _names(trainer), config.seed if compact else None,
          manifest)
      _save(os.path.join(partial, 'state.npz'), stored)
    elif interface != manifest['programs']:
      raise KitError(
          f'The programs of {network!r} and {config.precision!r} differ in more'
          ' than their arithmetic.')
  manifest['precisions'] = list(precisions)
  _save(os.path.join(partial, 'data.npz'), {
      f'{split}/{d}': domains.arrays(d, split)['image']
      for split in ('train', 'validation', 'test') for d in domains.domains
      if domains.sizes[d].get(split)})
  shutil.copytree(
      pathlib.Path(__file__).with_name('runner'),
      os.path.join(partial, 'runner'),
      ignore=shutil.ignore_patterns('__pycache__'))
  with open(os.path.join(partial, 'run.py'), 'w', encoding='utf-8') as f:
    f.write(_RUN)
  with open(os.path.join(partial, 'manifest.json'), 'w', encoding='utf-8') as f:
    json.dump(manifest, f, indent=1)
  os.rename(partial, output)
  return output


def _save(path: str, arrays: dict[str, Any]) -> None:
  np.savez_compressed(path, allow_pickle=False, **arrays)


def _trainer(
    config: config_lib.Config, domains: data.DomainSet, network: str,
    checkpoint: str | None,
) -> trainer_lib.Trainer:
  """A trainer in its initial state, or in the one to go on from."""
  config = dataclasses.replace(
      config, xla=True, precision=network, strategy='default')
  trainer = trainer_lib.Trainer(
      config, domains.domains, domains.event_shape, domains.grey_copied)
  if checkpoint is not None:
    checkpoints.restore(trainer.checkpoint(), checkpoint, whole=False)
    return trainer
  first = next(iter(domains.train_batches(
      min(_INITIALIZE, *(s['train'] for s in domains.sizes.values())),
      seed=config.seed)))
  trainer.initialize({d: first[d]['image'] for d in domains.domains})
  return trainer


@contextlib.contextmanager
def _tf32_off() -> Any:
  """Lowers products with their full precision asked for."""
  experimental = tf.config.experimental
  before = experimental.tensor_float_32_execution_enabled()
  experimental.enable_tensor_float_32_execution(False)
  try:
    yield
  finally:
    experimental.enable_tensor_float_32_execution(before)


def _programs(
    trainer: trainer_lib.Trainer, config: config_lib.Config,
    domains: data.DomainSet,
) -> dict[str, tuple[lower.Program, list[tuple[str, tf.TensorSpec]]]]:
  """By name, each program and its arguments' names and specs."""
  model = trainer.average
  shape = domains.event_shape
  levels = tf.TensorSpec([config.images_per_step(), *shape], tf.uint8)
  batch = {d: levels for d in domains.domains}
  images = tf.TensorSpec([config.batch_size, *shape], tf.float32)
  programs = {
      entry['program']: (
          lower.lower(getattr(trainer, entry['program']), [batch]),
          [(d, levels) for d in sorted(batch)])
      for entry in _steps(config)}
  functions: dict[str, tuple[str, Callable[[tf.Tensor], tf.Tensor]]] = {
      f'translate_{s}_to_{t}': ('images', model.translator(s, t).forward)
      for s, t in itertools.permutations(domains.domains, 2)}
  for d in domains.domains:
    if isinstance(model, model_lib.HasLatents):
      functions[f'encode_{d}'] = (
          'images', functools.partial(model.encode, domain=d))
      functions[f'decode_{d}'] = (
          'latents', functools.partial(model.decode, domain=d))
    if isinstance(model, model_lib.HasDensity):
      functions[f'log_prob_{d}'] = ('images', model[d].log_prob)
  for name, (argument, function) in functions.items():
    programs[name] = (
        lower.lower(_compiled(function), [images]), [(argument, images)])
  return programs


def _steps(config: config_lib.Config) -> list[dict[str, Any]]:
  """Programs of training in their order, and the step that each ends with."""
  steps = [{'program': 'trunk_step', 'until': config.trunk_steps},
           {'program': 'train_step', 'until': config.steps}]
  return steps if config.trunk_steps else steps[1:]


def _compiled(function: Callable[[tf.Tensor], tf.Tensor]) -> Any:
  return tf.function(
      lambda x: function(x), jit_compile=True, autograph=False)


def _interface(
    programs: Mapping[str, tuple[lower.Program, list[Any]]],
) -> tuple[dict[str, Any], list[tf.Tensor]]:
  """The manifest's entries of programs, and all that they captured.

  A tensor of the state has one number in all programs.
  """
  numbers: dict[int, int] = {}
  captures: list[tf.Tensor] = []
  interface = {}
  for name, (program, arguments) in programs.items():
    for tensor in program.captures:
      if id(tensor) not in numbers:
        numbers[id(tensor)] = len(captures)
        captures.append(tensor)
    state = [numbers[id(tensor)] for tensor in program.captures]
    interface[name] = {
        'arguments': [_described(*item) for item in arguments],
        'state': state,
        'results': [_described(*item) for item in program.results],
        'updates': {str(output): state[capture]
                    for capture, output in program.updates.items()},
    }
  return interface, captures


def _described(name: str, spec: tf.TensorSpec) -> dict[str, Any]:
  return {'name': name, 'shape': list(spec.shape), 'dtype': spec.dtype.name}


def _value(capture: tf.Tensor) -> np.ndarray:
  """The value of a captured constant or variable."""
  if capture.dtype != tf.resource:
    return capture.numpy()
  dtype = capture._handle_data.shape_and_type[0].dtype
  return tf.raw_ops.ReadVariableOp(
      resource=capture, dtype=tf.as_dtype(dtype)).numpy()


def _names(trainer: trainer_lib.Trainer) -> dict[int, str]:
  """Names of the model's and the average's variables, by their handles."""
  return {
      id(variable.handle): f'{part}/{i}/{variable.name}'
      for part in ('model', 'average')
      for i, variable in enumerate(getattr(trainer, part).variables)}


def _state(
    captures: Sequence[tf.Tensor],
    values: Sequence[np.ndarray],
    names: Mapping[int, str],
    seed: int | None,
    manifest: dict[str, Any],
) -> dict[str, np.ndarray]:
  """Describes the initial state in the manifest; returns arrays to store.

  Large normal draws are described by their standard deviation and seeds, of
  which `seed` is the first; with None they are stored.
  """
  stored: dict[str, np.ndarray] = {}
  seen: dict[tuple[Any, ...], int] = {}
  state = []
  for i, capture in enumerate(captures):
    value = values[i]
    name = names.get(id(capture))
    if name is None:
      handle = re.search(r'ResourceHandle\(name="([^"]*)"', str(capture))
      name = handle.group(1) if handle else f'constant/{i}'
    entry: dict[str, Any] = {
        'name': name,
        'shape': list(value.shape), 'dtype': value.dtype.name}
    key = (value.shape, value.dtype.name, hash(value.tobytes()))
    if value.size and np.all(value == value.flat[0]):
      entry['constant'] = value.flat[0].item()
    elif key in seen:
      entry['same_as'] = seen[key]
    elif seed is not None and value.size > _STORED and _is_normal(value):
      entry['normal'] = {
          'stddev': float(np.std(value)), 'seed': [seed, len(seen)]}
    else:
      stored[str(i)] = value
    seen.setdefault(key, i)
    state.append(entry)
  manifest['state'] = state
  return stored


def _is_normal(value: np.ndarray) -> bool:
  """Whether values look like draws of a normal distribution of mean 0.

  The mean, skewness and kurtosis are within five standard errors of its own.
  """
  n = value.size
  x = value.astype(np.float64).ravel() / max(float(np.std(value)), 1e-30)
  return bool(
      np.issubdtype(value.dtype, np.floating) and
      abs(x.mean()) < 5. * n**-0.5 and
      abs(np.mean(x**3)) < 5. * (6. / n)**0.5 and
      abs(np.mean(x**4) - 3.) < 5. * (24. / n)**0.5)

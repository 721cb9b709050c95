"""Weights of another run as the start of a new one."""

from __future__ import annotations

from collections.abc import Mapping
import os
from typing import Any

import tensorflow as tf

from alignflow_tf import bijectors
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import runs
from alignflow_tf.train import trainer as trainer_lib

Named = dict[tuple[str, ...], tf.Variable]
_LISTED = 10


def start_from(directory: str, trainer: trainer_lib.Trainer,
               config: config_lib.Config) -> str:
  """Takes the averaged weights and the critics of a run, as far as they fit.

  A variable fits one of the same place in the model and the same shape. A
  domain takes the weights of the domain of its name, where the names of one are
  all among those of the other, and of the domain at its place otherwise.

  Args:
    directory: The run.
    trainer: Takes the weights.
    config: Settings of the new run.

  Returns:
    Lines for a person: the weights taken, and those that are new.

  Raises:
    RunError: If there is no run or no checkpoint, or no weight fits, or not
      all of those that are not trained (with `train_domains`, or of a trunk).
  """
  run = runs.Run(directory)
  path = run.latest()
  step = path.rsplit('-', 1)[1]
  domains = trainer.model.domains
  both = set(domains) & set(run.domains)
  by_name = both in (set(domains), set(run.domains))
  pairs = {d: d for d in both} if by_name else dict(
      zip(run.domains, domains, strict=False))
  model = runs.load(directory, checkpoint=step)
  places = _named(trainer.model, {})
  taken, missing = _assign(
      _named(model, {**pairs, **_directions(pairs)}), places)
  fixed = _fixed(trainer.model, config)
  without = [line for place, line in missing.items()
             if places[place].ref() in fixed]
  if without:
    raise runs.RunError(
        f'`init_from`: {path} must have all weights that this run does not '
        f'train{" (`train_domains`)" if config.train_domains else ""}. '
        f'{len(without)} do not fit, such as {without[0]}.')
  if not taken:
    raise runs.RunError(
        f'`init_from`: no weight of {path} fits this model, which has another '
        'architecture.')
  for average, variable in zip(
      trainer.average.variables, trainer.model.variables, strict=True):
    average.assign(variable)
  lines = [f'Started from {path}: {taken} of {len(places)} variables of the '
           'model']
  new = list(missing.values())
  if trainer.critics is not None:
    critics = runs.load_critics(directory, step)
    named: Named = {}
    for domain, critic in critics.items():
      if domain in pairs:
        named |= _weights(pairs[domain], critic)
    wanted: Named = {}
    for domain, critic in trainer.critics.networks.by_domain.items():
      wanted |= _weights(domain, critic)
    taken, left = _assign(named, wanted)
    new += [f'critic {line}' for line in left.values()]
    lines[0] += f', {taken} of {len(wanted)} of the critics'
  bijectors.clear_cache()
  lines[0] += '.' if not new else '; these are new:'
  lines += [f'  {line}' for line in new[:_LISTED]]
  if len(new) > _LISTED:
    lines.append(f'  and {len(new) - _LISTED} more')
  return os.linesep.join(lines)


def _fixed(model: Any, config: config_lib.Config) -> set[Any]:
  """References of the variables that a run never trains."""
  if config.train_domains:
    return {v.ref() for v in model.variables} - {
        v.ref() for d in config.train_domains
        for v in model.adapter(d).variables}
  if config.trunk == 'none' or config.trains_trunk:
    return set()
  return {v.ref() for v in model.trunk.variables}


def _directions(pairs: Mapping[str, str]) -> dict[str, str]:
  """Names of translators, as CycleGAN has them."""
  return {f'{s}_to_{t}': f'{pairs[s]}_to_{pairs[t]}'
          for s in pairs for t in pairs if s != t}


def _named(model: Any, renamed: Mapping[str, str]) -> Named:
  """Variables by their places in a model, each once."""
  view = tf.train.TrackableView(model)
  found: Named = {}
  seen = {id(model)}
  waiting: list[tuple[tuple[str, ...], Any]] = [((), model)]
  while waiting:
    place, node = waiting.pop(0)
    if isinstance(node, tf.Variable):
      found[place] = node
    for name, child in view.children(node).items():
      if id(child) not in seen:
        seen.add(id(child))
        waiting.append(((*place, renamed.get(name, name)), child))
  return found


def _weights(domain: str, critic: Any) -> Named:
  """Weights of a critic by their order, which its architecture fixes."""
  return {(domain, str(i), v.name): v for i, v in enumerate(critic.weights)}


def _assign(
    old: Mapping[tuple[str, ...], Any], new: Mapping[tuple[str, ...], Any]
) -> tuple[int, dict[tuple[str, ...], str]]:
  """Assigns variables that fit; returns their number, a line on each other."""
  taken, left = 0, {}
  for place, variable in new.items():
    name, there = '/'.join(place), old.get(place)
    if there is None:
      left[place] = f'{name}: the run has none'
    elif tuple(there.shape) != tuple(variable.shape):
      left[place] = (f'{name}: {tuple(there.shape)} in the run, '
                     f'{tuple(variable.shape)} here')
    else:
      variable.assign(there)
      taken += 1
  return taken, left

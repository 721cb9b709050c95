"""The directory of an adaptation: its finished stages, each run once.

A stage writes its result aside and is renamed when it is finished. Its facts,
that is the settings and data that it depends on, are kept with it: a later call
uses the stage if the facts are the same and refuses the directory otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import json
import os
import time
from typing import Any

import keras
import numpy as np

from alignflow_tf import _io
from alignflow_tf import classification
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import criteria
from alignflow_tf.adapt import problem as problem_lib


@dataclasses.dataclass(frozen=True)
class Finished:
  """A finished stage: its directory, and what it depends on."""
  path: str
  facts: dict[str, Any]

  @property
  def name(self) -> str:
    """Name of the directory."""
    return os.path.basename(self.path)

  @property
  def model(self) -> keras.Model:
    """The classifier that the stage trained."""
    return keras.models.load_model(
        os.path.join(self.path, 'model.keras'), compile=False, safe_mode=True)

  def record(self) -> dict[str, Any]:
    """Its record: `facts`, `seconds` and, of most, `criteria`."""
    with open(os.path.join(self.path, 'stage.json'), encoding='utf-8') as f:
      return json.load(f)


class Work:
  """The stages of one pair of domains and one seed.

  Attributes:
    problem: What training may use.
    scorer: The target's labels, or None.
    output: The directory.
    settings: Settings.
    seed: Non-negative integer that all randomness comes from.
    finished: The stages that this call has run or found, in order.
  """

  def __init__(self, problem: problem_lib.Problem,
               scorer: problem_lib.Scorer | None, output: str,
               settings: config_lib.Settings, seed: int):
    self.problem = problem
    self.scorer = scorer
    self.output = output
    self.settings = settings
    self.seed = seed
    self.finished: list[Finished] = []

  def pick(self, *prefixes: str) -> dict[str, Any]:
    """The settings whose names begin with one of the prefixes."""
    return {k: v for k, v in self.settings.to_json().items()
            if k.startswith(prefixes)}

  def stage(self, name: str, facts: dict[str, Any],
            make: Callable[[str], dict[str, Any]]) -> Finished:
    """Runs a stage, or finds it finished.

    Args:
      name: Its name, and that of its directory.
      facts: Its settings, other than the data and the seed.
      make: Writes the result into a directory, and returns facts to be kept
        with it.

    Raises:
      AdaptError: If it is there with other facts.
    """
    facts = json.loads(json.dumps(
        facts | {'data': self._data_facts(), 'seed': self.seed}))
    stage = Finished(os.path.join(self.output, name), facts)
    if os.path.exists(os.path.join(stage.path, 'stage.json')):
      saved = stage.record()['facts']
      if saved != facts:
        raise config_lib.AdaptError(
            f'`output`: {stage.path} was made with other settings: '
            f'{difference(saved, facts)}. Use another --output, or '
            'remove it and what follows from it.')
    else:
      print(f'{name}, seed {self.seed}', flush=True)
      begin = time.monotonic()
      with _io.whole_folder(stage.path) as partial:
        made = make(partial)
        _io.dump(os.path.join(partial, 'stage.json'), {
            'facts': facts, 'seconds': round(time.monotonic() - begin, 1),
            **made})
    self.finished.append(stage)
    return stage

  def classifier_stage(self, name: str, rate: str, facts: dict[str, Any],
                       train: Callable[[], keras.Model]) -> Finished:
    """Runs a stage that trains a classifier, or finds it finished.

    Args:
      name: Its name, and that of its directory.
      rate: The setting to lower if training diverges.
      facts: Its settings, other than the data and the seed.
      train: Trains the classifier.

    Raises:
      AdaptError: If it is there with other facts, or training diverged.
    """

    def make(path: str) -> dict[str, Any]:
      try:
        model = train()
        if not all(np.isfinite(w).all() for w in model.get_weights()):
          raise FloatingPointError(f'the weights of {name} are not finite')
      except FloatingPointError as e:
        raise config_lib.AdaptError(
            f'`{rate}`: {e}; lower the rate. Nothing of this stage is kept.'
        ) from e
      model.save(os.path.join(path, 'model.keras'))
      return {'criteria': self._criteria(model)}

    return self.stage(name, facts, make)

  def _criteria(self, model: keras.Model) -> dict[str, float]:
    """Figures that use no label of the target."""
    problem = self.problem
    values = criteria.unsupervised(
        classification.predict(model, problem.unlabelled))
    validation = classification.predict(model, problem.validation.images)
    values['source_accuracy'] = float(
        (validation.argmax(axis=-1) == problem.validation.labels).mean())
    paths = [os.path.join(stage.path, 'validation.npy')
             for stage in self.finished]
    for path in filter(os.path.exists, paths):  # Of a translator, if any.
      translated = classification.predict(
          model, np.load(path, allow_pickle=False))
      values['translated_accuracy'] = float(
          (translated.argmax(axis=-1) == problem.validation.labels[
              :len(translated)]).mean())
    return values

  def _data_facts(self) -> dict[str, Any]:
    """The data, and how they are read."""
    known, settings = self.problem.domains, self.settings
    # Named only where it is used: earlier stages do not name it.
    used = {name: getattr(settings, name)
            for name in ('standard_levels', 'few_labels')
            if getattr(settings, name)}
    return used | {
        'name': known.name, 'shape': known.event_shape, 'sizes': known.sizes,
        'fit': settings.fit, 'load_size': settings.load_size,
        'files': {name: found.get('files')
                  for name, found in known.describe()['domains'].items()}}


def difference(saved: dict[str, Any], given: dict[str, Any]) -> str:
  """The first settings that differ, in words."""
  for key in sorted(set(saved) | set(given)):
    a, b = saved.get(key), given.get(key)
    if a != b:
      if isinstance(a, dict) and isinstance(b, dict):
        return difference(a, b)
      return f'{key} was {a!r} and is {b!r}'
  return 'none'

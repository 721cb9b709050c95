"""The pipeline: the stages of a method, then the score of its classifier."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from alignflow_tf import _io
from alignflow_tf import classification
from alignflow_tf import data
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import methods
from alignflow_tf.adapt import problem as problem_lib
from alignflow_tf.adapt import savedmodel
from alignflow_tf.adapt import work as work_lib
from alignflow_tf.train import runs


def adapt(
    domains: data.DomainSet,
    source: str,
    target: str,
    method: str,
    output: str,
    settings: config_lib.Settings | None = None,
    seed: int = 0,
    skip: tuple[str, ...] = (),
    score: bool = True,
) -> dict[str, Any]:
  """Learns a classifier of a target whose labels are not used, and scores it.

  Stages that several methods or calls have in common are run once: each writes
  its result aside, then renames it, and is not run again where it is there.

  Args:
    domains: The two domains.
    source: Name of the labelled one.
    target: Name of the other.
    method: A name of `methods.METHODS`.
    output: Directory of the stages of this pair and seed; made where missing.
    settings: Settings; the preset for the data set's name if None. Settings on
      how pictures are read repeat those that `domains` was loaded with.
    seed: Non-negative integer that all randomness comes from.
    skip: Stages of `methods.SKIPPABLE` to leave out. Without 'translator',
      classifiers learn from the source as it is; without 'semantic', the
      translator is trained without labels.
    score: Whether to look at the target's test images. Without, for choosing
      settings, there is no accuracy and no model is saved.

  Returns:
    The result, as in `<output>/<method>/result.json`: `accuracy` in [0, 1] on
    the target's test images (None where it has no labels), `criteria` without
    labels, `seconds` by stage, `classes`, the names of the classes in order
    (None where the data have none). Beside it are `model.keras`, from images
    in [0, 1] to logits, and `saved_model/1`, see `savedmodel.save`.

  Raises:
    AdaptError: If an argument will not do, or the directory holds stages of
      other settings.
    ConfigError: If the translator's settings do not fit.
    DataError: If the data cannot be had.
    RunError: If another process works in the directory.
    Stopped: If the translator was stopped by a signal; it is saved.
  """
  output = os.path.expanduser(output)
  settings = settings or config_lib.resolve(dataset=domains.name)
  methods.check_call([method], [seed], skip)
  problem, scorer = problem_lib.make(
      domains, source, target, settings.few_labels)
  work = work_lib.Work(problem, scorer, output, settings, seed)
  # A semantic term, and the guide that it may need, is a translator's.
  left_out = {*skip, *(['semantic'] if 'translator' in skip else [])}
  chosen = [s for s in methods.METHODS[method] if s.name not in left_out]
  for stage in chosen:
    stage.check(work)
  # Nothing stands in the directory before all the above went well.
  os.makedirs(output, exist_ok=True)
  with runs.lock(output, 'output'):
    state = methods.State('source', lambda: problem.train)
    for stage in chosen:
      state = stage.run(work, state, work.pick(*stage.settings))
    assert state.last is not None
    result = _summary(work, method, skip)
    return _score(work, state.last, result) if score else result


def _summary(work: work_lib.Work, method: str, skip: tuple[str, ...]
            ) -> dict[str, Any]:
  """The result without a score."""
  problem = work.problem
  records = {stage.name: stage.record() for stage in work.finished}
  last = work.finished[-1]
  classes = problem.domains.describe().get('classes')
  if isinstance(classes, dict):  # Of TFDS sets, by domain.
    classes = classes.get(problem.source)
  return {
      'method': method, 'source': problem.source, 'target': problem.target,
      'seed': work.seed, 'skip': list(skip), 'facts': last.facts,
      'stages': list(records),
      'seconds': {name: r['seconds'] for name, r in records.items()},
      'criteria': records[last.name].get('criteria', {}),
      'source_images': len(problem.train.labels),
      'target_images': len(problem.unlabelled),
      'few_labels': len(problem.few.labels) if problem.few else 0,
      'classes': classes,
      'pixel_range': [0., 1.],
      'accuracy': None,
  }


def _score(work: work_lib.Work, last: work_lib.Finished, result: dict[str, Any]
          ) -> dict[str, Any]:
  """Scores the last stage on the target's test images, once, and saves it."""
  name = '-'.join(
      [result['method'], *(f'no_{s}' for s in sorted(result['skip']))])
  path = os.path.join(work.output, name)
  record = os.path.join(path, 'result.json')
  if os.path.exists(record):
    with open(record, encoding='utf-8') as f:
      saved = json.load(f)
    if saved['facts'] == last.facts:
      return saved
    raise config_lib.AdaptError(
        f'`output`: {path} was made with other settings. Use another '
        '--output, or remove it.')
  model = last.model
  public = savedmodel.public(model)
  with _io.whole_folder(path) as partial:
    public.save(os.path.join(partial, 'model.keras'))
    savedmodel.save(public, os.path.join(partial, 'saved_model', '1'),
                    result['classes'])
    if work.scorer is not None:
      test = work.scorer.test()
      predicted = classification.predict(model, test.images).argmax(axis=-1)
      confusion = np.zeros([work.problem.num_classes] * 2, np.int64)
      np.add.at(confusion, (test.labels, predicted), 1)
      result |= {
          'accuracy': float((predicted == test.labels).mean()),
          'test_images': len(test.labels), 'confusion': confusion.tolist()}
    _io.dump(os.path.join(partial, 'result.json'), result)
  return result

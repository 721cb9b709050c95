"""Methods of adaptation: tuples of stages, found by name in `METHODS`.

The pipeline runs the stages in order; each takes the `State` of the one before.
To add a method, add a tuple. To add a stage, write a function of `Work`,
`State` and the settings that it depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import numpy as np

from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import stages
from alignflow_tf.adapt import translator
from alignflow_tf.adapt import work as work_lib


class State(NamedTuple):
  """The state that a stage hands to the next one.

  Attributes:
    name: Beginning of the names of the next stage's directories.
    labelled: Reads the labelled images that classifiers learn from.
    facts: The settings that these images depend on.
    semantic: Settings of the semantic term of a translator; None without it.
    guide: The stage whose classifier gives target images labels, or None.
    last: The stage that trained the newest classifier.
  """
  name: str
  labelled: Callable[[], stages.Labelled]
  facts: dict[str, Any] = {}
  semantic: dict[str, Any] | None = None
  guide: work_lib.Finished | None = None
  last: work_lib.Finished | None = None


class Stage(NamedTuple):
  """A step of a method.

  Attributes:
    name: Name, for `skip`.
    settings: Beginnings of the names of the settings that it depends on.
    run: Runs it, given these settings.
    check: Raises AdaptError or ConfigError, before anything is written, where
      it cannot be run.
  """
  name: str
  settings: tuple[str, ...]
  run: Callable[[work_lib.Work, State, dict[str, Any]], State]
  check: Callable[[work_lib.Work], Any] = lambda work: None


def _target_labels(work: work_lib.Work, state: State, settings: dict[str, Any]
                  ) -> State:
  """Learns from the target's labels: the upper bound."""
  del settings
  assert work.scorer is not None
  labelled = work.scorer.train()
  return state._replace(name='target', labelled=lambda: labelled)


def _check_target_labels(work: work_lib.Work) -> None:
  if work.scorer is None:
    raise config_lib.AdaptError(
        f'`method=target_only` needs labels of {work.problem.target!r}, which '
        'has none.')


def _semantic(work: work_lib.Work, state: State, settings: dict[str, Any]
             ) -> State:
  """Has the translator that follows keep the class of images."""
  if work.settings.semantic_augment:
    settings |= work.pick('augment')
  if not work.settings.semantic_guide:
    return state._replace(semantic=settings)
  # The classifier of `alignflow+` without a translator.
  guided = state
  for stage in (_CLASSIFIER, _FEATURE, _TARGET):
    guided = stage.run(work, guided, work.pick(*stage.settings))
  assert guided.last is not None
  return state._replace(
      semantic=settings | {'guide': guided.last.facts}, guide=guided.last)


def _translate(kind: str, work: work_lib.Work, state: State,
               settings: dict[str, Any]) -> State:
  """Trains a translator; classifiers learn from the translated source."""
  name = kind if state.semantic is not None else f'{kind}_unsemantic'
  done = translator.translate(
      work, name, kind, settings, state.semantic, state.guide)
  return state._replace(
      name=name, facts=done.facts,
      labelled=lambda: translator.read(done, work.problem.train.labels))


def _frame(work: work_lib.Work, state: State, settings: dict[str, Any]
          ) -> State:
  """Brings the source into the target's frame: no translator is trained."""
  done = translator.frame(work, settings)
  return state._replace(
      name='framing', facts=done.facts,
      labelled=lambda: translator.read(done, work.problem.train.labels))


def _labelled(work: work_lib.Work, state: State) -> stages.Labelled:
  """What classifiers learn from: the state's images, and the target's few.

  The few are repeated until they are a fifth of all. `target_only` has them
  already.
  """
  labelled, few = state.labelled(), work.problem.few
  if few is None or state.name == 'target':
    return labelled
  repeats = -(-len(labelled.labels) // (4 * len(few.labels)))
  return stages.Labelled(*(
      np.concatenate([a, *[b] * repeats])
      for a, b in zip(labelled, few, strict=True)))


def _classifier(work: work_lib.Work, state: State, settings: dict[str, Any]
               ) -> State:
  """Trains a classifier of the labelled images."""
  if work.settings.classifier_augment:
    settings |= work.pick('augment')
  return state._replace(last=work.classifier_stage(
      f'{state.name}_classifier', 'classifier_rate', state.facts | settings,
      lambda: stages.train_classifier(
          _labelled(work, state), work.problem.num_classes, work.settings,
          work.seed)))


def _feature(work: work_lib.Work, state: State, settings: dict[str, Any]
            ) -> State:
  """Aligns the classifier's scores of the domains (ADDA)."""
  last = state.last
  assert last is not None
  name = f'{state.name}_feature'
  return state._replace(name=name, last=work.classifier_stage(
      name, 'feature_rate', settings | {'after': last.facts},
      lambda: stages.adapt_features(
          last.model, _labelled(work, state), work.problem.unlabelled,
          work.settings, work.seed)))


def _target(work: work_lib.Work, state: State, settings: dict[str, Any]
           ) -> State:
  """Makes the classifier sure of target images."""
  last = state.last
  assert last is not None
  name = f'{state.name}_target'
  return state._replace(name=name, last=work.classifier_stage(
      name, 'target_rate', settings | {'after': last.facts},
      lambda: stages.adapt_to_target(
          last.model, _labelled(work, state), work.problem.unlabelled,
          work.settings, work.seed)))


def _translator(kind: str) -> Stage:
  return Stage(
      'translator', ('translated_images',),
      functools.partial(_translate, kind),
      functools.partial(translator.configuration, kind=kind))


_SEMANTIC = Stage('semantic', ('semantic',), _semantic)
_CLASSIFIER = Stage(
    'classifier', ('network', 'classifier', 'batch_size'), _classifier)
_FEATURE = Stage('feature', ('feature', 'class_priors'), _feature)
_TARGET = Stage('target', ('target', 'augment', 'class_priors'), _target)

METHODS: Mapping[str, tuple[Stage, ...]] = {
    'source_only': (_CLASSIFIER,),
    'target_only': (
        Stage('target_labels', (), _target_labels, _check_target_labels),
        _CLASSIFIER),
    'adda': (_CLASSIFIER, _FEATURE),
    'framing': (
        Stage('framing', ('translated_images',), _frame), _CLASSIFIER,
        _FEATURE),
    'cycada': (_SEMANTIC, _translator('cyclegan'), _CLASSIFIER, _FEATURE),
    'unit': (_SEMANTIC, _translator('unit'), _CLASSIFIER, _FEATURE),
    'alignflow': (_SEMANTIC, _translator('alignflow'), _CLASSIFIER, _FEATURE),
    'alignflow+': (
        _SEMANTIC, _translator('alignflow'), _CLASSIFIER, _FEATURE, _TARGET),
}
# The stages that may be left out.
SKIPPABLE = ('translator', 'semantic', 'feature', 'target')


def check_call(methods: Sequence[str], seeds: Sequence[int],
               skip: Sequence[str]) -> None:
  """Checks the arguments of a call, before any work.

  Args:
    methods: Some of `METHODS`.
    seeds: Seeds, each once.
    skip: Some of `SKIPPABLE`, or none.

  Raises:
    AdaptError: If there is nothing to do, or a name is unknown.
  """
  check = config_lib.check
  for name, values, known in (
      ('method', methods, METHODS), ('skip', skip, SKIPPABLE)):
    for value in values:
      check(value in known, name, value, 'one of ' + ', '.join(known))
  check(len(methods) > 0, 'method', methods,
        'one or more of ' + ', '.join(METHODS))
  check(len(seeds) > 0, 'seeds', seeds, 'one or more integers')
  for seed in seeds:
    check(isinstance(seed, int) and not isinstance(seed, bool)
          and 0 <= seed < 2**31, 'seed', seed,
          'an integer of 0 or more, below 2**31')
  check(len(set(seeds)) == len(seeds), 'seeds', seeds,
        'different from one another')

"""The pipeline: translator, classifier, feature stage, target stage, score."""

from __future__ import annotations

import ast
from collections.abc import Callable
import dataclasses
import json
import os
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf import sheets
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.adapt import criteria
from alignflow_tf.adapt import problem as problem_lib
from alignflow_tf.adapt import savedmodel
from alignflow_tf.adapt import semantic
from alignflow_tf.adapt import stages
from alignflow_tf.train import config as train_config
from alignflow_tf.train import loop
from alignflow_tf.train import runs

__all__ = ['adapt']

# What hangs on the names and sizes of the data's files, in a stage's facts.
_FILES = 'files'
_TRANSLATORS = {'cycada': 'cyclegan', 'alignflow': 'alignflow',
                'alignflow+': 'alignflow'}


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

  Stages that methods or other calls have in common are run once: each writes
  its result aside, then renames it, and is not run again where it is there.

  Args:
    domains: The two domains.
    source: Name of the labelled one.
    target: Name of the other.
    method: One of `config.METHODS`.
    output: Directory of the stages of this pair and seed; made where missing.
    settings: Settings; those of the preset for the data set's name if None. Of
      how pictures are read, they repeat what `domains` was loaded with.
    seed: Non-negative integer that all randomness comes from.
    skip: Stages of `config.STAGES` to leave out: 'translator' trains on the
      source as it is, 'semantic' trains the translator without labels.
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
  config_lib.check_call([method], [seed], skip)
  problem, scorer = problem_lib.make(domains, source, target)
  if method == 'target_only' and scorer is None:
    raise config_lib.AdaptError(
        f'`method=target_only` needs labels of {target!r}, which has none.')
  work = _Work(problem, output, settings, seed, skip)
  kind = work.kind(method)
  if kind:
    work.translator_config(kind)
  # Nothing stands in the directory before all the above went well.
  os.makedirs(output, exist_ok=True)
  with runs.lock(output, 'output'):
    if method == 'target_only':
      assert scorer is not None
      labelled = scorer.train()
      final = work.classifier('target_classifier', lambda: labelled, {})
    else:
      final = work.method(method)
    if not score:
      return work.summary(method, final)
    return work.score(method, final, scorer)


@dataclasses.dataclass(frozen=True)
class _Stage:
  """A finished stage: where it is, and what it depends on."""
  path: str
  facts: dict[str, Any]

  @property
  def model(self) -> keras.Model:
    return keras.models.load_model(
        os.path.join(self.path, 'model.keras'), compile=False, safe_mode=True)


class _Work:
  """The stages of one pair and seed."""

  def __init__(self, problem: problem_lib.Problem, output: str,
               settings: config_lib.Settings, seed: int,
               skip: tuple[str, ...]):
    self._problem = problem
    self._output = output
    self._settings = settings
    self._seed = seed
    self._skip = skip
    self._chain: list[_Stage] = []

  # -- stages -----------------------------------------------------------

  def kind(self, method: str) -> str | None:
    """The kind of translator that a method trains, or None."""
    return None if 'translator' in self._skip else _TRANSLATORS.get(method)

  def method(self, method: str) -> _Stage:
    """Runs the stages of a method; the last one."""
    kind = self.kind(method)
    name = kind or 'source'
    if kind and 'semantic' in self._skip:
      name += '_unsemantic'
    facts: dict[str, Any] = {}
    if kind:
      translated = self._translate(name, kind)
      facts = translated.facts

      def labelled() -> stages.Labelled:
        images = np.load(
            os.path.join(translated.path, 'train.npy'), allow_pickle=False)
        return stages.Labelled(
            images, self._problem.train.labels[:len(images)])
    else:

      def labelled() -> stages.Labelled:
        return self._problem.train
    final = self.classifier(f'{name}_classifier', labelled, facts)
    if method != 'source_only' and 'feature' not in self._skip:
      name += '_feature'
      before = final
      final = self._classifier_stage(
          name, _pick(self._settings, 'feature', 'class_priors') | {
              'after': before.facts},
          lambda: stages.adapt_features(
              before.model, labelled(), self._problem.unlabelled,
              self._settings, self._seed))
    if method == 'alignflow+' and 'target' not in self._skip:
      last = final
      final = self._classifier_stage(
          f'{name}_target',
          _pick(self._settings, 'target', 'augment', 'class_priors') | {
              'after': last.facts},
          lambda: stages.adapt_to_target(
              last.model, labelled(), self._problem.unlabelled, self._settings,
              self._seed))
    return final

  def _translate(self, name: str, kind: str) -> _Stage:
    """Trains a translator and translates the source with it."""
    problem, settings = self._problem, self._settings
    config = self.translator_config(kind)
    weighted = 'semantic' not in self._skip
    # What was asked for, and not every default of this version.
    facts = {'translator': {
        'model': kind, **self._given(kind), 'flip': settings.flip},
             'translated_images': settings.translated_images}
    if weighted:
      facts |= self._semantic_facts()
    run_dir = os.path.join(self._output, f'{name}_translator')

    def make(path: str) -> dict[str, Any]:
      auxiliary = semantic.SemanticLoss(
          problem.source, problem.target, problem.domains.event_shape,
          problem.num_classes, weight=settings.semantic_weight,
          target_weight=settings.semantic_target_weight,
          on_translations=settings.semantic_on_translations,
          noise=settings.semantic_noise,
          augment=(settings.augment_scale, settings.augment_shift)
          if settings.semantic_augment else None,
          seed=self._seed) if weighted else None
      if weighted:
        self._same_semantic_settings(run_dir)
      before = _train(
          _of_run(config, run_dir), run_dir, problem.domains, auxiliary)
      evaluator = inference.Evaluator(runs.load(run_dir), batch_size=500)

      def translate(levels: np.ndarray) -> np.ndarray:
        parts = [
            images_lib.to_uint8(tf.constant(evaluator.translate(
                images_lib.from_uint8(tf.constant(levels[i:i + 500])).numpy(),
                problem.source, problem.target))).numpy()
            for i in range(0, len(levels), 500)]
        return np.concatenate(parts)

      count = settings.translated_images
      train = translate(problem.train.images[:count])
      np.save(os.path.join(path, 'train.npy'), train, allow_pickle=False)
      np.save(os.path.join(path, 'validation.npy'),
              translate(problem.validation.images[:count]), allow_pickle=False)
      sheets.write_png(
          os.path.join(path, 'translated.png'),
          _by_class(problem.train, train, problem.num_classes))
      return {'before': before}

    return self._stage(f'{name}_translated', facts, make)

  def _semantic_facts(self) -> dict[str, Any]:
    """What the semantic term depends on."""
    return _pick(
        self._settings, 'semantic',
        *(('augment',) if self._settings.semantic_augment else ()))

  def _same_semantic_settings(self, run_dir: str) -> None:
    """Keeps a translator's run to the semantic settings it began with.

    They are no part of the run's configuration, so that the loop cannot tell.

    Raises:
      AdaptError: If it began with others.
    """
    settings = self._semantic_facts()
    record = f'{run_dir}.json'
    if os.path.exists(record) and os.path.exists(
        os.path.join(run_dir, 'config.json')):
      with open(record, encoding='utf-8') as f:
        saved = _filled(json.load(f), settings)
      if saved != settings:
        raise config_lib.AdaptError(
            f'`output`: {run_dir} was begun with other settings: '
            f'{_difference(saved, settings)}. Use another --output, or remove '
            'it.')
    else:
      _io.dump(record, settings)

  def translator_config(self, kind: str) -> train_config.Config:
    """The translator's training configuration.

    Raises:
      AdaptError: If the images are no squares, or what is given is unknown or
        of no use for an adaptation.
      ConfigError: If a value is out of range.
    """
    given = self._given(kind)
    shape = self._problem.domains.event_shape
    if shape[0] != shape[1]:
      raise config_lib.AdaptError(
          f'`image_size` must give squares, got {shape[0]}x{shape[1]}.')
    preset = given.pop('preset', None)
    try:
      config = train_config.resolve(
          preset, model=kind, dataset=self._problem.domains.name,
          domain=_folders(self._problem.domains), image_size=shape[0],
          channels=shape[2], seed=self._seed, **self._settings.reading(),
          **given)
    except TypeError as e:
      raise config_lib.AdaptError(f'`translator`, `{kind}`: {e}') from e
    if config.objective == 'mle':
      raise config_lib.AdaptError(
          "`translator`: `objective` must be 'hybrid' or 'adversarial', got "
          "'mle', which trains no translations.")
    return config

  def _given(self, kind: str) -> dict[str, Any]:
    """The settings of a kind of translator, by name."""
    items = self._settings.translator + getattr(self._settings, kind)
    return {key: _parse(value) for key, value in (
        item.split('=', 1) for item in items)}

  def classifier(self, name: str, labelled: Callable[[], stages.Labelled],
                 facts: dict[str, Any]) -> _Stage:
    """The classifier stage."""
    facts = facts | _pick(
        self._settings, 'network', 'classifier', 'batch_size',
        *(('augment',) if self._settings.classifier_augment else ()))
    return self._classifier_stage(name, facts, lambda: stages.train_classifier(
        labelled(), self._problem.num_classes, self._settings, self._seed))

  def _classifier_stage(self, name: str, facts: dict[str, Any],
                        train: Callable[[], keras.Model]) -> _Stage:
    def make(path: str) -> dict[str, Any]:
      model = train()
      if not all(np.isfinite(w).all() for w in model.get_weights()):
        raise config_lib.AdaptError(
            f'The weights of {name} are not finite after training: lower its '
            'rate.')
      model.save(os.path.join(path, 'model.keras'))
      return {'criteria': self._criteria(model)}

    return self._stage(name, facts, make)

  def _criteria(self, model: keras.Model) -> dict[str, float]:
    """Figures that use no label of the target."""
    problem = self._problem
    values = criteria.unsupervised(stages.predict(model, problem.unlabelled))
    validation = stages.predict(model, problem.validation.images)
    values['source_accuracy'] = float(
        (validation.argmax(axis=-1) == problem.validation.labels).mean())
    if self._chain and os.path.exists(
        path := os.path.join(self._chain[0].path, 'validation.npy')):
      translated = stages.predict(model, np.load(path, allow_pickle=False))
      values['translated_accuracy'] = float(
          (translated.argmax(axis=-1) == problem.validation.labels[
              :len(translated)]).mean())
    return values

  def _stage(self, name: str, facts: dict[str, Any],
             make: Callable[[str], dict[str, Any]]) -> _Stage:
    """Runs a stage, or finds it done.

    Args:
      name: Its name, and that of its directory.
      facts: What it depends on.
      make: Makes it in a directory, and gives facts to be kept with it, and
        `before`: seconds that earlier calls spent on it to lasting effect.

    Raises:
      AdaptError: If it is there with other facts.
    """
    facts = json.loads(json.dumps(
        facts | {'data': self._data_facts(), 'seed': self._seed}))
    path = os.path.join(self._output, name)
    record = os.path.join(path, 'stage.json')
    if os.path.exists(record):
      with open(record, encoding='utf-8') as f:
        saved = _filled(json.load(f)['facts'], facts)
      if saved != facts:
        raise config_lib.AdaptError(
            f'`output`: {path} was made with other settings: '
            f'{_difference(saved, facts)}. Use another --output, or '
            'remove it and what follows from it.')
    else:
      print(f'{name}, seed {self._seed}', flush=True)
      begin = time.monotonic()
      with _io.whole_folder(path) as partial:
        made = make(partial)
        seconds = made.pop('before', 0.) + time.monotonic() - begin
        _io.dump(os.path.join(partial, 'stage.json'), {
            'facts': facts, 'seconds': round(seconds, 1), **made})
    stage = _Stage(path, facts)
    self._chain.append(stage)
    return stage

  def _data_facts(self) -> dict[str, Any]:
    """What the data are, and how they are read."""
    known, settings = self._problem.domains, self._settings
    facts: dict[str, Any] = {
        'name': known.name, 'shape': known.event_shape, 'sizes': known.sizes,
        'fit': settings.fit, 'load_size': settings.load_size}
    files = {name: found['files']
             for name, found in known.describe()['domains'].items()
             if 'files' in found}
    return facts | ({_FILES: files} if files else {})

  # -- the last score ---------------------------------------------------

  def summary(self, method: str, final: _Stage) -> dict[str, Any]:
    """The result without a score."""
    problem = self._problem
    made = [_read(stage) for stage in self._chain]
    return {
        'method': method, 'source': problem.source, 'target': problem.target,
        'seed': self._seed, 'skip': list(self._skip), 'facts': final.facts,
        'stages': [os.path.basename(s.path) for s in self._chain],
        'seconds': {os.path.basename(s.path): m['seconds']
                    for s, m in zip(self._chain, made, strict=True)},
        'criteria': made[-1].get('criteria', {}),
        'source_images': len(problem.train.labels),
        'target_images': len(problem.unlabelled),
        'classes': problem.domains.describe().get('classes'),
        'pixel_range': [0., 1.],
        'accuracy': None,
    }

  def score(self, method: str, final: _Stage,
            scorer: problem_lib.Scorer | None) -> dict[str, Any]:
    """Scores the last stage on the target's test images, once, and saves it."""
    name = '-'.join([method, *(f'no_{s}' for s in sorted(self._skip))])
    path = os.path.join(self._output, name)
    record = os.path.join(path, 'result.json')
    if os.path.exists(record):
      with open(record, encoding='utf-8') as f:
        saved = json.load(f)
      if _filled(saved['facts'], final.facts) == final.facts:
        return saved
      raise config_lib.AdaptError(
          f'`output`: {path} was made with other settings. Use another '
          '--output, or remove it.')
    problem = self._problem
    model = final.model
    result = self.summary(method, final)
    public = savedmodel.public(model)
    with _io.whole_folder(path) as partial:
      public.save(os.path.join(partial, 'model.keras'))
      savedmodel.save(public, os.path.join(partial, 'saved_model', '1'),
                      result['classes'])
      if scorer is not None:
        test = scorer.test()
        predicted = stages.predict(model, test.images).argmax(axis=-1)
        confusion = np.zeros([problem.num_classes] * 2, np.int64)
        np.add.at(confusion, (test.labels, predicted), 1)
        result |= {
            'accuracy': float((predicted == test.labels).mean()),
            'test_images': len(test.labels), 'confusion': confusion.tolist()}
      _io.dump(os.path.join(partial, 'result.json'), result)
    return result


def _folders(domains: data.DomainSet) -> tuple[str, ...]:
  """The user's own folders, for a translator's configuration."""
  if domains.name != 'folders':
    return ()
  return tuple(f'{name}:{os.path.abspath(found["read_from"])}'
               for name, found in domains.describe()['domains'].items())


def _of_run(config: train_config.Config, run_dir: str) -> train_config.Config:
  """The configuration, with the folders that a run there began with.

  An earlier version wrote none, and folders may be moved: whether the files are
  the same is another question, which the loop asks.
  """
  if not config.domain or not os.path.exists(
      os.path.join(run_dir, 'config.json')):
    return config
  return dataclasses.replace(config, domain=runs.Run(run_dir).config.domain)


def _train(config: train_config.Config, run_dir: str, domains: data.DomainSet,
           auxiliary: semantic.SemanticLoss | None) -> float:
  """Trains a translator; seconds that earlier calls trained it, then stopped.

  They are kept beside the run; those of a call that was killed are lost.
  """
  record = f'{run_dir}.seconds.json'
  before = 0.
  if os.path.exists(record) and os.path.exists(run_dir):
    with open(record, encoding='utf-8') as f:
      before = float(json.load(f)['seconds'])
  begin = time.monotonic()
  try:
    loop.train(config, run_dir, domains, auxiliary)
  finally:
    if os.path.exists(run_dir):
      _io.dump(
          record, {'seconds': round(before + time.monotonic() - begin, 1)})
  return before


def _read(stage: _Stage) -> dict[str, Any]:
  with open(os.path.join(stage.path, 'stage.json'), encoding='utf-8') as f:
    return json.load(f)


def _pick(settings: config_lib.Settings, *prefixes: str) -> dict[str, Any]:
  """The settings whose names begin so."""
  return {k: v for k, v in settings.to_json().items() if k.startswith(prefixes)}


def _parse(value: str) -> Any:
  """A number, a truth value, None or a string."""
  try:
    return ast.literal_eval(value)
  except (SyntaxError, ValueError):
    return value


def _filled(saved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
  """What was saved, with the defaults of what came later."""
  defaults = config_lib.Settings().to_json()
  filled = dict(saved)
  for key, value in given.items():
    if key not in saved and key in defaults:
      filled[key] = defaults[key]
    elif key not in saved and key == _FILES:
      filled[key] = value  # Not known then: there is nothing to compare.
    elif isinstance(value, dict) and isinstance(saved.get(key), dict):
      filled[key] = _filled(saved[key], value)
  return filled


def _difference(saved: dict[str, Any], given: dict[str, Any]) -> str:
  """The first settings that differ, in words."""
  for key in sorted(set(saved) | set(given)):
    a, b = saved.get(key), given.get(key)
    if a != b:
      if isinstance(a, dict) and isinstance(b, dict):
        return _difference(a, b)
      return f'{key} was {a!r} and is {b!r}'
  return 'none'


def _by_class(original: stages.Labelled, translated: np.ndarray,
              num_classes: int) -> np.ndarray:
  """A picture: under each class's images their translations, by class."""
  per_class = max(1, 20 // num_classes)
  labels = original.labels[:len(translated)]
  places = np.concatenate([
      np.flatnonzero(labels == c)[:per_class]
      for c in range(num_classes)])
  return sheets.grid(
      [original.images[places], translated[places]],
      scale=max(1, 48 // original.images.shape[1]))

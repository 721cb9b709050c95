"""The model of a run, or of SavedModels that were exported from one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import glob
import json
import math
import os
import types
from typing import Any

from alignflow_tf import train as train_lib
from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data.preparation import Preparation
from alignflow_tf.translate import files

__all__ = ['Opened', 'domains_of', 'open_model']


@dataclasses.dataclass(frozen=True)
class Opened:
  """A model, and how pictures are prepared for it.

  Attributes:
    model: The model, one that `Translates`.
    preparations: By domain, how pictures are brought to the model's size.
    version: Its checkpoint or the version of its export.
    multiple: Where the model is convolutional, a number by which the sizes of
      images that it takes can be divided; 0 where it takes its own size alone.
    many: Domains whose translations may be drawn, and `every` of
      `one_to_many.redraw`.
  """

  model: Any
  preparations: dict[str, Preparation]
  version: str
  multiple: int = 0
  many: Mapping[str, int] = dataclasses.field(default_factory=dict)

  def check(self, latents: bool, densities: bool) -> None:
    """Raises TranslateError unless the model has what is needed."""
    from alignflow_tf import protocols  # It loads TensorFlow.
    for needed, protocol, what in (
        (latents, protocols.HasLatents, 'latents'),
        (densities, protocols.HasDensity, 'densities')):
      if needed and not isinstance(self.model, protocol):
        raise files.TranslateError(
            f'`run` must be of a model with {what}, for this.')


def domains_of(path: str) -> tuple[str, ...]:
  """Names of the domains, without loading TensorFlow.

  Args:
    path: A run directory; or a directory of servables, one of them, or one of
      its versions.

  Raises:
    TranslateError: If it is neither.
  """
  return tuple(_facts(path)['domains'])


def open_model(path: str, checkpoint: str = 'newest') -> Opened:
  """Loads a model.

  Args:
    path: As in `domains_of`.
    checkpoint: 'newest', 'best' on validation data, or a step, of a run.

  Returns:
    The model.

  Raises:
    TranslateError: If there is none.
    RunError: If the run's checkpoint cannot be used.
  """
  facts = _facts(path)
  if os.path.isfile(os.path.join(path, 'config.json')):
    run = train_lib.Run(path)
    found = run.checkpoint(checkpoint)
    model = train_lib.load(path, checkpoint=found.rsplit('-', 1)[1])
    # The frame of `Framing` has one size; all other layers are convolutions.
    scales = run.config.num_scales
    if run.config.trunk != 'none':
      scales = max(scales, run.config.trunk_scales)
    multiple = 0 if run.config.framing else 2**scales
    return Opened(
        model, run.preparations(), os.path.basename(found), multiple,
        dict.fromkeys(run.config.many, run.config.many_every))
  servables = _servables(path)
  served = _Served(servables, facts)
  if served.has('decode'):
    served = _ServedLatents(servables, facts)
    if served.has('log_prob'):
      served = _ServedDensities(servables, facts)
  return Opened(
      served,
      {d: Preparation(**values) for d, values in facts['preparations'].items()},
      os.path.basename(next(iter(servables.values()))),
      many=facts.get('many', {}))  # Earlier exports have none.


def _facts(path: str) -> dict[str, Any]:
  name = os.path.join(path, 'config.json')
  if not os.path.isfile(name):
    found = _servables(path)
    if not found:
      raise files.TranslateError(
          '`run` must be a directory made by `python -m alignflow_tf.train` or '
          f'`python -m alignflow_tf.export`, got {path!r}.')
    name = os.path.join(
        next(iter(found.values())), 'assets.extra', 'alignflow.json')
  try:
    with open(name, encoding='utf-8') as f:
      facts = json.load(f)
    facts['domains'], facts['event_shape']
    return facts
  except (OSError, ValueError, KeyError, TypeError) as e:
    raise files.TranslateError(
        f'`run`: {name} cannot be read ({e}). A SavedModel of an earlier '
        'version of alignflow_tf has none: export again.') from e


def _servables(path: str) -> dict[str, str]:
  """Directories of the newest versions, by name."""
  base = glob.escape(os.path.abspath(path))
  found: dict[str, str] = {}
  for pattern in ('', '*', os.path.join('[!.]*', '*')):
    versions = [os.path.dirname(p) for p in glob.glob(
        os.path.join(base, pattern, 'saved_model.pb'))]
    versions = [v for v in versions if os.path.basename(v).isdecimal()]
    versions.sort(key=lambda v: int(os.path.basename(v)))
    found |= {os.path.basename(os.path.dirname(v)): v for v in versions}
  return dict(sorted(found.items()))


class _Served:
  """SavedModels as a model that `Translates`; loaded at their first use."""

  variables: tuple[Any, ...] = ()
  trainable_variables: tuple[Any, ...] = ()

  def __init__(self, servables: dict[str, str], facts: dict[str, Any]):
    self.domains = tuple(facts['domains'])
    self.event_shape = tuple(facts['event_shape'])
    self.event_size = math.prod(self.event_shape)
    self.dtype = tf.float32
    self._servables = servables
    self._loaded: dict[str, Any] = {}

  def has(self, signature: str) -> bool:
    """Whether some servable has a signature."""
    return any(signature in self._load(name).signatures
               for name in self._servables)

  def _load(self, servable: str) -> Any:
    if servable not in self._servables:
      raise files.TranslateError(
          f'`run` must hold the servable {servable!r} for this, got '
          f'{", ".join(self._servables)}.')
    if servable not in self._loaded:
      self._loaded[servable] = tf.saved_model.load(self._servables[servable])
    return self._loaded[servable]

  def _function(self, servable: str, signature: str, takes: str,
                gives: str) -> Callable[[Any], Any]:
    found = self._load(servable).signatures[signature]
    return lambda x: found(**{takes: x})[gives]

  def translator(self, source: str, target: str) -> Any:
    return types.SimpleNamespace(forward=self._function(
        f'{source}_to_{target}', 'serving_default', 'image', 'image'))

  def initialize(self, images: Any) -> None:
    raise TypeError('A SavedModel cannot be initialised.')


class _ServedLatents(_Served):
  """SavedModels as a model that `HasLatents`."""

  prior: Any = None

  def encode(self, images: Any, domain: str) -> Any:
    return self._function(domain, 'encode', 'image', 'latent')(images)

  def decode(self, latents: Any, domain: str) -> Any:
    return self._function(domain, 'decode', 'latent', 'image')(latents)


class _ServedDensities(_ServedLatents):
  """SavedModels as a model that `HasDensity`."""

  def __getitem__(self, domain: str) -> Any:
    return types.SimpleNamespace(log_prob=self._function(
        domain, 'log_prob', 'image', 'log_prob'))

  def bits_per_dim(self, images: Any, domain: str) -> Any:
    return self._function(
        domain, 'log_prob', 'image', 'bits_per_dim')(images)

"""The contents of a kit: programs, state and images."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import gzip
import json
import os
from typing import Any

import jax
import numpy as np

Arrays = dict[str, np.ndarray]
State = list[Any]


class Kit:
  """The contents of a kit's directory.

  Attributes:
    directory: Its path.
    manifest: Its manifest.
    precision: The precision of the programs that `program` gives.
  """

  def __init__(self, directory: str, precision: str):
    self.directory = directory
    with open(os.path.join(directory, 'manifest.json'), encoding='utf-8') as f:
      self.manifest = json.load(f)
    if self.manifest['format'] != 2:
      raise SystemExit(
          f'This runner reads kits of format 2, got {self.manifest["format"]}.')
    if precision not in self.manifest['precisions']:
      raise SystemExit(
          f'--precision must be one of {self.manifest["precisions"]}, got '
          f'{precision!r}.')
    self.precision = precision
    self.domains = self.manifest['domains']
    self.event_shape = tuple(self.manifest['event_shape'])
    self.batch_size = self.manifest['batch_size']

  def data(self, split: str) -> Arrays:
    """uint8 images by domain."""
    with np.load(os.path.join(self.directory, 'data.npz'),
                 allow_pickle=False) as f:
      return {d: f[f'{split}/{d}'] for d in self.domains
              if f'{split}/{d}' in f.files}

  def directions(self) -> list[tuple[str, str]]:
    """All (source, target)."""
    return [(s, t) for s in self.domains for t in self.domains if s != t]

  def has(self, name: str) -> bool:
    """Whether there is a program of that name."""
    return name in self.manifest['programs']

  def initial_state(self) -> State:
    """The state to start from, a list of arrays."""
    state: State = []
    with np.load(os.path.join(self.directory, 'state.npz'),
                 allow_pickle=False) as stored:
      for i, entry in enumerate(self.manifest['state']):
        shape, dtype = tuple(entry['shape']), entry['dtype']
        if 'constant' in entry:
          value = np.full(shape, entry['constant'], dtype)
        elif 'same_as' in entry:
          value = state[entry['same_as']]
        elif 'normal' in entry:
          draws = np.random.Generator(
              np.random.Philox(entry['normal']['seed']))
          value = (draws.standard_normal(shape, np.float32) *
                   np.float32(entry['normal']['stddev'])).astype(dtype)
        else:
          value = stored[str(i)]
        state.append(value)
    return state

  def program(self, name: str) -> Callable[..., Any]:
    """A function of the arguments and the state.

    Returns the results, then the new values of updated tensors, by number.
    """
    facts, entries = self.manifest['programs'][name], self.manifest['state']
    path = os.path.join(
        self.directory, 'programs', f'{name}.{self.precision}.mlirbc.gz')
    with gzip.open(path, 'rb') as f:
      artifact = f.read()
    updates = {int(output): i for output, i in facts['updates'].items()}
    # Results come first, then the new values of the state.
    outputs = facts['results'] + [entries[updates[i]] for i in sorted(updates)]
    call = exported(
        artifact, name,
        [*facts['arguments'], *(entries[i] for i in facts['state'])], outputs)
    names = [result['name'] for result in facts['results']]

    def function(arguments: Any, state: Any) -> Any:
      values = call(*arguments, *(state[i] for i in facts['state']))
      return (dict(zip(names, values, strict=False)),
              {number: values[output] for output, number in updates.items()})

    return function


def exported(
    artifact: bytes, name: str, inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]]) -> Callable[..., Any]:
  """A StableHLO artifact as a function that `jax.jit` takes.

  Args:
    artifact: The artifact.
    name: Its name.
    inputs: `shape` and `dtype` of each input.
    outputs: The same of each output.

  Returns:
    A function of all inputs, which returns a tuple of all outputs.
  """
  in_avals, out_avals = (
      tuple(jax.core.ShapedArray(tuple(x['shape']), np.dtype(x['dtype']))
            for x in group) for group in (inputs, outputs))
  tree = jax.tree_util.tree_structure
  known = {
      'fun_name': name,
      'in_tree': tree((tuple(range(len(in_avals))), {})),
      'in_avals': in_avals,
      'out_tree': tree(tuple(range(len(out_avals)))),
      'out_avals': out_avals,
      '_has_named_shardings': False,
      '_in_named_shardings': (None,) * len(in_avals),
      '_out_named_shardings': (None,) * len(out_avals),
      'in_shardings_hlo': (None,) * len(in_avals),
      'out_shardings_hlo': (None,) * len(out_avals),
      'nr_devices': 1,
      'platforms': (jax.default_backend().replace('gpu', 'cuda'),),
      'ordered_effects': (), 'unordered_effects': (),
      'disabled_safety_checks': (),
      'mlir_module_serialized': artifact,
      'calling_convention_version':
          jax.export.maximum_supported_calling_convention_version,
      'module_kept_var_idx': tuple(range(len(in_avals))),
      'uses_global_constants': False,
      '_get_vjp': None,
  }
  fields = [f.name for f in dataclasses.fields(jax.export.Exported)]
  return jax.export.Exported(**{f: known[f] for f in fields}).call

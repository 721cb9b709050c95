"""The directions of translation that a training step trains."""

from __future__ import annotations

import itertools

from alignflow_tf.train import config as config_lib

__all__ = ['Directions', 'turns']

Directions = list[tuple[str, str]]


def turns(config: config_lib.Config,
          domains: tuple[str, ...]) -> list[Directions]:
  """The sets of directions that steps train in turns.

  Turn k translates each of N domains to the k-th domain after it, the first one
  coming after the last: N - 1 turns, in which each direction comes once. In
  each of them every domain is the source of one direction and the target of
  one, so that a step's cost grows with N. Two domains have one turn.

  With `train_domains`, a turn has the directions from and to these alone.

  Args:
    config: The configuration.
    domains: Names of the domains.

  Returns:
    For each turn, its directions (source, target).
  """
  number = len(domains)
  found = [[(s, domains[(i + k) % number]) for i, s in enumerate(domains)]
           for k in range(1, number)]
  if config.directions == 'all':
    found = [list(itertools.permutations(domains, 2))]
  trained = set(config.train_domains or domains)
  return [[pair for pair in turn if trained & set(pair)] for turn in found]

"""Runs of a table: trained and evaluated where missing, then summarised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import itertools
import json
import math
import os
import sys
from typing import Any

import numpy as np

from alignflow_tf import _io
from alignflow_tf.evaluate import _subprocess
from alignflow_tf.evaluate import reference_networks
from alignflow_tf.evaluate import tables
from alignflow_tf.evaluate import translations
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import runs

# The parts of an evaluation that a table needs; `seconds` is written last.
_NEEDED = ('images', 'translation', 'chance', 'features', 'round_trip',
           'seconds')


def run(methods: Sequence[tables.Method], settings: tables.Settings,
        call: Callable[[list[str]], None] | None = None) -> dict[str, Any]:
  """Trains and evaluates missing runs, and gathers the figures.

  Each run is a process of its own. The same call goes on with stopped runs and
  leaves finished ones alone.

  Args:
    methods: The rows.
    settings: The settings that they share.
    call: Runs a command line; for tests.

  Returns:
    The gathered figures, as in `<output>/table.json`; see `summarise`.

  Raises:
    tables.TableError: If a run fails.
    ConfigError: If settings do not fit; before anything is trained.
    Stopped: If a signal came, after the run that it stopped was saved.
  """
  call = call or _call
  found: dict[str, dict[int, dict[str, Any]]] = {m.name: {} for m in methods}
  # Seed by seed: a table that is stopped early has whole seeds.
  work = [(seed, method, tables.configuration(method, settings, seed))
          for seed, method in itertools.product(settings.seeds, methods)]
  for seed, method, config in work:
    directory = place(method, settings, seed)
    if not _is_done(directory, config):
      call([sys.executable, '-m', 'alignflow_tf.train', '--noexport',
            f'--run_dir={directory}', *config.flag_lines().splitlines()])
    found[method.name][seed] = _evaluated(directory, settings, call)
  result = summarise(methods, settings, found)
  os.makedirs(settings.output, exist_ok=True)
  _io.dump(os.path.join(settings.output, 'table.json'), result)
  return result


def place(method: tables.Method, settings: tables.Settings, seed: int) -> str:
  """The directory of a row's run: its own, or the other table's of the same."""
  config = tables.configuration(method, settings, seed)
  own, *others = (os.path.join(settings.output, f'{name}_seed{seed}')
                  for name in (method.name, *method.other_names))
  if os.path.exists(own):
    return own
  return next((path for path in others if _is_of(path, config)), own)


def _is_of(directory: str, config: config_lib.Config) -> bool:
  return os.path.exists(os.path.join(directory, 'config.json')) and not (
      runs.Run(directory).differences(config))


def _is_done(directory: str, config: config_lib.Config) -> bool:
  if not _is_of(directory, config):
    return False  # Training says what differs.
  try:
    return runs.Run(directory).latest().endswith(f'-{config.steps}')
  except runs.RunError:
    return False


def _evaluated(directory: str, settings: tables.Settings,
               call: Callable[[list[str]], None]) -> dict[str, Any]:
  """The evaluation of a run; made if there is none of these settings."""
  name = 'evaluation' if settings.split == 'test' else (
      f'evaluation_{settings.split}')
  path = os.path.join(directory, name, 'evaluation.json')
  wanted = {
      'checkpoint': os.path.basename(runs.Run(directory).latest()),
      'limit': settings.limit, 'split': settings.split, 'seed': 0,
      'supervised': True, 'inception_weights': None,
      'references': reference_networks.place(settings.references)}

  def read() -> dict[str, Any] | None:
    try:
      with open(path, encoding='utf-8') as f:
        result = json.load(f)
    except (OSError, ValueError):
      return None
    # An evaluation without all of these is unfinished, or of an old version.
    whole = isinstance(result, dict) and all(
        name in result for name in (*_NEEDED, *wanted))
    return result if whole and all(
        result[name] == value for name, value in wanted.items()) else None

  result = read()
  if result is None:
    options = {'references': settings.references, 'limit': settings.limit,
               'data_dir': settings.data_dir}
    call([sys.executable, '-m', 'alignflow_tf.evaluate', f'--run={directory}',
          f'--split={settings.split}', '--noclassify'] + [
              f'--{k}={v}' for k, v in options.items() if v is not None])
    result = read()
  if result is None:
    raise tables.TableError(
        f'the evaluation did not write {path}, or with other settings.')
  return result


def _call(command: list[str]) -> None:
  print('+ ' + ' '.join(command[1:]), flush=True)
  code = _subprocess.call(command)
  if code:
    raise tables.TableError(
        f'`{" ".join(command)}` ended with {code}; the same command goes on '
        'from here.')


def summarise(methods: Sequence[tables.Method], settings: tables.Settings,
              found: Mapping[str, Mapping[int, Mapping[str, Any]]]
             ) -> dict[str, Any]:
  """Means and standard deviations over seeds.

  Returns:
    `directions`: for each direction, `rows`, for each method and each row that
    needs no unpaired training, `title`, `paper` (MSE) and `figures`: by name,
    `mean`, `std` (over seeds, null for one), `values`, and `missing`, the
    number of values that are not finite or not there, which the mean leaves
    out;
    `round_trip` by method; `order`: see `order`.
  """
  first = next(iter(found[methods[0].name].values()))
  result: dict[str, Any] = {
      'dataset': settings.dataset, 'image_size': settings.size,
      'budget': settings.budget, 'seeds': list(settings.seeds),
      'split': settings.split, 'images': first['images'],
      'selection': 'the moving average of the weights at the last step',
      'settings': {
          m.name: tables.configuration(m, settings, settings.seeds[0]).to_json()
          for m in methods},
      'directions': {}, 'round_trip': {}, 'order': None}
  for index, (direction, baselines) in enumerate(first['translation'].items()):
    rows: dict[str, Any] = {}
    for name, figures in baselines.items():
      if name != 'model':
        rows[name] = {'title': translations.ROWS.get(name, name),
                      'paper': None, 'figures': _figures([figures])}
    for method in methods:
      scores = [e['translation'][direction]['model']
                for e in found[method.name].values()]
      rows[method.name] = {
          'title': method.title,
          'paper': method.paper and method.paper[index],
          'figures': _figures(scores)}
    result['directions'][direction] = {
        'rows': rows, 'chance': first['chance'][direction],
        'features': first['features'][direction]}
  for method in methods:
    result['round_trip'][method.name] = {
        direction: {
            k: _spread([e['round_trip'][direction].get(k)
                        for e in found[method.name].values()])
            for k in ('max', 'mean', 'saturated')}
        for direction in first['round_trip']}
  result['order'] = order(methods, result)
  return result


def _figures(scores: Sequence[Mapping[str, float | None]]
            ) -> dict[str, dict[str, Any]]:
  """The spread of each figure that any of the scores has."""
  return {name: _spread([score.get(name) for score in scores])
          for name in dict.fromkeys(k for score in scores for k in score)}


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
  """See `summarise`; in JSON, numbers that are not finite are null."""
  finite = [v for v in values if v is not None and math.isfinite(v)]
  return {'mean': float(np.mean(finite)) if finite else None,
          'std': float(np.std(finite, ddof=1)) if len(finite) > 1 else None,
          'values': list(values), 'missing': len(values) - len(finite)}


def order(methods: Sequence[tables.Method], result: Mapping[str, Any]
         ) -> dict[str, int]:
  """Number of pairs of methods that are in the paper's order of MSE.

  Args:
    methods: The rows.
    result: The result of `summarise`.

  Returns:
    `same`: pairs of methods in the paper's order, over both directions, without
    those whose MSE is not finite; `pairs`: all pairs that the paper reports.
  """
  same = total = 0
  for direction in result['directions'].values():
    rows = [(row['paper'], row['figures']['mse']['mean'])
            for row in (direction['rows'][m.name] for m in methods)
            if row['paper'] is not None]
    for (paper, here), (paper_2, here_2) in itertools.combinations(rows, 2):
      total += 1
      if here is not None and here_2 is not None:
        same += (paper < paper_2) == (here < here_2)
  return {'same': same, 'pairs': total}

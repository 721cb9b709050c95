"""Reports of the paper's tables: Markdown, an HTML page, sheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import html
import itertools
import os
from typing import Any

import numpy as np

from alignflow_tf import _io
from alignflow_tf import flows
from alignflow_tf import inference
from alignflow_tf import model as model_lib
from alignflow_tf import sheets as sheets_lib
from alignflow_tf.evaluate import evaluation
from alignflow_tf.evaluate import layout
from alignflow_tf.evaluate import table_runs
from alignflow_tf.evaluate import tables
from alignflow_tf.evaluate import translations
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import runs

# Number of images among which the worst round trips are searched.
_SEARCHED = 1000
# Images on a sheet.
_SHOWN_IMAGES = 12
# Figures of the printed table; the JSON has all.
_SHOWN = ('mse', 'correlation', 'top_1', 'top_5', 'percentile',
          'class_accuracy', 'mean_iou', 'ssim', 'kid', 'not_finite')
# Settings in which rows differ on purpose. Others should be equal in all rows;
# the heading says where they are not.
_OF_A_ROW = frozenset({
    'model', 'objective', 'preset', 'lambda_a', 'lambda_b', 'num_scales',
    'width', 'num_blocks', 'seed', 'flow'})


def make(methods: Sequence[tables.Method], settings: tables.Settings) -> None:
  """Makes missing runs and writes table.json, table.md and report.html.

  The first two are written before the models are loaded for the third, and
  once more with the models' numbers of weights.

  Raises:
    TableError: If nothing can be written there.
  """
  try:
    result = table_runs.run(methods, settings)
    _write_text(result, settings.output)
    models = load(methods, settings)
    result['weights'] = {
        name: flows.num_parameters(model) for name, model in models.items()}
    _io.dump(os.path.join(settings.output, 'table.json'), result)
    _write_text(result, settings.output)
    path = write_report(
        result, sheets(methods, settings, models), settings.output)
  except OSError as e:
    raise tables.TableError(
        f'`output` {settings.output!r} cannot be written to '
        f'({type(e).__name__}: {e}). Make room, or make it writable; the same '
        'command then goes on.') from e
  print(text(result))
  print(f'\nReport: {path}')


def _write_text(result: Mapping[str, Any], output: str) -> None:
  _io.write_aside(
      os.path.join(output, 'table.md'), text(result) + '\n')


def text(result: Mapping[str, Any]) -> str:
  """The table as Markdown."""
  lines = [_heading(result)]
  for direction, content in result['directions'].items():
    lines += ['', direction.replace('_to_', ' to '), '',
              *_figures(content).markdown()]
  lines += ['', 'Round trips, error of a pixel in [0, 1]', '',
            *_round_trips(result).markdown(), '', *_last_lines(result)]
  return '\n'.join(lines)


def _heading(result: Mapping[str, Any]) -> str:
  images = ', '.join(f'{n} {d}' for d, n in result['images'].items())
  some = next(iter(result['settings'].values()))
  flows = ', '.join(sorted({
      f"{values['flow']}, width {values['width']}"
      for values in result['settings'].values()
      if values['model'] == 'alignflow'}))
  return (
      f'{result["dataset"]} at {result["image_size"]}x{result["image_size"]}, '
      f'{some["steps"]} steps of {some["batch_size"]}, seeds '
      f'{", ".join(map(str, result["seeds"]))}; {result["split"]} images: '
      f'{images}. Flows: {flows}. Selection: {result["selection"]}.'
      f'{_unequal(result)}')


def _unequal(result: Mapping[str, Any]) -> str:
  """The settings that are not equal in all rows that use them."""
  unused = {
      row: {field.name for field in config_lib.unused_settings(values['model'])}
      for row, values in result['settings'].items()}
  parts = []
  for name in next(iter(result['settings'].values())):
    rows: dict[str, list[str]] = {}
    for row, values in result['settings'].items():
      if name not in unused[row]:
        rows.setdefault(str(values.get(name)), []).append(row)
    if len(rows) > 1 and name not in _OF_A_ROW:
      parts.append(f'{name} ' + ', '.join(
          f'{value} ({", ".join(names)})' for value, names in rows.items()))
  return f' Not equal in all rows: {"; ".join(parts)}.' if parts else ''


def _last_lines(result: Mapping[str, Any]) -> list[str]:
  lines = [
      f'Of the {result["order"]["pairs"]} pairs of methods in the paper\'s '
      f'table, {result["order"]["same"]} stand in its order here (MSE).']
  if 'weights' in result:
    lines.append('Trained weights, critics left out: ' + ', '.join(
        f'{n:,} ({name})' for name, n in result['weights'].items()) + '.')
  return lines


def _round_trips(result: Mapping[str, Any]) -> layout.Table:
  rows = [
      [name, f'{direction.replace("_to_", " to ")} and back',
       _NOT_FINITE if value['max']['missing'] else (
           f'{max(value["max"]["values"]):.1e}'),
       _mean(value['mean'], '{:.1e}'.format),
       _mean(value['saturated'], '{:.2%}'.format)]
      for name, directions in result['round_trip'].items()
      for direction, value in directions.items()]
  return layout.Table(
      ['method', 'direction', 'largest', 'mean', 'saturated'], rows)


def _figures(content: Mapping[str, Any]) -> layout.Table:
  names = [n for n in _SHOWN if any(
      n in row['figures'] for row in content['rows'].values())]
  head = ['', 'MSE', 'paper'] + [
      translations.FIGURES[n].title for n in names if n != 'mse']
  rows = []
  for row in content['rows'].values():
    cells = [row['title']]
    for name in names:
      figure = row['figures'].get(name)
      cells.append('' if figure is None else _mean(
          figure, translations.FIGURES[name].text))
      if name == 'mse':
        cells.append('' if row['paper'] is None else f'{row["paper"]:.4f}')
    rows.append(cells)
  chance = content['chance']
  rows.append(['chance', '', ''] + [
      translations.FIGURES[n].text(chance[n]) if n in chance else ''
      for n in names if n != 'mse'])
  features = content['features']
  return layout.Table(
      head, rows, note=f'KID: {features}.' if features else '', own=[
          i for i, row in enumerate(content['rows'].values())
          if row['paper'] is not None])


_NOT_FINITE = 'not finite'


def _mean(figure: Mapping[str, Any], form: Callable[[float], str]) -> str:
  """A mean, its spread over seeds, and the number of seeds left out."""
  if figure['mean'] is None:
    return _NOT_FINITE
  text = form(figure['mean'])
  if figure['std'] is not None:
    text += f' ± {form(figure["std"])}'
  if figure['missing']:
    text += f' ({figure["missing"]} of {len(figure["values"])} {_NOT_FINITE})'
  return text


def write_report(result: Mapping[str, Any],
                 sheets_found: Sequence[tuple[str, str]], output: str) -> str:
  """Writes `report.html`: the table and sheets, one self-contained page.

  Args:
    result: The result of `table_runs.run` and, if known, `weights`, each
      method's number of weights.
    sheets_found: Captions and paths; see `sheets`.
    output: Directory of the table.
  """
  title = f'{result["dataset"]}, {result["image_size"]}x{result["image_size"]}'
  body = [f'<h1>{html.escape(title)}</h1>',
          f'<p>{html.escape(_heading(result))}</p>']
  for direction, content in result['directions'].items():
    body += [f'<h2>{html.escape(direction.replace("_to_", " to "))}</h2>',
             _figures(content).html()]
  body += ['<h2>Round trips</h2>', _round_trips(result).html(),
           *(f'<p>{html.escape(line)}</p>' for line in _last_lines(result))]
  for caption, path in sheets_found:
    body += [f'<h2>{html.escape(caption)}</h2>', layout.picture(path)]
  path = os.path.join(output, 'report.html')
  _io.write_aside(
      path, layout.PAGE.format(title=html.escape(title), body='\n'.join(body)))
  return path


def load(methods: Sequence[tables.Method], settings: tables.Settings
        ) -> dict[str, model_lib.Translates]:
  """The models of the first seed, by method."""
  return {m.name: runs.load(table_runs.place(m, settings, settings.seeds[0]))
          for m in methods}


def sheets(methods: Sequence[tables.Method], settings: tables.Settings,
           models: Mapping[str, model_lib.Translates]
          ) -> list[tuple[str, str]]:
  """Pictures of the first seed's runs, side by side.

  Each direction has a sheet of the images, every method's translations and the
  true partners. If CycleGAN and a flow are among the methods, a second sheet
  compares CycleGAN's worst round trips with the flow's of the same images
  (figure 3).

  Args:
    methods: The rows.
    settings: The settings that they share.
    models: See `load`.

  Returns:
    Captions and paths of the PNGs, in `settings.output`.
  """
  evaluators = {n: inference.Evaluator(model) for n, model in models.items()}
  config = tables.configuration(methods[0], settings, settings.seeds[0])
  images = evaluation.images_of(
      inputs.load(config), settings.split, settings.limit or _SEARCHED)
  found = []
  flow = next((n for n in ('hybrid', 'adversarial', 'mle') if n in evaluators),
              None)
  for s, t in itertools.permutations(images, 2):
    x, y = images[s]['image'], images[t]['image']
    # Spread over the split, not its first few.
    shown = np.linspace(0, len(x) - 1, min(_SHOWN_IMAGES, len(x))).astype(int)
    rows = [x[shown]] + [
        e.translate(x[shown], s, t) for e in evaluators.values()] + [y[shown]]
    path = os.path.join(settings.output, f'methods_{s}_to_{t}.png')
    sheets_lib.write_png(path, sheets_lib.grid(rows, scale=2))
    found.append((
        f'{s} to {t}: source; ' + '; '.join(m.title for m in methods) +
        '; true partner', path))
    if 'cyclegan' in evaluators and flow:
      path = os.path.join(settings.output, f'round_trips_{s}_to_{t}.png')
      sheets_lib.write_png(path, sheets_lib.worst_round_trips(
          [evaluators['cyclegan'], evaluators[flow]], x, s, t))
      found.append((
          f'{s} to {t} and back, where CycleGAN does worst (figure 3): image; '
          f'CycleGAN there, and back; AF ({flow}) there, and back', path))
  return found

"""The report of an evaluation: figures and pictures as one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import html
import math
import os
from typing import Any

from alignflow_tf import _io
from alignflow_tf.evaluate import charts
from alignflow_tf.evaluate import layout
from alignflow_tf.evaluate import translations


def write(path: str, result: Mapping[str, Any], run_dir: str,
          settings: Mapping[str, Any]) -> None:
  """Writes `report.html`, which needs no other file and no network.

  Args:
    path: Path of the file.
    result: The figures of `evaluate`; pictures are read from their paths.
    run_dir: The run directory.
    settings: The configuration.
  """
  title = f'{settings["model"]} on {settings["dataset"]}'
  counts = ', '.join(f'{n} {html.escape(d)}'
                     for d, n in result['images'].items())
  body = [
      f'<h1>{html.escape(title)}</h1>',
      f'<p>Run <code>{html.escape(result["run"])}</code>, checkpoint '
      f'<code>{html.escape(result["checkpoint"])}</code>, moving average of '
      f'the weights. {html.escape(result["split"].capitalize())} images: '
      f'{counts}. Seed {result["seed"]}.</p>']
  for heading, tables in figures(result).items():
    body += [f'<h2>{heading}</h2>', *(table.html() for table in tables)]
  body += _pictures(result['pictures'])
  body += _critics(result)
  summaries = os.path.join(run_dir, 'summaries')
  if os.path.isdir(summaries):
    body.append('<h2>Training</h2><p>Curves: <code>tensorboard --logdir '
                f'{html.escape(summaries)}</code></p>')
  rows = ''.join(f'<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td>'
                 '</tr>' for k, v in settings.items())
  body.append('<h2>Configuration</h2><details><summary>All settings</summary>'
              f'<table>{rows}</table></details>')
  _io.write_aside(
      path, layout.PAGE.format(title=html.escape(title), body='\n'.join(body)))


def figures(result: Mapping[str, Any]) -> dict[str, list[layout.Table]]:
  """The tables of an evaluation, by heading.

  Args:
    result: The figures of `evaluate`.
  """
  found = {'Translations': _translations(result),
           'Round trips': [_round_trips(result)],
           'Several translations': _draws(result),
           'Densities': _densities(result), 'Samples': _samples(result),
           'Classifiers': _labels(result)}
  return {heading: tables for heading, tables in found.items() if tables}


def _number(text: Callable[[float], str], value: Any) -> str:
  if value is None:
    return ''
  return text(value) if math.isfinite(value) else 'not finite'


def _title(direction: str) -> str:
  return direction.replace('_to_', ' to ')


def _translations(result: Mapping[str, Any]) -> list[layout.Table]:
  tables = []
  for direction, rows in result['translation'].items():
    columns = {translations.ROWS[name]: row for name, row in rows.items()}
    if result['chance'].get(direction):
      columns['chance'] = result['chance'][direction]
    lines = [
        [f'{figure.title}\n{figure.unit}; {figure.better} is better',
         *(_number(figure.text, row.get(name)) for row in columns.values())]
        for name, figure in translations.FIGURES.items()
        if any(name in row for row in rows.values())]
    if not lines:
      continue
    features = result['features'].get(direction)
    tables.append(layout.Table(
        ['', *columns], lines, _title(direction),
        f'KID and FID: {features}. They compare rows of this table, not other '
        'papers.' if features else ''))
  if tables and result['paired']:
    tables[-1] = tables[-1]._replace(note=' '.join(filter(None, (
        tables[-1].note, 'A constant or a blur can win in MSE where the source '
        'does not determine the target; it cannot win retrieval, correlation, '
        'IoU or KID. "Supervised" has seen the training pairs, which no other '
        'row has.'))))
  return tables


def _round_trips(result: Mapping[str, Any]) -> layout.Table:
  rows = []
  for title, key in ((f'{result["split"]} images', 'round_trip'),
                     ('the same, through an 8-bit picture',
                      'round_trip_pictures'),
                     ('black, white, grey, noise', 'round_trip_extremes')):
    for direction, value in result[key].items():
      rows.append([
          f'{_title(direction)} and back\n{title}',
          _number('{:.1e}'.format, value['max']),
          _number('{:.1e}'.format, value['mean']),
          _number('{:.2%}'.format, value['outside']),
          _number('{:.2%}'.format, value['saturated'])])
  return layout.Table(
      ['', 'largest error', 'mean error', 'outside [0, 1]', 'saturated'], rows,
      note='Errors of a pixel in [0, 1]; shares of the translated pixels, '
      'saturated being all not strictly inside.')


def _draws(result: Mapping[str, Any]) -> list[layout.Table]:
  found = result.get('draws')
  if not found:
    return []
  columns = {
      'spread': 'two translations', 'spread_real': 'two real images',
      'back': 'back from 8 bits', 'mse': 'MSE', 'best_mse': 'best of eight'}
  shown = [name for name in columns if any(name in v for v in found.values())]
  return [layout.Table(
      ['', *(columns[name] for name in shown)],
      [[_title(direction), *(
          _number('{:.4f}'.format, values.get(name)) for name in shown)]
       for direction, values in found.items()],
      note='Each image has eight translations, drawn at random. Differences '
      'and errors are mean absolute ones of a pixel in [0, 1], MSE is on (-1, '
      '1).')]


def _densities(result: Mapping[str, Any]) -> list[layout.Table]:
  bounds = result.get('bits_per_dim_bound')
  if bounds:
    return [layout.Table(
        ['', 'bits/dim, an upper bound'],
        [[d, f'{value:.3f}'] for d, value in bounds.items()],
        note='Lower is better. The evidence lower bound of the model as '
        'bits/dim, with one draw of the latents an image: its exact figure may '
        'be lower.')]
  if not result['bits_per_dim']:
    return []
  return [layout.Table(
      ['', 'bits/dim'],
      [[d, f'{value:.3f}'] for d, value in result['bits_per_dim'].items()],
      note='Lower is better.')]


def _samples(result: Mapping[str, Any]) -> list[layout.Table]:
  found = result['samples']
  if not found:
    return []
  share = '' if 'same_class' not in found else (
      ' Samples of all domains from one latent are of one class, for '
      f'classifiers sure above 0.9, for {found["same_class"]:.1%}.')
  kid = translations.FIGURES['kid']
  return [layout.Table(
      ['', f'{kid.title}: samples', 'other real images'],
      [[d, kid.text(v['samples']), kid.text(v['real'])]
       for d, v in found['kid'].items()],
      note=f'Against half of the real images; lower is better.{share}')]


def _labels(result: Mapping[str, Any]) -> list[layout.Table]:
  if not result['accuracy']:
    return []
  return [layout.Table(
      ['trained on labelled', 'source images', 'translated'],
      [[_title(d), f'{v["source_only"]:.1%}', f'{v["translated"]:.1%}']
       for d, v in result['accuracy'].items()],
      note='Accuracy on images of the target.')]


_CAPTIONS = (
    ('interpolation_', 'Interpolation of {}',
     'The polar path of section 5.3 between two images, the left and the right '
     'end: in their domain, and below it decoded into each other one.'),
    ('worst_', 'Worst round trips, {}',
     'The images that come back worst: image, translation, the way back.'),
    ('draws_', 'Several translations, {}',
     'Image, and four translations of it, drawn at random{}.'),
    ('samples', 'Samples', 'A row a domain, a column a latent.'),
    ('', '{}', 'Image, translation, the way back{}.'),
)


def _pictures(paths: Sequence[str]) -> list[str]:
  parts = ['<h2>Pictures</h2>']
  # Translations first: readers look for them.
  order = sorted(paths, key=lambda p: (
      [i for i, (start, _, _) in enumerate(_CAPTIONS)
       if os.path.basename(p).startswith(start)][0] * -1,
      os.path.splitext(p)[0], p.endswith('.gif')))
  for path in order:
    name = os.path.splitext(os.path.basename(path))[0]
    for start, title, text in _CAPTIONS:
      if name.startswith(start):
        what = name[len(start):].replace('_to_', ' to ')
        parts.append(f'<h3>{html.escape(title.format(what))}</h3>')
        if path.endswith('.gif'):
          text = 'The same, moving.'
        parts.append(f'<p class="note">{text.format(_WANTED)}</p>')
        parts.append(layout.picture(path))
        break
  return parts


_WANTED = ', and the true partner where there is one'


def _critics(result: Mapping[str, Any]) -> list[str]:
  found = result['critics']
  if not found:
    return []
  a, b = result['images']
  noise = '' if not found['noise'] else (
      ' This is exact for critics that see images as they are; these saw noise '
      f'of {found["noise"]:g} (critic_noise), so even the best ones agree only '
      'roughly.')
  return [
      '<h2>Critics</h2>',
      charts.scatter(
          {f'images of {d}': points for d, points in found['points'].items()},
          f'{b} critic against {a} critic, at two ends of a translation',
          ((0., 1.), (1., 0.))),
      '<p class="note">The best critics of equation 6 agree: '
      f'C_{html.escape(a)} + C_{html.escape(b)} = 1 (dashed; theorem 2, see '
      f'docs/evaluation.md). Mean distance: {found["gap"]:.3f}; correlation '
      f'{found["correlation"]:.2f}, -1 at best.{noise} The flows are those '
      'that the critics were trained on, not their moving average.</p>']

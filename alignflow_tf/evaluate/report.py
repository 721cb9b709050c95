"""The report of an evaluation: figures and pictures as one HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
import html
import json
import math
import os
from typing import Any

from alignflow_tf import _io
from alignflow_tf.evaluate import charts
from alignflow_tf.evaluate import translations

__all__ = ['PAGE', 'picture', 'scroll_table', 'write']

_TYPES = {'.png': 'image/png', '.gif': 'image/gif'}

# Colours suit light and dark backgrounds. Tables and sheets that are wider than
# a phone scroll by themselves; the page does not.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --edge: #8884; --soft: #8882; }}
body {{ font: 16px/1.45 system-ui, sans-serif; max-width: 72rem;
  margin: 0 auto; padding: 0 1rem 3rem; }}
h1 {{ font-size: 1.5rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.2rem; margin-top: 2rem;
  border-bottom: 1px solid var(--edge); }}
h3 {{ font-size: 1rem; margin-bottom: .3rem; }}
p {{ max-width: 62rem; }}
p.note {{ font-size: .88rem; opacity: .8; margin: .3rem 0; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .88rem;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .4rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--edge); }}
th {{ white-space: normal; vertical-align: bottom; font-weight: 500; }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0;
  background: Canvas; white-space: normal; min-width: 6.5rem; }}
td:first-child small {{ display: block; line-height: 1.2; }}
tr.own td {{ font-weight: 600; background: var(--soft); }}
tr.own td:first-child {{ background: Canvas; }}
@media (max-width: 30rem) {{ table {{ font-size: .78rem; }}
  th, td {{ padding: .25rem .25rem; }} }}
small {{ font-weight: 400; opacity: .75; }}
.sheet img {{ display: block; image-rendering: pixelated; height: auto; }}
.charts {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }}
figure {{ margin: 0; }}
figcaption {{ font-size: .82rem; }}
svg {{ width: 100%; background: #fff; border: 1px solid var(--edge); }}
svg text {{ font: 11px system-ui, sans-serif; fill: #333; }}
figcaption span {{ margin-right: .8em; white-space: nowrap; }}
figcaption i {{ display: inline-block; width: .8em; height: .8em;
  margin-right: .3em; }}
details td {{ text-align: left; white-space: normal; overflow-wrap: anywhere; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

# Curves: title, unit, and the beginnings of the names in metrics.jsonl.
_CURVES = (
    ('Loss', '', ('loss',)),
    ('Adversarial loss of the generator', '', ('adversarial_loss/',)),
    ('Loss of the critics', '', ('critic_loss/',)),
    ('Cycle consistency', 'L1 on (-1, 1)', ('cycle_loss/',)),
    ('Autoencoding, in a domain and by another', '', ('vae_loss/',)),
    ('Training images', 'bits/dim', ('bits_per_dim/',)),
    ('Validation images', 'bits/dim', ('validation/bits_per_dim/',)),
    ('Validation images, an upper bound', 'bits/dim',
     ('validation/bits_per_dim_bound/',)),
    ('Validation, largest round-trip error', 'of [0, 1]',
     ('validation/round_trip_max/',)),
    ('Validation, pixels outside [0, 1]', 'share', ('validation/outside/',)),
)


def write(path: str, result: Mapping[str, Any], run_dir: str,
          settings: Mapping[str, Any]) -> None:
  """Writes `report.html`, which needs no other file and no network.

  Args:
    path: Path of the file.
    result: The figures of `evaluate`; pictures are read from their paths.
    run_dir: The run directory, whose `metrics.jsonl` gives the curves.
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
  body += _translations(result)
  body += _round_trips(result)
  body += _densities(result)
  body += _samples(result)
  body += _labels(result)
  body += _pictures(result['pictures'])
  body += _critics(result)
  body += _curves(os.path.join(run_dir, 'metrics.jsonl'))
  rows = ''.join(f'<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td>'
                 '</tr>' for k, v in settings.items())
  body.append('<h2>Configuration</h2><details><summary>All settings</summary>'
              f'<table>{rows}</table></details>')
  _io.write_aside(
      path, PAGE.format(title=html.escape(title), body='\n'.join(body)))


def scroll_table(head: Sequence[str], rows: Sequence[Sequence[str]],
                 own: Sequence[int] = ()) -> str:
  """A table that scrolls by itself; cells are HTML, `own` rows stand out."""
  lines = ['<tr>' + ''.join(f'<th>{c}</th>' for c in head) + '</tr>']
  for i, row in enumerate(rows):
    kind = ' class="own"' if i in own else ''
    lines.append(
        f'<tr{kind}>' + ''.join(f'<td>{c}</td>' for c in row) + '</tr>')
  return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def picture(path: str) -> str:
  """A picture, embedded; wide ones scroll by themselves."""
  with open(path, 'rb') as f:
    content = base64.b64encode(f.read()).decode()
  kind = _TYPES[os.path.splitext(path)[1]]
  name = html.escape(os.path.basename(path))
  return (f'<div class="scroll sheet"><img alt="{name}" '
          f'src="data:{kind};base64,{content}"></div>')


def _number(pattern: str, value: Any) -> str:
  if value is None:
    return ''
  return pattern.format(value) if math.isfinite(value) else 'not finite'


def _heading(direction: str) -> str:
  return f'<h3>{html.escape(direction.replace("_to_", " to "))}</h3>'


def _translations(result: Mapping[str, Any]) -> list[str]:
  parts = []
  for direction, rows in result['translation'].items():
    names = [n for n in translations.FIGURES
             if any(n in row for row in rows.values())]
    if not names:
      continue
    chance = result['chance'].get(direction, {})
    table = []
    for name in names:
      figure = translations.FIGURES[name]
      cells = [_number(figure.pattern, row.get(name)) for row in rows.values()]
      cells[0] = f'<b>{cells[0]}</b>'
      if chance:
        cells.append(_number(figure.pattern, chance.get(name)))
      table.append([
          f'{html.escape(figure.title)}<small>{html.escape(figure.unit)}; '
          f'{figure.better} is better</small>', *cells])
    head = ['', *(html.escape(translations.ROWS[name]) for name in rows)]
    if chance:
      head.append('<small>chance</small>')
    parts += [_heading(direction), scroll_table(head, table)]
    features = result['features'].get(direction)
    if features:
      parts.append(f'<p class="note">KID and FID: {html.escape(features)}. '
                   'They compare rows of this table, not other papers.</p>')
  if not parts:
    return []
  return [
      '<h2>Translations</h2>', *parts,
      '<p class="note">A constant or a blur can win in MSE where the source '
      'does not determine the target; it cannot win retrieval, correlation, IoU'
      ' or KID. "Supervised" has seen the training pairs, which no other row '
      'has.</p>' if result['paired'] else '']


def _round_trips(result: Mapping[str, Any]) -> list[str]:
  rows = []
  for title, key in ((f'{result["split"]} images', 'round_trip'),
                     ('the same, through an 8-bit picture',
                      'round_trip_pictures'),
                     ('black, white, grey, noise', 'round_trip_extremes')):
    for direction, value in result[key].items():
      rows.append([
          f'{html.escape(direction.replace("_to_", " to "))} and back'
          f'<small>{html.escape(title)}</small>',
          _number('{:.1e}', value['max']), _number('{:.1e}', value['mean']),
          _number('{:.2%}', value['outside']),
          _number('{:.2%}', value['saturated'])])
  return ['<h2>Round trips</h2>', scroll_table(
      ['', 'largest error', 'mean error', 'outside [0, 1]', 'saturated'], rows),
          '<p class="note">Errors of a pixel in [0, 1]; shares of the '
          'translated pixels, saturated being all not strictly inside.</p>']


def _densities(result: Mapping[str, Any]) -> list[str]:
  bounds = result.get('bits_per_dim_bound')
  if bounds:
    return ['<h2>Densities</h2>', scroll_table(
        ['', 'bits/dim, an upper bound'],
        [[html.escape(d), f'{value:.3f}'] for d, value in bounds.items()]),
            '<p class="note">Lower is better. The evidence lower bound of the '
            'model as bits/dim, with one draw of the latents an image: its '
            'exact figure may be lower.</p>']
  if not result['bits_per_dim']:
    return []
  rows = [
      [html.escape(d), f'{value:.3f}',
       f'{result["dequantisation"][d]["spread"]:.4f}']
      for d, value in result['bits_per_dim'].items()]
  seeds = next(iter(result['dequantisation'].values()))
  return ['<h2>Densities</h2>', scroll_table(
      ['', 'bits/dim', 'spread over noise'], rows),
          '<p class="note">Lower is better. Spread: largest less smallest mean '
          f'over {seeds["seeds"]} seeds of the dequantisation noise, '
          f'{seeds["images"]} images.</p>']


def _samples(result: Mapping[str, Any]) -> list[str]:
  found = result['samples']
  if not found:
    return []
  rows = [[html.escape(d), f'{v["samples"]:.4f}', f'{v["real"]:.4f}']
          for d, v in found['kid'].items()]
  share = '' if 'same_class' not in found else (
      ' Samples of all domains from one latent are of one class, for '
      f'classifiers sure above 0.9, for {found["same_class"]:.1%}.')
  return ['<h2>Samples</h2>', scroll_table(
      ['', 'KID of samples', 'of other real images'], rows),
          '<p class="note">Against half of the real images; lower is better.'
          f'{share}</p>']


def _labels(result: Mapping[str, Any]) -> list[str]:
  if not result['accuracy']:
    return []
  rows = [
      [html.escape(d.replace('_to_', ' to ')), f'{v["source_only"]:.1%}',
       f'{v["translated"]:.1%}'] for d, v in result['accuracy'].items()]
  return ['<h2>Classifiers</h2>', scroll_table(
      ['trained on labelled', 'source images', 'translated'], rows),
          '<p class="note">Accuracy on images of the target.</p>']


_CAPTIONS = (
    ('interpolation_', 'Interpolation of {}',
     'The polar path of section 5.3 between two images, the left and the right '
     'end: in their domain, and below it decoded into the other.'),
    ('worst_', 'Worst round trips, {}',
     'The images that come back worst: image, translation, the way back.'),
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
        parts.append(picture(path))
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


def _curves(path: str) -> list[str]:
  try:
    with open(path, encoding='utf-8') as f:
      records = [json.loads(line) for line in f]
  except (OSError, ValueError):
    return []
  parts = []
  for title, unit, starts in _CURVES:
    series: dict[str, list[tuple[float, float]]] = {}
    for record in records:
      for name, value in record.items():
        if value is not None and any(
            name == s or s.endswith('/') and name.startswith(s)
            for s in starts):
          series.setdefault(name.split('/')[-1], []).append(
              (record['step'], value))
    parts.append(charts.lines(series, title, unit))
  return ['<h2>Training</h2>', f'<div class="charts">{"".join(parts)}</div>',
          '<p class="note">Against the number of steps.</p>']

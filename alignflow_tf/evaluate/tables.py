"""The paper's tables, trained and measured: methods over seeds, one budget.

Every method gets the same data, images a step, steps and critics, and one rule
of selection that looks at no image: the moving average of the weights at the
last step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import html
import itertools
import json
import math
import os
import subprocess
import sys
from typing import Any

from absl import flags
import numpy as np

from alignflow_tf import images as images_lib
from alignflow_tf import metrics
from alignflow_tf import pictures
from alignflow_tf.evaluate import evaluation
from alignflow_tf.evaluate import report
from alignflow_tf.evaluate import translations
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import inputs
from alignflow_tf.train import runs

__all__ = [
    'BUDGETS', 'Method', 'Settings', 'TableError', 'define_flags',
    'from_flags', 'make', 'order', 'paper_lambda', 'run', 'sheets', 'summarise',
    'table1', 'table3', 'text', 'write_report'
]


class TableError(RuntimeError):
  """A table that cannot be made; says why."""


@dataclasses.dataclass(frozen=True)
class Method:
  """A row: how it is trained, and what the paper reports for it.

  Attributes:
    name: Name of its run directories.
    title: What it is called in the table.
    settings: Attributes of `Config` that make it what it is.
    paper: MSE A to B and B to A in the paper, where it has the row.
  """
  name: str
  title: str
  settings: Mapping[str, Any]
  paper: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
  """What all rows have in common.

  Attributes:
    dataset: 'maps', 'facades' or 'cityscapes'.
    output: Directory of the runs and of the table.
    budget: A name of `BUDGETS`.
    seeds: Seeds of the runs.
    image_size: Height and width of the images; the budget's where None.
    steps: Generator updates; the budget's where None.
    data_dir: Directory of the data.
    overrides: More attributes of `Config`, for all rows.
    references: See `evaluation.evaluate`.
    split: 'test'; 'validation' to choose hyper-parameters by.
    limit: Number of images evaluated at most.
  """
  dataset: str
  output: str
  budget: str = 'cpu'
  seeds: tuple[int, ...] = (0,)
  image_size: int | None = None
  steps: int | None = None
  data_dir: str | None = None
  overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  references: str | None = None
  split: str = 'test'
  limit: int | None = None

  def __post_init__(self) -> None:
    for name, value, allowed in (
        ('dataset', self.dataset, tuple(_PAPER_SIZES)),
        ('budget', self.budget, tuple(BUDGETS)),
        ('split', self.split, ('test', 'validation'))):
      if value not in allowed:
        raise TableError(
            f'`{name}` must be one of {", ".join(allowed)}, got {value!r}.')
    if not self.seeds or len(set(self.seeds)) < len(self.seeds):
      raise TableError(
          f'`seeds` must be one or more different integers, got {self.seeds}.')

  @property
  def size(self) -> int:
    """Height and width of the images."""
    if self.image_size is not None:
      return self.image_size
    return 32 if self.budget == 'cpu' else _PAPER_SIZES[self.dataset]


# Sizes of the images in the paper (appendix B.1), and 200 epochs in batches
# of 16 (of 400, 1,096 and 2,975 images).
_PAPER_SIZES = {'facades': 128, 'maps': 64, 'cityscapes': 64}
_PAPER_STEPS = {'facades': 5_000, 'maps': 13_700, 'cityscapes': 37_200}

# Presets of the flows and of CycleGAN.
BUDGETS: Mapping[str, tuple[str, str]] = {
    'cpu': ('cpu_pictures', 'cyclegan_cpu'),
    'paper': ('paper', 'cyclegan'),
}

# Table 1 of https://arxiv.org/abs/1905.12892: MSE A to B and B to A.
_TABLE_1: Mapping[str, Mapping[str, tuple[float, float]]] = {
    'facades': {
        'cyclegan': (0.7129, 0.3286), 'adversarial': (0.6727, 0.2679),
        'hybrid': (0.5801, 0.2512), 'mle': (0.9014, 0.5960)},
    'maps': {
        'cyclegan': (0.0245, 0.0953), 'adversarial': (0.0385, 0.1123),
        'hybrid': (0.0209, 0.0897), 'mle': (0.0452, 0.1746)},
    'cityscapes': {
        'cyclegan': (0.1252, 0.1200), 'adversarial': (0.2569, 0.2196),
        'hybrid': (0.1130, 0.1462), 'mle': (0.2526, 0.2272)},
}
# Table 3, Maps at 64x64, by lambda.
_TABLE_3: Mapping[float, tuple[float, float]] = {
    0.: (0.0385, 0.1123), 1e-5: (0.0209, 0.0897), 1e-4: (0.0211, 0.1362),
    1e-3: (0.0260, 0.1381), 1e-2: (0.0561, 0.1457),
    math.inf: (0.0452, 0.1746)}
_HYBRID_LAMBDA = 1e-5

# Images among which the worst round trips are looked for.
_SEARCHED = 1000
# Figures of the printed table; the JSON has all.
_SHOWN = ('mse', 'correlation', 'top_1', 'top_5', 'percentile',
          'class_accuracy', 'mean_iou', 'ssim', 'kid')


def paper_lambda(value: float, dataset: str, size: int) -> float:
  """The lambda of another image size that pulls as hard on a bit a dimension.

  The likelihood is weighed in nats an image, a sum over its dimensions, so one
  lambda pulls with the square of the size: `value * (paper_size / size)**2`.

  Args:
    value: The paper's lambda.
    dataset: Name of the dataset, which gives the paper's size.
    size: Height and width of the images here.

  Returns:
    The lambda to train with.
  """
  return value * (_PAPER_SIZES[dataset] / size)**2


def table1(settings: Settings, hybrid_lambda: float = _HYBRID_LAMBDA
          ) -> list[Method]:
  """The rows of Table 1.

  Args:
    settings: What they have in common.
    hybrid_lambda: Lambda of the hybrid row, on the paper's scale.
  """
  weight = paper_lambda(hybrid_lambda, settings.dataset, settings.size)
  paper = _TABLE_1[settings.dataset]
  return [
      Method('cyclegan', 'CycleGAN', {'model': 'cyclegan'}, paper['cyclegan']),
      Method('adversarial', 'AF (ADV only)', {'objective': 'adversarial'},
             paper['adversarial']),
      Method('hybrid', f'AF (Hybrid, lambda {weight:.3g})',
             {'objective': 'hybrid', 'lambda_a': weight, 'lambda_b': weight},
             paper['hybrid']),
      Method('mle', 'AF (MLE only)', {'objective': 'mle'}, paper['mle']),
  ]


def table3(settings: Settings,
           lambdas: Sequence[float] = tuple(_TABLE_3)) -> list[Method]:
  """The rows of Table 3: lambda from 0 (adversarial) to infinity (MLE).

  Args:
    settings: What they have in common.
    lambdas: On the paper's scale; see `paper_lambda`.
  """
  methods = []
  made: dict[str, Any]
  for value in lambdas:
    paper = _TABLE_3.get(value) if settings.dataset == 'maps' else None
    if value == 0.:
      name, made = 'adversarial', {'objective': 'adversarial'}
      title = 'lambda 0'
    elif math.isinf(value):
      name, made = 'mle', {'objective': 'mle'}
      title = 'lambda infinity'
    else:
      weight = paper_lambda(value, settings.dataset, settings.size)
      name, title = f'lambda_{value:g}', f'lambda {value:g} (here {weight:.3g})'
      made = {'objective': 'hybrid', 'lambda_a': weight, 'lambda_b': weight}
    methods.append(Method(name, title, made, paper))
  return methods


def _config(method: Method, settings: Settings, seed: int
           ) -> config_lib.Config:
  flow_preset, cyclegan_preset = BUDGETS[settings.budget]
  cyclegan = method.settings.get('model') == 'cyclegan'
  steps = settings.steps
  if steps is None and settings.budget == 'paper':
    steps = _PAPER_STEPS[settings.dataset]
  return config_lib.resolve(
      cyclegan_preset if cyclegan else flow_preset,
      **{'dataset': settings.dataset, 'image_size': settings.size,
         'data_dir': settings.data_dir, 'seed': seed, 'steps': steps,
         'flip': settings.budget == 'cpu'} | dict(settings.overrides) |
      dict(method.settings))


def run(methods: Sequence[Method], settings: Settings,
        call: Callable[[list[str]], None] | None = None) -> dict[str, Any]:
  """Trains and evaluates what is missing, and gathers the figures.

  Each run is a process of its own. The same call goes on with runs that were
  stopped, and does nothing again that is done.

  Args:
    methods: The rows.
    settings: What they have in common.
    call: Runs a command line; for tests.

  Returns:
    The gathered figures, as in `<output>/table.json`; see `summarise`.

  Raises:
    TableError: If a run fails.
    ConfigError: If settings do not fit.
  """
  call = call or _call
  found: dict[str, dict[int, dict[str, Any]]] = {m.name: {} for m in methods}
  # Seed by seed: a table that is stopped early has whole seeds.
  for seed, method in itertools.product(settings.seeds, methods):
    config = _config(method, settings, seed)
    directory = os.path.join(settings.output, f'{method.name}_seed{seed}')
    if not _is_done(directory, config):
      call([sys.executable, '-m', 'alignflow_tf.train', '--noexport',
            f'--run_dir={directory}', *config.flag_lines().splitlines()])
    found[method.name][seed] = _evaluated(directory, settings, call)
  result = summarise(methods, settings, found)
  os.makedirs(settings.output, exist_ok=True)
  config_lib.dump(os.path.join(settings.output, 'table.json'), result)
  return result


def _is_done(directory: str, config: config_lib.Config) -> bool:
  if not os.path.exists(os.path.join(directory, 'config.json')):
    return False
  there = runs.Run(directory)
  if there.differences(config):
    return False  # Training says what differs.
  try:
    return there.latest().endswith(f'-{config.steps}')
  except runs.RunError:
    return False


def _evaluated(directory: str, settings: Settings,
               call: Callable[[list[str]], None]) -> dict[str, Any]:
  """The evaluation of a run; made where there is none of its checkpoint."""
  name = 'evaluation' if settings.split == 'test' else (
      f'evaluation_{settings.split}')
  path = os.path.join(directory, name, 'evaluation.json')
  checkpoint = os.path.basename(runs.Run(directory).latest())

  def read() -> dict[str, Any] | None:
    try:
      with open(path, encoding='utf-8') as f:
        result = json.load(f)
    except (OSError, ValueError):
      return None
    same = (result.get('checkpoint') == checkpoint and 'seconds' in result and
            result.get('limit') == settings.limit)
    return result if same else None

  result = read()
  if result is None:
    options = {'references': settings.references, 'limit': settings.limit,
               'data_dir': settings.data_dir}
    call([sys.executable, '-m', 'alignflow_tf.evaluate', f'--run={directory}',
          f'--split={settings.split}', '--noclassify'] + [
              f'--{k}={v}' for k, v in options.items() if v is not None])
    result = read()
  if result is None:
    raise TableError(f'{path} was not written by the evaluation.')
  return result


def _call(command: list[str]) -> None:
  print('+ ' + ' '.join(command[1:]), flush=True)
  code = subprocess.run(command, check=False).returncode
  if code:
    raise TableError(
        f'`{" ".join(command)}` ended with {code}; the same command goes on '
        'from here.')


def summarise(methods: Sequence[Method], settings: Settings,
              found: Mapping[str, Mapping[int, Mapping[str, Any]]]
             ) -> dict[str, Any]:
  """Means and standard deviations over seeds.

  Args:
    methods: The rows.
    settings: What they have in common.
    found: For each method and seed, its evaluation.

  Returns:
    `directions`: for each direction, `rows`, for each method and each row that
    needs no unpaired training, `title`, `paper` (MSE) and `figures`: by name,
    `mean`, `std` (over seeds, null for one) and `values`; `round_trip` by
    method; `order`: see `order`.
  """
  first = next(iter(found[methods[0].name].values()))
  result: dict[str, Any] = {
      'dataset': settings.dataset, 'image_size': settings.size,
      'budget': settings.budget, 'seeds': list(settings.seeds),
      'split': settings.split, 'images': first['images'],
      'selection': 'the moving average of the weights at the last step',
      'settings': {m.name: _config(m, settings, settings.seeds[0]).to_json()
                   for m in methods},
      'directions': {}, 'round_trip': {}, 'order': None}
  for index, (direction, baselines) in enumerate(first['translation'].items()):
    rows: dict[str, Any] = {}
    for name, figures in baselines.items():
      if name != 'model':
        rows[name] = {'title': translations.ROWS[name], 'paper': None,
                      'figures': {k: _spread([v]) for k, v in figures.items()}}
    for method in methods:
      scores = [e['translation'][direction]['model']
                for e in found[method.name].values()]
      rows[method.name] = {
          'title': method.title,
          'paper': method.paper and method.paper[index],
          'figures': {k: _spread([s[k] for s in scores]) for k in scores[0]}}
    result['directions'][direction] = {
        'rows': rows, 'chance': first['chance'][direction],
        'features': first['features'][direction]}
  for method in methods:
    result['round_trip'][method.name] = {
        direction: {
            k: _spread([e['round_trip'][direction][k]
                        for e in found[method.name].values()])
            for k in ('max', 'mean', 'saturated')}
        for direction in first['round_trip']}
  result['order'] = order(methods, result)
  return result


def _spread(values: Sequence[float]) -> dict[str, Any]:
  return {'mean': float(np.mean(values)),
          'std': float(np.std(values, ddof=1)) if len(values) > 1 else None,
          'values': list(values)}


def order(methods: Sequence[Method], result: Mapping[str, Any]
         ) -> dict[str, int]:
  """How much of the paper's order of methods holds, in MSE.

  Args:
    methods: The rows.
    result: What `summarise` gathers.

  Returns:
    `same`: pairs of methods that stand in the paper's order here, over both
    directions; `pairs`: all pairs of methods that the paper reports.
  """
  same = total = 0
  for direction in result['directions'].values():
    rows = [(row['paper'], row['figures']['mse']['mean'])
            for row in (direction['rows'][m.name] for m in methods)
            if row['paper'] is not None]
    for (paper, here), (paper_2, here_2) in itertools.combinations(rows, 2):
      total += 1
      same += (paper < paper_2) == (here < here_2)
  return {'same': same, 'pairs': total}


def text(result: Mapping[str, Any]) -> str:
  """The table as Markdown."""
  lines = [_heading(result)]
  for direction, content in result['directions'].items():
    lines += ['', direction.replace('_to_', ' to '), '',
              *_markdown(*_cells(content))]
  lines += ['', 'Round trips, error of a pixel in [0, 1]', '',
            *_markdown(*_round_trip_cells(result)), '', _order_line(result)]
  return '\n'.join(lines)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
  return ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)] + [
      '| ' + ' | '.join(row) + ' |' for row in rows]


def _heading(result: Mapping[str, Any]) -> str:
  images = ', '.join(f'{n} {d}' for d, n in result['images'].items())
  some = next(iter(result['settings'].values()))
  return (
      f'{result["dataset"]} at {result["image_size"]}x{result["image_size"]}, '
      f'{some["steps"]} steps of {some["batch_size"]}, seeds '
      f'{", ".join(map(str, result["seeds"]))}; {result["split"]} images: '
      f'{images}. Selection: {result["selection"]}.')


def _order_line(result: Mapping[str, Any]) -> str:
  return (f'Of the {result["order"]["pairs"]} pairs of methods in the paper\'s '
          f'table, {result["order"]["same"]} stand in its order here (MSE).')


def _round_trip_cells(result: Mapping[str, Any]
                     ) -> tuple[list[str], list[list[str]]]:
  rows = [
      [name, f'{direction.replace("_to_", " to ")} and back',
       f'{max(value["max"]["values"]):.1e}', f'{value["mean"]["mean"]:.1e}',
       f'{value["saturated"]["mean"]:.2%}']
      for name, directions in result['round_trip'].items()
      for direction, value in directions.items()]
  return ['method', 'direction', 'largest', 'mean', 'saturated'], rows


def _cells(content: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
  names = [n for n in _SHOWN if any(
      n in row['figures'] for row in content['rows'].values())]
  head = ['', 'MSE', 'paper'] + [
      translations.FIGURES[n].title for n in names if n != 'mse']
  rows = []
  for row in content['rows'].values():
    cells = [row['title']]
    for name in names:
      figure = row['figures'].get(name)
      pattern = translations.FIGURES[name].pattern
      cells.append('' if figure is None else pattern.format(figure['mean']) + (
          f' ± {pattern.format(figure["std"])}'
          if figure['std'] is not None else ''))
      if name == 'mse':
        cells.append('' if row['paper'] is None else f'{row["paper"]:.4f}')
    rows.append(cells)
  chance = content['chance']
  rows.append(['chance', '', ''] + [
      translations.FIGURES[n].pattern.format(chance[n]) if n in chance else ''
      for n in names if n != 'mse'])
  return head, rows


def write_report(result: Mapping[str, Any],
                 sheets_found: Sequence[tuple[str, str]], output: str) -> str:
  """Writes `report.html`: the table and sheets, one self-contained page.

  Args:
    result: What `run` gave.
    sheets_found: Captions and paths; see `sheets`.
    output: Directory of the table.

  Returns:
    Its path.
  """
  title = f'{result["dataset"]}, {result["image_size"]}x{result["image_size"]}'
  body = [f'<h1>{html.escape(title)}</h1>',
          f'<p>{html.escape(_heading(result))}</p>']
  for direction, content in result['directions'].items():
    own = range(sum(row['paper'] is None for row in content['rows'].values()),
                len(content['rows']))
    body += [f'<h2>{html.escape(direction.replace("_to_", " to "))}</h2>',
             _table(_cells(content), own)]
    if content['features']:
      body.append('<p class="note">KID: '
                  f'{html.escape(content["features"])}.</p>')
  body += ['<h2>Round trips</h2>', _table(_round_trip_cells(result)),
           f'<p>{html.escape(_order_line(result))}</p>']
  for caption, path in sheets_found:
    body += [f'<h2>{html.escape(caption)}</h2>', report.picture(path)]
  path = os.path.join(output, 'report.html')
  config_lib.write_aside(
      path, report.PAGE.format(title=html.escape(title), body='\n'.join(body)))
  return path


def _table(cells: tuple[list[str], list[list[str]]],
           own: Sequence[int] = ()) -> str:
  head, rows = cells
  return report.scroll_table(
      [html.escape(c) for c in head],
      [[html.escape(c) for c in row] for row in rows], own)


def sheets(methods: Sequence[Method], settings: Settings,
           num: int = 12) -> list[tuple[str, str]]:
  """Pictures of the first seed's runs, side by side.

  A sheet a direction with the images, every method's translations, and the true
  partners; and, where CycleGAN and a flow are among the methods, its worst
  round trips beside the flow's of the same images (figure 3).

  Args:
    methods: The rows.
    settings: What they have in common.
    num: Number of images on a sheet.

  Returns:
    Captions and paths of the PNGs, in `settings.output`.
  """
  seed = settings.seeds[0]
  directories = {m.name: os.path.join(
      settings.output, f'{m.name}_seed{seed}') for m in methods}
  evaluators = {n: metrics.Evaluator(runs.load(d))
                for n, d in directories.items()}
  config = _config(methods[0], settings, seed)
  images = evaluation.images_of(
      inputs.load(config), settings.split, settings.limit or _SEARCHED)
  found = []
  flow = next((n for n in ('hybrid', 'adversarial', 'mle') if n in evaluators),
              None)
  for s, t in itertools.permutations(images, 2):
    x, y = images[s]['image'], images[t]['image']
    # Spread over the split, not its first few.
    shown = np.linspace(0, len(x) - 1, min(num, len(x))).astype(int)
    rows = [x[shown]] + [
        e.translate(x[shown], s, t) for e in evaluators.values()] + [y[shown]]
    path = os.path.join(settings.output, f'methods_{s}_to_{t}.png')
    pictures.write_png(path, images_lib.sheet(rows, scale=2))
    found.append((
        f'{s} to {t}: source; ' + '; '.join(m.title for m in methods) +
        '; true partner', path))
    if 'cyclegan' in evaluators and flow:
      path = os.path.join(settings.output, f'round_trips_{s}_to_{t}.png')
      pictures.write_png(path, pictures.worst_round_trips(
          [evaluators['cyclegan'], evaluators[flow]], x, s, t, num))
      found.append((
          f'{s} to {t} and back, where CycleGAN does worst (figure 3): image; '
          f'CycleGAN there, and back; AF ({flow}) there, and back', path))
  return found


def define_flags() -> None:
  """Defines the flags that the programs of both tables have."""
  flags.DEFINE_enum('dataset', 'maps', tuple(_PAPER_SIZES), 'The paired set.')
  flags.DEFINE_string(
      'output', None, 'Directory of the runs and the table; '
      'runs/<table>_<dataset>_<size> by default.')
  flags.DEFINE_enum(
      'budget', 'cpu', tuple(BUDGETS),
      "'cpu': 32x32 and small networks; 'paper': the paper's sizes, networks "
      'and 200 epochs, for a GPU.')
  flags.DEFINE_list('seeds', ['0'], 'Seeds of the runs, such as 0,1,2.')
  flags.DEFINE_integer('image_size', None, "Height and width; the budget's.")
  flags.DEFINE_integer('steps', None, "Generator updates; the budget's.")
  flags.DEFINE_string('data_dir', None, 'Directory of the data.')
  flags.DEFINE_multi_string(
      'set', [], 'name=value of another setting of `alignflow_tf.train`, for '
      'all rows; repeat the flag.')
  flags.DEFINE_string('references', None, 'As in `alignflow_tf.evaluate`.')
  flags.DEFINE_enum(
      'split', 'test', ('test', 'validation'),
      'What is evaluated; validation pairs to choose hyper-parameters by.')
  flags.DEFINE_integer('limit', None, 'Number of images evaluated at most.')


def from_flags(values: flags.FlagValues, name: str) -> Settings:
  """The settings that the flags ask for.

  Args:
    values: Parsed flags.
    name: Name of the table.

  Returns:
    The settings.

  Raises:
    TableError: If a flag is out of range.
  """
  try:
    seeds = tuple(int(s) for s in values.seeds)
  except ValueError:
    seeds = ()
  kinds = {f.name: str(f.type) for f in dataclasses.fields(config_lib.Config)}
  overrides = {}
  for item in values['set'].value or ():
    key, _, value = item.partition('=')
    if key not in kinds or not value:
      raise TableError(
          f'`set` must be name=value of a setting of training, got {item!r}.')
    try:
      overrides[key] = _parse(kinds[key], value)
    except ValueError as e:
      raise TableError(f'`set` {item!r}: {e}') from e
  settings = Settings(
      values.dataset, '', values.budget, seeds, values.image_size, values.steps,
      values.data_dir, overrides, values.references, values.split, values.limit)
  output = values.output or os.path.join(
      'runs', f'{name}_{settings.dataset}_{settings.size}')
  return dataclasses.replace(settings, output=os.path.expanduser(output))


def _parse(kind: str, value: str) -> Any:
  if kind.startswith('bool'):
    if value.lower() not in ('true', 'false'):
      raise ValueError('must be true or false')
    return value.lower() == 'true'
  if kind.startswith('int'):
    return int(value)
  return float(value) if kind.startswith('float') else value


def make(methods: Sequence[Method], settings: Settings) -> None:
  """Runs what is missing, writes table.json, table.md and report.html.

  Raises:
    TableError: If nothing can be written there.
  """
  try:
    result = run(methods, settings)
    config_lib.write_aside(
        os.path.join(settings.output, 'table.md'), text(result) + '\n')
    path = write_report(result, sheets(methods, settings), settings.output)
  except OSError as e:
    raise TableError(
        f'`output` {settings.output!r} cannot be written to '
        f'({type(e).__name__}: {e}). Make room, or make it writable; the same '
        'command then goes on.') from e
  print(text(result))
  print(f'\nReport: {path}')

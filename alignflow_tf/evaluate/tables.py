"""The rows of the paper's tables 1 and 3, and the settings that they share.

Every method gets the same data, images a step, steps and critics, and one rule
of selection that looks at no image: the moving average of the weights at the
last step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

from alignflow_tf import _errors
from alignflow_tf.train import config as config_lib


class TableError(_errors.UserError, RuntimeError):
  """A table that cannot be made; says why."""


@dataclasses.dataclass(frozen=True)
class Method:
  """A row: its training, and the paper's figures for it.

  Attributes:
    name: Name of its run directories.
    title: Its title in the table.
    settings: The attributes of `Config` that distinguish it.
    paper: MSE A to B and B to A in the paper, where it has the row.
    other_names: Names of the same row in the other table; run directories of
      these names are used if they exist.
  """
  name: str
  title: str
  settings: Mapping[str, Any]
  paper: tuple[float, float] | None = None
  other_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Settings:
  """Settings that all rows share.

  Attributes:
    dataset: 'maps', 'facades' or 'cityscapes'.
    output: Directory of the runs and of the table.
    budget: A name of `BUDGETS`.
    seeds: Seeds of the runs.
    image_size: Height and width of the images; the budget's where None.
    steps: Generator updates; the budget's where None.
    data_dir: Directory of the data.
    overrides: Further attributes of `Config`, for all rows.
    references: See `evaluation.evaluate`.
    split: 'test', or 'validation' for choosing hyper-parameters.
    limit: Largest number of images that are evaluated.
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
    if not self.seeds or len(set(self.seeds)) < len(self.seeds):
      raise TableError(
          f'`seeds` must be one or more different integers, got {self.seeds}.')
    for name in self.overrides:
      if name in _OWN:
        raise TableError(
            f'`set` must leave {name!r} to the table, got '
            f'{self.overrides[name]!r}: {_OWN[name]}.')

  @property
  def size(self) -> int:
    """Height and width of the images."""
    if self.image_size is not None:
      return self.image_size
    return PAPER_SIZES[self.dataset] if self.budget == 'paper' else 32


# Sizes of the images in the paper (appendix B.1), and 200 epochs in batches
# of 16 (of 400, 1,096 and 2,975 images).
PAPER_SIZES = {'facades': 128, 'maps': 64, 'cityscapes': 64}
_PAPER_STEPS = {'facades': 5_000, 'maps': 13_700, 'cityscapes': 37_200}

# Settings of training that the table makes itself, and what to use instead.
_ROWS = 'it tells its rows apart'
_LAMBDAS = ('use --hybrid_lambda of table1 or --lambdas of table3, on the '
            "paper's scale")
_OWN: Mapping[str, str] = {
    'dataset': 'use --dataset', 'data_dir': 'use --data_dir',
    'image_size': 'use --image_size', 'steps': 'use --steps',
    'seed': 'use --seeds', 'preset': 'use --budget',
    'model': _ROWS, 'objective': _ROWS,
    'lambda_a': _LAMBDAS, 'lambda_b': _LAMBDAS,
    'lambda_until': 'train such a run by itself: not all rows have a lambda',
}

# Presets of the flows and of CycleGAN.
BUDGETS: Mapping[str, tuple[str, str]] = {
    'cpu': ('cpu_glow', 'cyclegan_cpu'),
    'cpu_real_nvp': ('cpu_pictures', 'cyclegan_cpu'),
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


def paper_lambda(value: float, dataset: str, size: int) -> float:
  """The lambda for another image size, of equal weight for each dimension.

  The likelihood is weighed in nats an image, a sum over its dimensions, so one
  lambda pulls with the square of the size: `value * (paper_size / size)**2`.

  Args:
    value: The paper's lambda.
    dataset: Name of the dataset, which gives the paper's size.
    size: Height and width of the images here.

  Returns:
    The lambda to train with.
  """
  return value * (PAPER_SIZES[dataset] / size)**2


def table1(settings: Settings, hybrid_lambda: float = _HYBRID_LAMBDA
          ) -> list[Method]:
  """The rows of Table 1.

  Args:
    settings: The settings that they share.
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
             paper['hybrid'], (f'lambda_{hybrid_lambda:g}',)),
      Method('mle', 'AF (MLE only)', {'objective': 'mle'}, paper['mle']),
  ]


def table3(settings: Settings,
           lambdas: Sequence[float] = tuple(_TABLE_3)) -> list[Method]:
  """The rows of Table 3: lambda from 0 (adversarial) to infinity (MLE).

  Args:
    settings: The settings that they share.
    lambdas: On the paper's scale; see `paper_lambda`.
  """
  methods = []
  made: dict[str, Any]
  for value in lambdas:
    paper = _TABLE_3.get(value) if settings.dataset == 'maps' else None
    others: tuple[str, ...] = ()
    if value == 0.:
      name, made = 'adversarial', {'objective': 'adversarial'}
      title = 'lambda 0'
    elif math.isinf(value):
      name, made = 'mle', {'objective': 'mle'}
      title = 'lambda infinity'
    else:
      weight = paper_lambda(value, settings.dataset, settings.size)
      name, others = f'lambda_{value:g}', ('hybrid',)
      title = f'lambda {value:g} (here {weight:.3g})'
      made = {'objective': 'hybrid', 'lambda_a': weight, 'lambda_b': weight}
    methods.append(Method(name, title, made, paper, others))
  return methods


def configuration(method: Method, settings: Settings, seed: int
                 ) -> config_lib.Config:
  """The training configuration of a row and a seed."""
  flow_preset, cyclegan_preset = BUDGETS[settings.budget]
  cyclegan = method.settings.get('model') == 'cyclegan'
  steps = settings.steps
  if steps is None and settings.budget == 'paper':
    steps = _PAPER_STEPS[settings.dataset]
  return config_lib.resolve(
      cyclegan_preset if cyclegan else flow_preset,
      **{'dataset': settings.dataset, 'image_size': settings.size,
         'data_dir': settings.data_dir, 'seed': seed, 'steps': steps,
         'flip': settings.budget != 'paper'} | dict(settings.overrides) |
      dict(method.settings))

"""Evaluation: figures and pictures of a run on test data."""

from typing import TYPE_CHECKING

from alignflow_tf import _lazy

if TYPE_CHECKING:
  from alignflow_tf.evaluate.evaluation import evaluate as evaluate
  from alignflow_tf.evaluate.evaluation import table as table

__all__ = ['evaluate', 'table']

__getattr__ = _lazy.attach(
    __name__, {'evaluate': 'evaluation', 'table': 'evaluation'})


def __dir__() -> list[str]:
  return __all__

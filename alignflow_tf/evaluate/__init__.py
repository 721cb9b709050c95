"""Evaluation: figures and pictures of a run on test data."""

from typing import TYPE_CHECKING

from alignflow_tf import _lazy

if TYPE_CHECKING:
  from alignflow_tf.evaluate.evaluation import evaluate as evaluate
  from alignflow_tf.evaluate.evaluation import table as table

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__, {'evaluate': 'evaluation', 'table': 'evaluation'})

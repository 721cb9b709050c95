"""Evaluation: figures and pictures of a run on test data."""

from alignflow_tf.evaluate.evaluation import evaluate
from alignflow_tf.evaluate.evaluation import table

__all__ = ['evaluate', 'table']

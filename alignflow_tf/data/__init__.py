"""Domains of images as tf.data: unpaired training, evaluation, pairs."""

from alignflow_tf.data.domain import Domain
from alignflow_tf.data.domain_set import DomainSet
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.registry import DatasetInfo
from alignflow_tf.data.registry import DATASETS
from alignflow_tf.data.registry import list_datasets
from alignflow_tf.data.registry import load

__all__ = [
    'DATASETS',
    'DataError',
    'DatasetInfo',
    'Domain',
    'DomainSet',
    'list_datasets',
    'load',
]

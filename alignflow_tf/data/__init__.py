"""Domains of images as tf.data: unpaired training, evaluation, pairs."""

from alignflow_tf.data.domain_set import Domain, DomainSet
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.registry import (
    DATASETS,
    DatasetInfo,
    list_datasets,
    load,
)

__all__ = [
    'DATASETS',
    'DataError',
    'DatasetInfo',
    'Domain',
    'DomainSet',
    'list_datasets',
    'load',
]

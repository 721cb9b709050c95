"""Domains of images as tf.data: unpaired training, evaluation, pairs."""

from alignflow_tf.data.domain import Domain
from alignflow_tf.data.domain_set import DomainSet
from alignflow_tf.data.errors import DataError
from alignflow_tf.data.registry import DATASETS
from alignflow_tf.data.registry import list_datasets
from alignflow_tf.data.registry import load
from alignflow_tf.data.registry import SOURCES
from alignflow_tf.data.source import DatasetInfo
from alignflow_tf.data.source import Opened
from alignflow_tf.data.source import Reading
from alignflow_tf.data.source import Source
from alignflow_tf.data.stores import ArrayStore

__all__ = [
    'ArrayStore',
    'DATASETS',
    'DataError',
    'DatasetInfo',
    'Domain',
    'DomainSet',
    'Opened',
    'Reading',
    'SOURCES',
    'Source',
    'list_datasets',
    'load',
]

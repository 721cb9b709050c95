"""Unsupervised domain adaptation: a classifier for a domain without labels."""

from alignflow_tf.adapt.config import AdaptError
from alignflow_tf.adapt.config import resolve
from alignflow_tf.adapt.config import Settings
from alignflow_tf.adapt.pipeline import adapt

__all__ = ['AdaptError', 'Settings', 'adapt', 'resolve']

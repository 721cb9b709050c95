"""Unsupervised domain adaptation: a classifier for a domain without labels."""

from typing import TYPE_CHECKING

from alignflow_tf import _lazy

if TYPE_CHECKING:
  from alignflow_tf.adapt.config import AdaptError as AdaptError
  from alignflow_tf.adapt.config import resolve as resolve
  from alignflow_tf.adapt.config import Settings as Settings
  from alignflow_tf.adapt.pipeline import adapt as adapt

__getattr__, __dir__, __all__ = _lazy.attach(__name__, {
    'AdaptError': 'config', 'Settings': 'config', 'adapt': 'pipeline',
    'resolve': 'config'})

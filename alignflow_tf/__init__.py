"""AlignFlow in TensorFlow: exact, invertible translation between domains."""

from typing import TYPE_CHECKING

from alignflow_tf import _lazy

if TYPE_CHECKING:
  from alignflow_tf import bijectors as bijectors
  from alignflow_tf import flows as flows
  from alignflow_tf import images as images
  from alignflow_tf import networks as networks
  from alignflow_tf.model import AlignFlow as AlignFlow
  from alignflow_tf.train.runs import load as load

__getattr__, __dir__, __all__ = _lazy.attach(__name__, {
    'AlignFlow': 'model', 'bijectors': '', 'flows': '', 'images': '',
    'load': 'train.runs', 'networks': ''})

"""AlignFlow in TensorFlow: exact, invertible translation between domains."""

from alignflow_tf import bijectors
from alignflow_tf import flows
from alignflow_tf import images
from alignflow_tf import networks
from alignflow_tf.alignflow import AlignFlow
from alignflow_tf.train.runs import load

__all__ = ['AlignFlow', 'bijectors', 'flows', 'images', 'load', 'networks']

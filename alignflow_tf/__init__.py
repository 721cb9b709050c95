"""AlignFlow in TensorFlow: exact, invertible translation between domains."""

import os as _os

# TFP stands on Keras 2 under its own name; this library itself uses Keras 3.
_os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

# pylint: disable=g-import-not-at-top,wrong-import-position
from alignflow_tf import bijectors  # noqa: E402
from alignflow_tf import flows  # noqa: E402
from alignflow_tf import images  # noqa: E402
from alignflow_tf import networks  # noqa: E402
from alignflow_tf.alignflow import AlignFlow  # noqa: E402
from alignflow_tf.train.runs import load  # noqa: E402

__all__ = ['AlignFlow', 'bijectors', 'flows', 'images', 'load', 'networks']

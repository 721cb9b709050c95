"""Training: objectives, a step's two updates, the loop, run directories."""

from alignflow_tf.train.config import Config
from alignflow_tf.train.config import ConfigError
from alignflow_tf.train.config import PRESETS
from alignflow_tf.train.config import resolve
from alignflow_tf.train.loop import Stopped
from alignflow_tf.train.loop import train
from alignflow_tf.train.runs import load
from alignflow_tf.train.runs import Run
from alignflow_tf.train.runs import RunError
from alignflow_tf.train.trainer import Trainer

__all__ = [
    'Config', 'ConfigError', 'PRESETS', 'Run', 'RunError', 'Stopped', 'Trainer',
    'load', 'resolve', 'train'
]

"""Training: configurations, the step, the loop, checkpoints and runs."""

from typing import TYPE_CHECKING

from alignflow_tf import _lazy

if TYPE_CHECKING:
  from alignflow_tf.train.config import Config as Config
  from alignflow_tf.train.config import ConfigError as ConfigError
  from alignflow_tf.train.config import PRESETS as PRESETS
  from alignflow_tf.train.config import resolve as resolve
  from alignflow_tf.train.loop import train as train
  from alignflow_tf.train.runs import load as load
  from alignflow_tf.train.runs import Run as Run
  from alignflow_tf.train.runs import RunError as RunError
  from alignflow_tf.train.signals import Stopped as Stopped
  from alignflow_tf.train.trainer import Trainer as Trainer

__getattr__, __dir__, __all__ = _lazy.attach(__name__, {
    'Config': 'config', 'ConfigError': 'config', 'PRESETS': 'config',
    'Run': 'runs', 'RunError': 'runs', 'Stopped': 'signals',
    'Trainer': 'trainer', 'load': 'runs', 'resolve': 'config', 'train': 'loop'})

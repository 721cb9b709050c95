"""Set-up that all tests share: devices, options, markers, the data folder.

Two logical CPU devices stand in for two accelerators, so that tests of
`tf.distribute.MirroredStrategy` run on any machine. TensorFlow fixes its
devices at first use, therefore this happens when pytest loads this file, before
any test module is imported.
"""

import gc
import os
import pathlib
from typing import Any

# TensorFlow reads these when it is imported. `setdefault`: the caller may ask
# for the full log, or hide or show accelerators, from outside.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_FORCE_GPU_ALLOW_GROWTH', 'true')

import keras
import pytest
import tensorflow as tf

NUM_LOGICAL_CPUS = 2

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_DATA_VARIABLE = 'ALIGNFLOW_DATA'
# Files of a minute or more begin first, so that two processes end together.
_LONGEST = (
    'bijectors/invariants_test', 'bijectors/round_trips_test',
    'train/strategies_test', 'train/loop_test',
    'train/trainer_test', 'evaluate/evaluation_test', 'adapt/pipeline_test',
    'export/loading_test', 'stablehlo/kit_test', 'demo/demo_test',
    'bijectors/coupling_test', 'tests/model_test', 'baselines/unit_test',
    'train/trunk_test', 'train/domains_test', 'pretrained_test',
    'train/xla_test',
)


def _make_logical_cpus() -> None:
  """Splits the first CPU into `NUM_LOGICAL_CPUS` logical devices."""
  cpu = tf.config.list_physical_devices('CPU')[0]
  tf.config.set_logical_device_configuration(
      cpu, [tf.config.LogicalDeviceConfiguration()] * NUM_LOGICAL_CPUS
  )


_make_logical_cpus()

from alignflow_tf import flows  # noqa: E402
from tests.short import short  # noqa: E402

flows.FLOWS['short'] = short
# What is imported stays: collections need not walk through it each time.
gc.freeze()
gc.set_threshold(20_000, 20, 20)
# Grappler takes seconds for each function that is traced, and most run once or
# twice here. Training does without it too; what is served runs in the C++
# loader, whose sessions optimize as a server's do.
tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})


def real_data_root() -> pathlib.Path:
  """Returns the folder of real data, which may be missing.

  It is the one that the environment variable `ALIGNFLOW_DATA` names, else
  `../shared/data` beside the checkout.
  """
  named = os.environ.get(_DATA_VARIABLE)
  return pathlib.Path(named) if named else _ROOT.parent / 'shared' / 'data'


def pytest_addoption(parser: pytest.Parser) -> None:
  """Adds `--run-slow`."""
  parser.addoption(
      '--run-slow',
      action='store_true',
      default=False,
      help='run the tests marked `slow` too',
  )


def pytest_configure(config: pytest.Config) -> None:
  """Has pytest-randomly change the order alone: the seeds are ours."""
  config.option.randomly_reset_seed = False


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
  """Skips `slow` and `real_data` tests where they cannot or should not run.

  The longest files come first.
  """
  items.sort(key=lambda item: not any(
      f'{name}.py' in item.nodeid for name in _LONGEST))
  root = real_data_root()
  skip_slow = pytest.mark.skip(reason='slow: run with --run-slow')
  skip_real_data = pytest.mark.skip(
      reason=f'no real data: {_DATA_VARIABLE} names no existing folder'
  )
  for item in items:
    if 'slow' in item.keywords and not config.getoption('--run-slow'):
      item.add_marker(skip_slow)
    if 'real_data' in item.keywords and not root.is_dir():
      item.add_marker(skip_real_data)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
  """Seeds what tests share, as tests are: any of them may be the first."""
  if fixturedef.scope != 'function':
    keras.utils.set_random_seed(0)


@pytest.fixture(scope='session', autouse=True)
def _short_validation():
  """Runs validate on a few images: hundreds take seconds and show no more."""
  from alignflow_tf.train import validation

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(validation, '_IMAGES', 16)
    yield


@pytest.fixture(scope='module', autouse=True)
def _no_functions_of_other_files():
  """Frees the functions traced for a file's layers: gigabytes in all."""
  yield
  from alignflow_tf import bijectors

  bijectors.clear_cache()


@pytest.fixture(autouse=True)
def _fixed_seeds():
  """Seeds Python, NumPy and TensorFlow, so that no test hangs on its order."""
  keras.utils.set_random_seed(0)


@pytest.fixture
def eagerly():
  """Runs `tf.function`s without tracing them, for tests of one step or a few.

  The numbers are those of the graph, of which `trainer_test` has a test.
  Tracing a step takes six times as long as running it like this.
  """
  tf.config.run_functions_eagerly(True)
  yield
  tf.config.run_functions_eagerly(False)


@pytest.fixture(scope='session')
def repo_root() -> pathlib.Path:
  """The root of the checkout."""
  return _ROOT


@pytest.fixture(scope='session')
def real_data() -> pathlib.Path:
  """The folder of real data, for tests marked `real_data`."""
  return real_data_root()


@pytest.fixture(scope='session')
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
  """See `tests.exported.make`."""
  from tests import exported as exported_lib

  return exported_lib.make(tmp_path_factory.mktemp('export'))

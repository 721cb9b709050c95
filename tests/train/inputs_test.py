"""Tests of what connects a configuration and its data."""

import types

import pytest

from alignflow_tf.train import config as config_lib
from alignflow_tf.train import inputs


def _domains(**sizes):
  return types.SimpleNamespace(
      domains=tuple(sizes),
      sizes={d: {'train': n, 'test': 3} for d, n in sizes.items()})


def test_a_step_takes_a_batch_for_each_update_of_the_critics():
  config = config_lib.resolve('cpu', batch_size=16, critic_steps=5)
  inputs.check(config, _domains(a=80, b=80))
  with pytest.raises(
      config_lib.ConfigError,
      match="`batch_size` times `critic_steps`, 5, must be at most the 79 "
      "training images of domain 'b', got 16"):
    inputs.check(config, _domains(a=80, b=79))


def test_one_update_takes_one_batch():
  config = config_lib.resolve('cpu', batch_size=16)
  inputs.check(config, _domains(a=16, b=16))
  with pytest.raises(config_lib.ConfigError,
                     match='`batch_size` must be at most the 15 training'):
    inputs.check(config, _domains(a=15, b=16))


def test_data_for_evaluation_may_be_less_than_a_batch():
  """Only training gives its batch to the data."""
  config = config_lib.resolve('cpu', batch_size=4_000)
  assert inputs.load(config).sizes['optical']['train'] == 1_097

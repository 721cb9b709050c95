"""Steps that XLA compiles: the same numbers, compiled once."""

import time

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import _graph
from alignflow_tf.train import config as config_lib
from alignflow_tf.train import trainer as trainer_lib

_SMALL = {'width': 4, 'critic_width': 4, 'critic_layers': 1, 'batch_size': 4}


def _steps(count, size=16, **values):
  """Losses of steps on the same images, and how long each step took."""
  config = config_lib.resolve('cpu', **{**_SMALL, **values})
  trainer = trainer_lib.Trainer(config, ('a', 'b'), (size, size, 1))
  batch = {
      d: tf.constant(np.random.RandomState(i).randint(
          0, 256, (config.images_per_step(), size, size, 1)).astype(np.uint8))
      for i, d in enumerate('ab')}
  trainer.initialize(batch)
  losses, times = [], []
  for _ in range(count):
    begin = time.monotonic()
    losses.append(float(trainer.train_step(batch)['loss']))
    times.append(time.monotonic() - begin)
  return losses, times


@pytest.mark.slow
def test_a_compiled_step():
  want, _ = _steps(4, num_scales=2)
  got, times = _steps(4, num_scales=2, xla=True)
  # XLA draws other noise from the same seeds.
  np.testing.assert_allclose(got, want, rtol=1e-2)
  assert max(times[1:]) < times[0] / 4, times  # Not compiled again.


def test_a_compiled_step_of_a_tiny_model():
  values = {'flow': 'short', 'size': 4, 'num_scales': 1, 'width': 2,
            'objective': 'mle', 'framing': False}
  want, _ = _steps(2, **values)
  got, _ = _steps(2, xla=True, **values)
  # Nats a dimension, of few pixels whose noise is other.
  np.testing.assert_allclose(got, want, atol=0.1)


def test_unshared_functions_leave_no_calls():

  def square(power, x):
    return x**power

  def graph():
    return tf.function(
        lambda x: _graph.call(square, (2,), x),
        autograph=False).get_concrete_function(tf.TensorSpec([3])).graph

  def calls(found):
    return [op for op in found.get_operations() if 'PartitionedCall' in op.type]

  assert calls(graph())
  with _graph.unshared():
    assert not calls(graph())
    assert _graph.call(square, (2,), [1., 3.]).numpy().tolist() == [
        1., 9.]

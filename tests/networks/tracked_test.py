"""Keras 3 networks held by `tf.Module`s."""

import copy
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from alignflow_tf import networks
from tests import cpp_loader

tfb = tfp.bijectors


class _Scaled(tfb.Bijector):
  """A user's bijector: TFP's base class and a Keras 3 network."""

  def __init__(self):
    super().__init__(forward_min_event_ndims=3)
    self.network = networks.Tracked(keras.Sequential([
        keras.layers.Conv2D(4, 3, padding='same', activation='relu'),
        keras.layers.Conv2D(1, 1)]), (None, None, None, 1))

  def _log_scale(self, x):
    return self.network(tf.ones_like(x))

  def _forward(self, x):
    return x * tf.exp(self._log_scale(x))

  def _inverse(self, y):
    return y * tf.exp(-self._log_scale(y))

  def _forward_log_det_jacobian(self, x):
    return tf.reduce_sum(self._log_scale(x), axis=[-3, -2, -1])


def _model():
  return af.AlignFlow(('a', 'b'), (4, 4, 1), adapter=lambda _: _Scaled())


def test_a_users_network_trains():
  model = _model()
  assert len(model.trainable_variables) == 8
  x = tf.random.uniform([8, 4, 4, 1])
  optimizer = keras.optimizers.Adam(0.05)
  losses = []
  for _ in range(5):
    with tf.GradientTape() as tape:
      loss = -tf.reduce_mean(model['a'].log_prob(tf.identity(x)))
    variables = model.flow('a').trainable_variables
    optimizer.apply_gradients(
        zip(tape.gradient(loss, variables), variables, strict=True))
    losses.append(float(loss))
  assert losses[-1] < losses[0]


def test_a_users_network_is_saved_and_exported(tmp_path):
  model, other = _model(), _model()
  for variable in model.trainable_variables:
    variable.assign_add(0.3 * tf.random.normal(variable.shape))
  x = tf.random.uniform([3, 4, 4, 1])
  want = model.translator('a', 'b').forward(x)
  path = tf.train.Checkpoint(model=model).write(str(tmp_path / 'weights'))
  assert 'model/_adapters/a/network/_layer_variables/0_kernel' in ' '.join(
      name for name, _ in tf.train.list_variables(path))
  tf.train.Checkpoint(model=other).read(path).assert_consumed()
  np.testing.assert_array_equal(
      other.translator('a', 'b').forward(tf.identity(x)), want)
  model.translate = tf.function(
      lambda image: {'y': model.translator('a', 'b').forward(image)},
      input_signature=[tf.TensorSpec([None, 4, 4, 1], name='image')])
  tf.saved_model.save(model, tmp_path / 'export', signatures=model.translate)
  with cpp_loader.load(tmp_path / 'export') as loaded:
    got = loaded.run({'image': x.numpy()}, 'serving_default')['y']
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_deep_copy_has_its_own_variables():
  tracked = networks.Tracked(keras.layers.Dense(2), [None, 3])
  copied = copy.deepcopy(tracked)
  x = tf.ones([1, 3])
  want = tracked(x)
  np.testing.assert_array_equal(copied(x), want)
  for variable in copied.trainable_variables:
    variable.assign_add(tf.ones_like(variable))
  assert np.all(copied(x) - want >= 1.)
  np.testing.assert_array_equal(tracked(x), want)


def test_errors():
  with pytest.raises(ValueError, match='`layer` must be a Keras.*got 3'):
    networks.Tracked(3)
  with pytest.raises(ValueError, match='`input_shape` must be given'):
    networks.Tracked(keras.layers.Dense(2))


# oneDNN is chosen when TensorFlow is imported.
_EMPTY = """
import tensorflow as tf
import alignflow_tf as af
from tests.short import short

flow = short((8, 8, 1))
model = af.AlignFlow(('a', 'b'), (8, 8, 1), adapter={'a': flow, 'b': flow})
for v in model.trainable_variables:
  v.assign_add(0.1 * tf.random.normal(v.shape))
x = tf.zeros([0, 8, 8, 1])
for call, shape in (
    (flow.forward, [0, 8, 8, 1]), (flow.inverse, [0, 8, 8, 1]),
    (model['a'].log_prob, [0])):
  for run in (call, tf.function(call), tf.function(
      call, input_signature=[tf.TensorSpec([None, 8, 8, 1])])):
    assert run(tf.identity(x)).shape == shape
  y = tf.ones([2, 8, 8, 1])
  assert abs(run(y) - call(tf.identity(y))).numpy().max() < 1e-3
assert model['a'].sample(0).shape == [0, 8, 8, 1]
"""


def test_empty_batches_with_onednn(repo_root):
  ended = subprocess.run(
      [sys.executable, '-c', _EMPTY], cwd=repo_root, capture_output=True,
      text=True, env=os.environ | {'TF_ENABLE_ONEDNN_OPTS': '1'}, check=False)
  assert ended.returncode == 0, ended.stderr[-2000:]

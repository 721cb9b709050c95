"""Servables of models with a trunk."""

import numpy as np
import tensorflow as tf

from alignflow_tf import flows
from alignflow_tf import model as model_lib
from alignflow_tf.export import servables


def _flow(shape):
  return flows.real_nvp(shape, num_scales=1, channels=4, num_blocks=1)


def test_a_served_translation_does_not_evaluate_the_trunk():
  model = model_lib.AlignFlow(
      ('a', 'b'), (8, 8, 1), adapter=_flow, trunk=_flow)
  x = np.random.RandomState(0).rand(2, 8, 8, 1).astype(np.float32)
  model.initialize({'a': x, 'b': x[::-1]})
  served = servables.Factory(model).translator('a', 'b').signatures
  translate = served['serving_default'].get_concrete_function()
  trunk = {id(v) for v in model.trunk.variables}
  assert not trunk & {id(v) for v in translate.variables}
  np.testing.assert_allclose(
      translate(tf.constant(x))['image'],
      model.translator('a', 'b').forward(tf.constant(x)), atol=1e-5)
  encode = served['encode'].get_concrete_function()
  assert trunk & {id(v) for v in encode.variables}

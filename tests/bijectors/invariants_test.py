"""What must hold for every bijector: each test runs on each registry entry."""

from __future__ import annotations

import copy
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf as af
from tests import cpp_loader
from tests.bijectors import registry

tfd = tfp.distributions


class Case(tf.Module):
  """An entry's bijector, its inputs and traced functions, each made once."""

  BATCH = 3

  def __init__(self, entry: registry.Entry):
    super().__init__()
    self.entry = self._no_dependency(entry)
    self.bijector = entry.make_random()
    self.x = self._no_dependency(entry.inputs(self.BATCH, tf.float32))
    self.y = self._no_dependency(entry.outputs(self.BATCH, tf.float32))
    self.forward = tf.function(
        functools.partial(_forward, self.bijector),
        input_signature=[tf.TensorSpec([None, *entry.event_shape], name='x')])
    self.inverse = tf.function(
        functools.partial(_inverse, self.bijector),
        input_signature=[tf.TensorSpec([None, *entry.output_shape], name='y')])

  @functools.cached_property
  def eager(self) -> dict[str, np.ndarray]:
    return _evaluate(self.bijector, self.x, self.y)


def _forward(bijector, x):
  return {'y': bijector.forward(x),
          'fldj': registry.per_image(bijector.forward_log_det_jacobian, x)}


def _inverse(bijector, y):
  return {'x': bijector.inverse(y),
          'ildj': registry.per_image(bijector.inverse_log_det_jacobian, y)}


def _evaluate(bijector, x, y):
  outputs = {**_forward(bijector, tf.constant(x)),
             **_inverse(bijector, tf.constant(y))}
  return {key: value.numpy() for key, value in outputs.items()}


def _assert_same(actual, expected, tolerance=1e-5):
  assert set(actual) == set(expected)
  for key, value in expected.items():
    scale = 1. + np.max(np.abs(value))
    np.testing.assert_allclose(
        actual[key], value, rtol=0, atol=tolerance * scale, err_msg=key)


@pytest.fixture(name='case', params=registry.NAMES, scope='module')
def _case(request) -> Case:
  return Case(registry.ENTRIES[request.param])


@pytest.fixture(name='traced_case')
def _traced_case(case) -> Case:
  if not case.entry.traced:
    pytest.skip('a smaller entry stands for it')
  return case


def test_variables_are_found_and_counted(case):
  assert len(case.bijector.trainable_variables) == case.entry.variables
  assert len(case.bijector.variables) == case.entry.saved
  references = {v.ref() for v in case.bijector.variables}
  assert len(references) == case.entry.saved


def test_round_trips_in_float32(case):
  registry.check_round_trips(
      case.entry, case.bijector, tf.float32, Case.BATCH)


@pytest.mark.parametrize('direction', ['forward', 'inverse'])
def test_gradients_reach_every_variable(case, direction):
  if not case.entry.variables:
    pytest.skip('has no variables')
  function = getattr(case, direction).python_function
  value = tf.constant(case.x if direction == 'forward' else case.y)
  with tf.GradientTape() as tape:
    loss = sum(tf.reduce_mean(tf.square(v - 0.3))
               for v in function(value).values())
  for variable, gradient in zip(
      case.bijector.trainable_variables,
      tape.gradient(loss, case.bijector.trainable_variables), strict=True):
    assert gradient is not None, variable.name
    assert np.isfinite(gradient).all(), variable.name
    assert np.any(gradient), f'{variable.name}: all zero'


def test_graph_with_any_batch_size_equals_eager(traced_case):
  case = traced_case
  forward = case.forward(tf.constant(case.x))
  inverse = case.inverse(tf.constant(case.y))
  traces = case.forward.experimental_get_tracing_count()
  case.forward(tf.constant(case.x[:1]))
  assert case.forward.experimental_get_tracing_count() == traces
  _assert_same({**forward, **inverse}, case.eager)
  y = case.forward.get_concrete_function().structured_outputs['y']
  assert y.shape.as_list() == [None, *case.entry.output_shape]


def test_xla_equals_eager(traced_case):
  case = traced_case
  compiled = tf.function(
      functools.partial(_both, case.bijector), jit_compile=True)
  _assert_same(compiled(tf.constant(case.x), tf.constant(case.y)), case.eager)


def _both(bijector, x, y):
  return {**_forward(bijector, x), **_inverse(bijector, y)}


def test_unknown_height_and_width(traced_case):
  case = traced_case
  def spec(shape):
    return tf.TensorSpec([None, None, None, shape[-1]])

  traced = tf.function(
      functools.partial(_both, case.bijector),
      input_signature=[spec(case.entry.event_shape),
                       spec(case.entry.output_shape)])
  _assert_same(traced(tf.constant(case.x), tf.constant(case.y)), case.eager)


def test_event_shapes(case):
  bijector, entry = case.bijector, case.entry
  assert case.eager['y'].shape[1:] == entry.output_shape
  assert case.eager['x'].shape[1:] == entry.event_shape
  assert bijector.forward_event_shape(entry.event_shape) == entry.output_shape
  assert bijector.inverse_event_shape(entry.output_shape) == entry.event_shape
  np.testing.assert_array_equal(
      bijector.forward_event_shape_tensor(list(entry.event_shape)),
      entry.output_shape)
  np.testing.assert_array_equal(
      bijector.inverse_event_shape_tensor(list(entry.output_shape)),
      entry.event_shape)
  unknown = tf.TensorShape([None, None, entry.event_shape[-1]])
  assert bijector.forward_event_shape(unknown).as_list() == [
      None, None, entry.output_shape[-1]]


@pytest.mark.parametrize('batch_shape', [(), (1, 3)])
def test_any_batch_shape(case, batch_shape):
  number = int(np.prod(batch_shape, dtype=int))
  x = case.x[:number].reshape([*batch_shape, *case.entry.event_shape])
  y = case.y[:number].reshape([*batch_shape, *case.entry.output_shape])
  expected = {
      key: value[:number].reshape([*batch_shape, *value.shape[1:]])
      for key, value in case.eager.items()}
  _assert_same(_evaluate(case.bijector, x, y), expected)


def test_an_image_does_not_depend_on_its_batch(case):
  expected = {key: value[1:2] for key, value in case.eager.items()}
  _assert_same(_evaluate(case.bijector, case.x[1:2], case.y[1:2]), expected)
  # Beside images of quite another kind, too.
  x, y = -5. * case.x, 1. - case.y**2
  x[1], y[1] = case.x[1], case.y[1]
  beside = _evaluate(case.bijector, x, y)
  _assert_same({key: value[1:2] for key, value in beside.items()}, expected)


@pytest.mark.parametrize('direction', ['forward', 'inverse'])
@pytest.mark.parametrize('shape', [None, [4, 4], [None, 4, 4, None]])
@pytest.mark.parametrize('case', [
    'act_norm', 'invertible_conv', 'coupling_channel', 'factor_out',
    'reorder_channel_raster', 'squeeze_channel'], indirect=True)
def test_too_little_known_of_images_is_refused(case, shape, direction):
  traced = tf.function(getattr(case.bijector, direction))
  with pytest.raises(ValueError, match='takes .*got '):
    traced.get_concrete_function(tf.TensorSpec(shape))


def test_checkpoint_restores_in_a_new_object(case, tmp_path):
  path = tf.train.Checkpoint(bijector=case.bijector).write(
      str(tmp_path / 'checkpoint'))
  # Each variable once, and none under a name that Keras made up.
  saved = [name for name, _ in tf.train.list_variables(path)
           if name.endswith('/.ATTRIBUTES/VARIABLE_VALUE')]
  assert len(saved) == case.entry.saved
  restored = case.entry.make(tf.float32)
  status = tf.train.Checkpoint(bijector=restored).read(path)
  status.assert_consumed()
  _assert_same(_evaluate(restored, case.x, case.y), case.eager, 1e-6)


def test_saved_model_runs_in_the_cpp_loader(traced_case, tmp_path):
  case = traced_case
  if not case.entry.saved:
    pytest.skip('has no variables, which are what may fail to load')
  tf.saved_model.save(
      case, tmp_path,
      signatures={'forward': case.forward, 'inverse': case.inverse})
  with cpp_loader.load(tmp_path) as model:
    outputs = {**model.run({'x': case.x}, 'forward'),
               **model.run({'y': case.y}, 'inverse')}
  _assert_same(outputs, case.eager)


def test_copy_shares_variables(case):
  bijector = case.bijector
  copied = bijector.copy()
  assert type(copied) is type(bijector)
  assert set(copied.parameters) == set(bijector.parameters)
  assert {v.ref() for v in copied.variables} == {
      v.ref() for v in bijector.variables}
  assert len(copied.variables) == case.entry.saved
  _assert_same(_evaluate(copied, case.x, case.y), case.eager, 1e-6)


def test_deepcopy_has_its_own_variables(case):
  copied = copy.deepcopy(case.bijector)
  _assert_same(_evaluate(copied, case.x, case.y), case.eager, 1e-6)
  assert not {v.ref() for v in copied.variables} & {
      v.ref() for v in case.bijector.variables}
  if case.entry.variables:
    registry.randomize(copied, seed=3)
    changed = _evaluate(copied, case.x, case.y)
    assert np.abs(changed['y'] - case.eager['y']).max() > 1e-4


def test_empty_batches(case):
  outputs = _evaluate(case.bijector, case.x[:0], case.y[:0])
  assert {key: value.shape for key, value in outputs.items()} == {
      'y': (0, *case.entry.output_shape), 'fldj': (0,),
      'x': (0, *case.entry.event_shape), 'ildj': (0,)}


def test_parameters_are_the_constructors_arguments(case):
  bijector = case.bijector
  if not type(bijector).__module__.startswith('alignflow_tf.'):
    pytest.skip('a TFP class')
  again = type(bijector)(**bijector.parameters)
  assert again.parameters == bijector.parameters
  assert bijector.parameters['name'] in bijector.name


def test_what_tfp_is_told(case):
  bijector = case.bijector
  if not type(bijector).__module__.startswith('alignflow_tf.'):
    pytest.skip('a TFP class')
  # Pixels are pre-processed one by one; the others take images.
  ndims = 0 if isinstance(bijector, af.bijectors.ImagePreprocess) else 3
  assert bijector.forward_min_event_ndims == ndims
  assert bijector.inverse_min_event_ndims == ndims
  if bijector.is_constant_jacobian:
    # TFP computes it once, for all images.
    for log_det in (case.eager['fldj'], case.eager['ildj']):
      assert np.ptp(log_det) == 0.
  if isinstance(bijector, af.bijectors.Coupling):
    assert isinstance(bijector.network, keras.layers.Layer)
    assert isinstance(bijector.mask, af.bijectors.Mask)
    assert isinstance(
        bijector.transform, af.bijectors.transforms.Transform)


def test_equally_built_bijectors_do_not_share_tfps_cache(case):
  """One cache serves all of TFP and goes by constructor arguments."""
  if not case.entry.variables:
    pytest.skip('has no variables that could differ')
  other = case.entry.make(tf.float32)
  registry.randomize(other, seed=7)
  x, y = tf.constant(case.x), tf.constant(case.y)
  kept = [case.bijector.forward(x), case.bijector.inverse(y)]
  results = [other.forward(x), other.inverse(y)]
  del kept
  fresh = [other.forward(tf.identity(x)), other.inverse(tf.identity(y))]
  for result, expected in zip(results, fresh, strict=True):
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def _count_convolutions(function, *specs):
  """Number of `Conv2D` that a call runs, those of called functions included."""
  graph = tf.function(function).get_concrete_function(*specs).graph
  definition = graph.as_graph_def()
  functions = {f.signature.name: f for f in definition.library.function}

  def count(nodes):
    total = 0
    for node in nodes:
      total += node.op == 'Conv2D'
      for attribute in node.attr.values():
        if attribute.func.name:
          total += count(functions[attribute.func.name].node_def)
    return total

  return count(definition.node)


def test_each_network_is_evaluated_once_a_pass(traced_case):
  case = traced_case
  expected = case.entry.convolutions * case.entry.networks
  if not expected:
    pytest.skip('has no networks')
  bijector = case.bijector
  x = tf.TensorSpec([2, *case.entry.event_shape])
  y = tf.TensorSpec([2, *case.entry.output_shape])
  prior = tfd.Sample(tfd.Normal(0., 1.), case.entry.event_shape)
  distribution = tfd.TransformedDistribution(prior, bijector)

  def gradient(y):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(distribution.log_prob(y))
    return tape.gradient(loss, bijector.trainable_variables)

  def sample(seed):
    return distribution.experimental_sample_and_log_prob(2, seed=seed)

  counts = {
      'forward': _count_convolutions(functools.partial(_forward, bijector), x),
      'inverse': _count_convolutions(functools.partial(_inverse, bijector), y),
      'log_prob': _count_convolutions(distribution.log_prob, y),
      'gradient': _count_convolutions(gradient, y),
      'sample': _count_convolutions(sample, tf.TensorSpec([2], tf.int32)),
  }
  assert counts == dict.fromkeys(counts, expected)


def test_every_public_bijector_is_registered():
  """A bijector added to the library but not here would go untested."""
  entries = [registry.ENTRIES[name].make(tf.float32)
             for name in registry.ENTRIES if 'real_nvp' not in name]
  made = {type(m) for entry in entries for m in (entry, *entry.submodules)}
  for name in af.bijectors.__all__:
    value = getattr(af.bijectors, name)
    if isinstance(value, type) and issubclass(
        value, tfp.bijectors.Bijector) and value is not (
            af.bijectors.ImageBijector):
      assert value in made, name

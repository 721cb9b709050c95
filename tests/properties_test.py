"""Properties over drawn shapes, types and values: no crash, no silent NaN."""

import dataclasses

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
import numpy as np
import pytest
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf.train import config as config_lib
from tests.bijectors import registry

# What docstrings say is raised.
DOCUMENTED = (ValueError, TypeError, KeyError)
# Arguments of methods that say what is wrong with theirs; others are TFP's.
ARGUMENTS = {'initialize': ('images',), 'interpolate': ('x0', 'source'),
             'evaluator': ('images', 'source', 'target')}
# The same examples each time: a test that fails now and then tells nobody what
# a change did. `derandomize` off and more examples search further.
_settings = settings(
    derandomize=True, deadline=None, database=None, print_blob=False,
    suppress_health_check=list(HealthCheck))


def _runs(examples):
  return settings(_settings, max_examples=examples)


NAMES = ('act_norm', 'invertible_conv', 'coupling_keras', 'factor_out',
         'image_preprocess_0.05', 'squeeze_channel', 'glow_1_scale',
         'translator')


@pytest.fixture(scope='module')
def bijectors():
  return {name: registry.ENTRIES[name].make_random() for name in NAMES}


def _same_nan(x, y):
  """Whether rows of NaN input are NaN, and no other."""
  bad = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
  found = ~np.isfinite(y).reshape(len(y), -1).all(axis=1)
  return np.array_equal(bad, found)


@pytest.mark.parametrize('name', NAMES)
def test_a_bijector_takes_any_batch_and_goes_back(name, bijectors):
  entry, bijector = registry.ENTRIES[name], bijectors[name]

  @_runs(10)
  @given(batch=st.sampled_from([(), (1,), (5,), (2, 3)]),
         seed=st.integers(0, 2**31), exponent=st.integers(-6, 3))
  def check(batch, seed, exponent):
    scale = 10.**exponent
    x = scale * np.random.RandomState(seed).standard_normal(
        (*batch, *entry.event_shape)).astype(np.float32)
    y = bijector.forward(tf.constant(x))
    log_det = bijector.forward_log_det_jacobian(tf.constant(x), 3)
    assert y.shape == (*batch, *entry.output_shape)
    assert np.isfinite(y).all()
    assert np.isfinite(log_det).all()
    back = bijector.inverse(tf.identity(y))
    # Far from the pixels, float32 leaves as many digits as the slope allows.
    np.testing.assert_allclose(back, x, rtol=2e-3, atol=2e-3 * max(1., scale))

  check()


@pytest.mark.parametrize('name', NAMES)
def test_a_bijector_hides_no_nan(name, bijectors):
  entry, bijector = registry.ENTRIES[name], bijectors[name]

  @_runs(10)
  @given(rows=st.sets(st.integers(0, 3)), place=st.integers(0, 10**6),
         value=st.sampled_from([np.nan, np.inf, -np.inf]),
         inverse=st.booleans())
  def check(rows, place, value, inverse):
    x = entry.outputs(4, tf.float32) if inverse else entry.inputs(4, tf.float32)
    for row in rows:
      x[row].reshape(-1)[place % x[row].size] = value
    method = bijector.inverse if inverse else bijector.forward
    assert _same_nan(x, method(tf.constant(x)).numpy())

  check()


@pytest.mark.parametrize('name', NAMES)
def test_a_bijector_refuses_with_documented_errors(name, bijectors):
  bijector = bijectors[name]

  @_runs(20)
  @given(shape=st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=5),
         dtype=st.sampled_from(['float16', 'float32', 'float64', 'int32',
                                'uint8', 'bool', 'str']),
         method=st.sampled_from(['forward', 'inverse']))
  def check(shape, dtype, method):
    x = np.zeros(shape, dtype)
    if dtype == 'str':
      x = x.astype(object)
      x[...] = 'x'
    try:
      y = getattr(bijector, method)(x)
    except DOCUMENTED:
      return
    assert y.dtype == tf.float32 or bijector.dtype is None
    assert y.shape.rank == len(shape)
    assert not np.isnan(np.asarray(tf.cast(y, tf.float32))).any()

  check()


@pytest.fixture(scope='module')
def model():
  made = af.AlignFlow(
      ('a', 'b'), (4, 4, 1),
      adapter=lambda shape: af.flows.real_nvp(
          shape, num_scales=1, channels=2, num_blocks=1))
  registry.randomize(made)
  return made


def test_a_model_on_any_images(model):
  @_runs(15)
  @given(batch=st.sampled_from([1, 5]), seed=st.integers(0, 2**31),
         exponent=st.integers(-4, 3), shift=st.floats(-2., 2.))
  def check(batch, seed, exponent, shift):
    x = np.float32(shift) + np.float32(10.**exponent) * np.random.RandomState(
        seed).standard_normal((batch, 4, 4, 1)).astype(np.float32)
    log_prob = model['a'].log_prob(tf.constant(x))
    assert np.isfinite(log_prob).all()
    there = model.translator('a', 'b').forward(tf.constant(x))
    back = model.translator('b', 'a').forward(tf.identity(there))
    assert np.isfinite(there).all()
    np.testing.assert_allclose(
        back, x, rtol=2e-3, atol=2e-3 * max(1., 10.**exponent))

  check()


def test_a_model_refuses_with_documented_errors(model):
  @_runs(60)
  @given(domain=st.sampled_from(['a', 'b', 'c', '', None, 3]),
         other=st.sampled_from(['a', 'b', 'c', None]),
         shape=st.one_of(
             st.just([2, 4, 4, 1]),
             st.lists(st.sampled_from([0, 1, 2, 4]), max_size=5)),
         dtype=st.sampled_from(['float32', 'float64', 'int64', 'uint8']),
         what=st.sampled_from([
             'log_prob', 'translate', 'initialize', 'interpolate', 'bits',
             'evaluator']))
  def check(domain, other, shape, dtype, what):
    x = np.zeros(shape, dtype)
    refused = ''
    try:
      if what == 'log_prob':
        y = model[domain].log_prob(x)
      elif what == 'translate':
        y = model.translator(domain, other).forward(x)
      elif what == 'initialize':
        y = model.initialize({domain: x, other: x})
      elif what == 'interpolate':
        y = model.interpolate(x, x, domain, 3)['a']
      elif what == 'bits':
        y = model.bits_per_dim(x, domain)
      else:
        y = inference.Evaluator(model).translate(x, domain, other)
    except DOCUMENTED as e:
      refused = str(e)
    if not refused:
      assert y is None or not np.isnan(y).any()
    elif what in ARGUMENTS:
      assert any(f'`{name}' in refused for name in ARGUMENTS[what]), refused
      fits = shape[1:] == [4, 4, 1] and shape[0] and 'float' in dtype
      assert not fits or not {domain, other} <= {'a', 'b'} or (
          what == 'initialize' and domain == other), refused

  before = [v.numpy() for v in model.variables]
  check()
  for variable, value in zip(model.variables, before, strict=True):
    variable.assign(value)


@_runs(200)
@given(levels=st.lists(st.integers(0, 255), min_size=1, max_size=30),
       seed=st.integers(-2**31, 2**31 - 1), width=st.floats(1., 255.))
def test_dequantised_levels_come_back(levels, seed, width):
  levels = np.array(levels, np.uint8)
  middle = images_lib.from_uint8(levels)
  np.testing.assert_array_equal(images_lib.to_uint8(middle), levels)
  x = images_lib.dequantize(levels, (seed, 1)).numpy()
  assert np.all((x >= 0.) & (x <= 1.))
  # float32 may round the top of a bin up to the next one's foot.
  assert np.all(np.floor(np.nextafter(x * 256., 0.)) <= levels)
  wide = images_lib.dequantize(levels, (seed, 1), width).numpy()
  assert np.all(np.abs(wide - middle) <= (width / 2. + 1e-3) / 256.)


_ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.binary(max_size=4), st.lists(st.integers(), max_size=2),
    st.tuples(st.text(max_size=4)))
_FIELDS = [f.name for f in dataclasses.fields(config_lib.Config)]


@_runs(2000)
@given(values=st.dictionaries(
    st.sampled_from(_FIELDS), _ANYTHING, min_size=1, max_size=3))
def test_a_configuration_is_whole_or_refused(values):
  try:
    config = config_lib.Config(**values)
  except config_lib.ConfigError:
    return
  assert config_lib.Config.from_json(config.to_json()) == config


@_runs(500)
@given(values=st.dictionaries(
    st.one_of(st.sampled_from(_FIELDS), st.text(max_size=5)), _ANYTHING,
    max_size=3))
def test_a_saved_configuration_is_whole_or_refused(values):
  try:
    config = config_lib.Config.from_json(values)
  except config_lib.ConfigError:
    return
  assert config_lib.Config.from_json(config.to_json()) == config

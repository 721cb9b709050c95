"""The Keras networks: values, shapes, precision, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import networks


def _conv(x, kernel):
  """A zero-padded convolution in NumPy, written out."""
  size = kernel.shape[0]
  pad = size // 2
  padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  height, width = x.shape[1:3]
  return sum(
      padded[:, i:i + height, j:j + width] @ kernel[i, j]
      for i in range(size) for j in range(size))


def test_conditioner_computes_its_formula():
  filters = 4
  network = networks.ConditionerResNet(
      3, filters=filters, num_blocks=2, dtype='float64')
  network.build((None, None, None, 2))
  rng = np.random.RandomState(0)
  for variable in network.variables:
    variable.assign(rng.standard_normal(variable.shape))
  w = {v.name: v.numpy() for v in network.variables}

  def normed(kernel, magnitude):
    return magnitude * kernel / np.sqrt(
        np.square(kernel).sum(axis=(0, 1, 2)))

  def relu(x):
    return np.maximum(x, 0)

  # Rows: the input, four convolutions of blocks, three skips (one bias).
  assert w['magnitude'].shape == (8, filters)
  assert w['bias'].shape == (6, filters)
  x = rng.standard_normal((2, 5, 4, 2))
  h = _conv(x, normed(w['input_kernel'], w['magnitude'][0])) + w['bias'][0]
  skip = _conv(h, normed(w['skip_kernels'][0], w['magnitude'][5]))
  for block in range(2):
    r = h
    for i in (2 * block, 2 * block + 1):
      r = _conv(relu(r), normed(w['block_kernels'][i], w['magnitude'][1 + i]))
      r = r + w['bias'][1 + i]
    h = h + r
    skip = skip + _conv(h, normed(
        w['skip_kernels'][block + 1], w['magnitude'][6 + block]))
  expected = _conv(relu(skip + w['bias'][5]), w['output_kernel'])
  expected = expected + w['output_bias']
  np.testing.assert_allclose(
      network(tf.constant(x)), expected, rtol=1e-9, atol=1e-9)


def test_gradients_of_weight_norm_are_those_of_its_formula():
  network = networks.ConditionerResNet(
      3, filters=4, num_blocks=2, dtype='float64')
  network.build((None, None, None, 2))
  kernel = network.block_kernels.value
  # A kernel of nothing but zeros has no direction, and must not give NaN.
  kernel.assign(kernel * np.array([1., 1., 0., 1.]))
  upstream = tf.random.stateless_normal(
      kernel.shape, [0, 1], dtype=tf.float64)
  with tf.GradientTape(persistent=True) as tape:
    found = tf.reduce_sum(tf.stack(network.normalized()[-4:]) * upstream)
    norm = tf.reduce_sum(tf.square(kernel), axis=[1, 2, 3], keepdims=True)
    magnitude = network.magnitude.value[1:5, None, None, None]
    want = tf.reduce_sum(
        magnitude * kernel * tf.math.rsqrt(norm + 1e-12) * upstream)
  np.testing.assert_allclose(found, want, rtol=1e-12)
  np.testing.assert_allclose(
      tape.gradient(found, kernel), tape.gradient(want, kernel),
      rtol=1e-9, atol=1e-9)


def test_gradients_of_an_unknown_batch_keep_what_convolutions_read_alone():
  network = networks.ConditionerResNet(3, filters=4, num_blocks=2)
  network.build((None, None, None, 2))
  weights = network.normalized()

  @tf.function(autograph=False)
  def gradients(x):
    with tf.GradientTape() as tape:
      tape.watch(weights)
      y = network.function(x, *weights)
    return tape.gradient(y, weights, tf.sin(y))

  graph = gradients.get_concrete_function(
      tf.TensorSpec([None, 4, 4, 2])).graph
  ops = graph.get_operations()
  read = {op.inputs[0].name for op in ops if op.type == 'Conv2D'}
  # A sum whose gradient asks for its terms' shapes keeps the terms until then.
  kept = {op.inputs[0].name for op in ops if op.type == 'Shape'}
  assert kept <= read, kept - read


def test_conditioner_starts_at_zero_with_gradients_for_its_last_layer():
  network = networks.ConditionerResNet(3, filters=4, num_blocks=1)
  x = tf.random.normal([2, 4, 4, 2])
  np.testing.assert_array_equal(network(x), np.zeros([2, 4, 4, 3]))
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(network(x))
  gradient = tape.gradient(loss, network.output_kernel.value)
  assert np.all(gradient != 0) or np.count_nonzero(gradient) > 3


def test_conditioner_has_the_papers_weights():
  network = networks.ConditionerResNet(6, filters=32, num_blocks=4)
  network.build((None, 8, 8, 4))
  m = 32
  kernels = 9 * 4 * m + 8 * 9 * m * m + 5 * m * m + m * 6
  magnitudes = m + 8 * m + 5 * m
  biases = m + 8 * m + m + 6
  assert network.count_params() == kernels + magnitudes + biases
  # The weight-norm magnitudes and nothing else, for the L2 penalty.
  assert sum(g.shape.num_elements() for g in network.magnitudes) == magnitudes
  assert all(isinstance(g, tf.Variable) for g in network.magnitudes)


def test_conditioner_seed_fixes_the_weights():
  def weights(seed):
    network = networks.ConditionerResNet(2, filters=4, num_blocks=1, seed=seed)
    network.build((None, None, None, 2))
    return network.input_kernel.numpy(), network.skip_kernels.numpy()

  for one, same, other in zip(
      weights(1), weights(1), weights(2), strict=True):
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize(('dtype', 'compute', 'variables'), [
    ('float32', tf.float32, 'float32'), ('float64', tf.float64, 'float64'),
    ('mixed_bfloat16', tf.bfloat16, 'float32'),
    ('bfloat16', tf.bfloat16, 'bfloat16')])
def test_conditioner_precision(dtype, compute, variables):
  network = networks.ConditionerResNet(
      2, filters=4, num_blocks=1, dtype=dtype)
  x = tf.ones([1, 2, 2, 2])
  assert network(x).dtype == compute
  assert {v.dtype for v in network.variables} == {variables}


def test_conditioner_config_rebuilds_it():
  network = networks.ConditionerResNet(2, filters=4, num_blocks=3, seed=7)
  again = networks.ConditionerResNet.from_config(network.get_config())
  assert again.get_config() == network.get_config()
  assert network.compute_output_shape((None, 8, 6, 3)) == (None, 8, 6, 2)


@pytest.mark.parametrize(
    'argument', ['output_channels', 'filters', 'num_blocks'])
@pytest.mark.parametrize('value', [0, -1, 1.5])
def test_conditioner_errors(argument, value):
  arguments = {'output_channels': 2, argument: value}
  with pytest.raises(
      ValueError, match=f'`{argument}` must be a positive.*{value}'):
    networks.ConditionerResNet(**arguments)


def test_patch_critic_is_the_70_pixel_patchgan():
  critic = networks.patch_critic((70, 70, 3))
  # Parameters of the published critic, without affine normalisation.
  widths = [3, 64, 128, 256, 512, 1]
  expected = sum(16 * a * b + b
                 for a, b in zip(widths, widths[1:], strict=False))
  assert critic.count_params() == expected
  x = tf.Variable(tf.random.normal([1, 70, 70, 3], seed=1))
  with tf.GradientTape() as tape:
    logits = critic(x)
    corner = logits[0, 0, 0, 0]
  assert logits.shape == [1, 6, 6, 1]
  # The corner's patch reaches 70 - 23 = 47 pixels into the image. Through the
  # statistics of instance normalisation the rest counts as well, but little.
  gradient = np.abs(tape.gradient(corner, x).numpy()[0]).sum(axis=-1)
  assert gradient[:48, :48].mean() > 5 * gradient[56:, 56:].mean()


@pytest.mark.parametrize(('shape', 'layers', 'output'), [
    ((32, 32, 3), 3, 2), ((16, 16, 1), 2, 2), ((16, 24, 1), 1, 6)])
def test_patch_critic_shapes(shape, layers, output):
  critic = networks.patch_critic(shape, filters=4, num_layers=layers)
  logits = critic(tf.zeros([3, *shape]))
  assert logits.shape[:2] == [3, output]
  assert logits.dtype == tf.float32


def test_patch_critic_in_mixed_precision_gives_float32():
  critic = networks.patch_critic(
      (16, 16, 1), filters=4, num_layers=1, dtype='mixed_bfloat16')
  assert critic(tf.zeros([1, 16, 16, 1])).dtype == tf.float32
  assert critic.layers[2].compute_dtype == 'bfloat16'


def test_patch_critic_judges_an_image_alone():
  critic = networks.patch_critic((16, 16, 1), filters=4, num_layers=2)
  x = tf.random.normal([3, 16, 16, 1])
  np.testing.assert_allclose(critic(x)[1:2], critic(x[1:2]), atol=1e-6)


def test_patch_critic_errors():
  with pytest.raises(ValueError, match='`filters` must be a positive.*0'):
    networks.patch_critic((32, 32, 3), filters=0)
  with pytest.raises(ValueError, match="`num_layers` must be a positive.*'3'"):
    networks.patch_critic((32, 32, 3), num_layers='3')


@pytest.mark.parametrize('size', [8, 12, 16, 23, 24, 28, 32])
def test_patch_critic_says_how_many_layers_an_image_takes(size):
  with pytest.raises(
      ValueError, match=f'`num_layers` is 6.*{size}x40 pixels') as info:
    networks.patch_critic((size, 40, 1), filters=2, num_layers=6)
  most = int(str(info.value).split('at most ')[1].rstrip('.'))
  assert networks.patch_critic(
      (size, 40, 1), filters=2, num_layers=most).output_shape[1] >= 1
  with pytest.raises(ValueError, match='at most'):
    networks.patch_critic((size, 40, 1), filters=2, num_layers=most + 1)


def test_lenet():
  model = networks.lenet((28, 28, 1))
  # CyCADA's: 800 features reach the dense layer.
  assert model.count_params() == (
      25 * 20 + 20 + 25 * 20 * 50 + 50 + 800 * 500 + 500 + 500 * 10 + 10)
  x = tf.random.normal([2, 28, 28, 1])
  assert model(x).shape == [2, 10]
  np.testing.assert_array_equal(model(x), model(x))
  assert np.abs(model(x, training=True) - model(x)).max() > 1e-3
  assert isinstance(model, keras.Model)


def test_lenet_seed_fixes_the_weights():
  one, same, other = (networks.lenet((16, 16, 1), seed=s) for s in (1, 1, 2))
  for a, b in zip(one.weights, same.weights, strict=True):
    if 'seed' not in a.path:
      np.testing.assert_array_equal(a, b)
  assert np.abs(one.weights[0] - other.weights[0]).max() > 0.01


def test_lenet_error():
  with pytest.raises(ValueError, match=r'`image_shape`.*16x16.*\(8, 16, 1\)'):
    networks.lenet((8, 16, 1))


def test_dtn():
  model = networks.dtn((32, 32, 3))
  # CyCADA's: 4,096 features reach the dense layer.
  convolutions = sum(25 * a * b + b + 2 * b for a, b in (
      (3, 64), (64, 128), (128, 256)))
  dense = 4096 * 512 + 512 + 2 * 512 + 512 * 10 + 10
  assert sum(int(tf.size(v)) for v in model.trainable_variables) == (
      convolutions + dense)
  x = tf.random.normal([2, 32, 32, 3])
  assert model(x).shape == [2, 10]
  np.testing.assert_array_equal(model(x), model(x))
  with pytest.raises(ValueError, match=r'`image_shape`.*8x8.*\(4, 8, 1\)'):
    networks.dtn((4, 8, 1))


def test_strided_classifier_judges_an_image_alone():
  model = networks.strided_classifier((8, 8, 1), 3)
  x = tf.random.normal([4, 8, 8, 1])
  assert model(x).shape == [4, 3]
  np.testing.assert_allclose(
      model(x, training=True)[:1], model(x[:1]), atol=1e-5)

"""The residual network that conditions a coupling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import contextlib
import contextvars
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf import _checks

__all__ = ['ConditionerResNet', 'draw_once']

# Up to so many filters, kernels are small and multiplied themselves.
_SMALL = 64

# Kernels drawn within `draw_once`, by shape, type and seed.
_drawn: contextvars.ContextVar[dict[tuple[Any, ...], tf.Tensor] | None] = (
    contextvars.ContextVar('_drawn', default=None))


@contextlib.contextmanager
def draw_once() -> Iterator[None]:
  """Networks of one seed that are built within draw their kernels once.

  The flows of all domains begin with the same weights, and so does their moving
  average: of the paper's 46 million kernel entries, three draws in four are
  spared. Networks are what they would be without it.
  """
  token = _drawn.set({})
  try:
    yield
  finally:
    _drawn.reset(token)


class _Kernels:
  """An initializer whose draws are those of `RandomNormal`, see above."""

  def __init__(self, stddev: float, seed: int):
    self._stddev, self._seed = stddev, seed

  def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
    normal = keras.initializers.RandomNormal(
        stddev=self._stddev, seed=self._seed)
    drawn = _drawn.get()
    if drawn is None or not tf.executing_eagerly():
      return normal(shape, dtype)
    key = (tuple(shape), str(dtype), self._stddev, self._seed)
    if key not in drawn:
      drawn[key] = normal(shape, dtype)
    return drawn[key]


@keras.saving.register_keras_serializable('alignflow_tf')
class ConditionerResNet(keras.layers.Layer):
  """ResNet of weight-normalised convolutions with skip connections.

  With `conv3`, `conv1` weight-normalised convolutions of kernel 3 and 1, all of
  `filters` channels and zero-padded:

  ```
  h = conv3(x);  skip = conv1(h)
  repeat num_blocks times:
    h = h + conv3(relu(conv3(relu(h))))
    skip = skip + conv1(h)
  output = last(relu(skip))
  ```

  `last` is a plain 1x1 convolution that starts at zero, so that a coupling
  starts as the identity. (Under weight normalisation a zero start means zero
  magnitude, and only the magnitudes would get a gradient.) There is no batch
  normalisation: an image's output does not depend on the other images.

  Weight normalisation writes a kernel as `g * v / ||v||`, one magnitude `g` and
  one norm an output channel. As a convolution is linear, `g / ||v||` multiplies
  its *output* in networks of more than 64 filters, which as a rule are those of
  the coarse scales, whose images are much smaller than kernels, and the small
  kernels of others. The kernels of all blocks stand in one variable, stacked,
  since each TensorFlow variable costs a fixed time in tracing and in every
  step.

  #### References

  [1]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, appendix B.1.
       https://arxiv.org/abs/1905.12892
  [2]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017, section 3.4 and appendix A.
       https://arxiv.org/abs/1605.08803
  [3]: Tim Salimans, Diederik P. Kingma. Weight Normalization. In _NeurIPS_,
       2016. https://arxiv.org/abs/1602.07868
  """

  def __init__(
      self,
      output_channels: int,
      filters: int = 32,
      num_blocks: int = 4,
      seed: int = 0,
      dtype: Any = 'float32',
      name: str | None = None,
  ):
    """Configures the network.

    Args:
      output_channels: Number of channels of the output.
      filters: Number of channels of the hidden layers.
      num_blocks: Number of residual blocks.
      seed: Non-negative integer that fixes the initial weights.
      dtype: A Keras dtype or dtype policy; with a mixed policy the convolutions
        run in the policy's compute type, and so does the output.
      name: Name of the layer.

    Raises:
      ValueError: If one of the numbers is not a positive integer.
    """
    super().__init__(dtype=dtype, name=name)
    self.output_channels = _checks.integer('output_channels', output_channels)
    self.filters = _checks.integer('filters', filters)
    self.num_blocks = _checks.integer('num_blocks', num_blocks)
    self.seed = _checks.integer('seed', seed, least=0)

  def build(self, input_shape: tuple[int | None, ...]) -> None:
    """Creates the weights for `[B, H, W, C]` inputs of `C` channels."""
    n, m, c = self.num_blocks, self.filters, input_shape[-1]
    if c is None:
      raise ValueError(
          f'`input_shape` must have a known number of channels, got '
          f'{input_shape}.')
    seeds = iter(range(self.seed * 8, self.seed * 8 + 8))

    def kernel(name: str, shape: tuple[int, ...]) -> keras.Variable:
      # The direction alone counts, and the step's size relative to the norm.
      fan_in = shape[-4] * shape[-3] * shape[-2]
      return self.add_weight(
          shape=shape, initializer=_Kernels(fan_in**-0.5, next(seeds)),
          name=name)

    def vector(name: str, shape: tuple[int, ...],
               value: float) -> keras.Variable:
      initializer = keras.initializers.Constant(value)
      return self.add_weight(shape=shape, initializer=initializer, name=name)

    # Rows of the magnitudes: the input, the blocks' convolutions, the skips;
    # of the biases: the input, the blocks' convolutions, the sum of the skips.
    self.input_kernel = kernel('input_kernel', (3, 3, c, m))
    self.block_kernels = kernel('block_kernels', (2 * n, 3, 3, m, m))
    self.skip_kernels = kernel('skip_kernels', (n + 1, 1, 1, m, m))
    start = np.ones([3 * n + 2, m])
    start[2 * n + 1:] = (n + 1)**-0.5  # The skips add up.
    self.magnitude = self.add_weight(
        shape=start.shape, name='magnitude',
        initializer=lambda shape, dtype: keras.ops.cast(start, dtype))
    self.bias = vector('bias', (2 * n + 2, m), 0.)
    self.output_kernel = vector(
        'output_kernel', (1, 1, m, self.output_channels), 0.)
    self.output_bias = vector('output_bias', (self.output_channels,), 0.)
    self.built = True

  @property
  def magnitudes(self) -> list[tf.Variable]:
    """The weight-norm magnitudes `g`, as raw TensorFlow variables."""
    return [self.magnitude.value]

  @property
  def outputs_zero(self) -> bool:
    """Whether the output is 0 for any input, as it is at the start."""
    return not any(
        np.any(w.numpy()) for w in (self.output_kernel, self.output_bias))

  @property
  def weight_list(self) -> list[tf.Variable]:
    """The weights in the order in which `function` takes them."""
    return [w.value for w in (
        self.input_kernel, self.block_kernels, self.skip_kernels,
        self.magnitude, self.bias, self.output_kernel, self.output_bias)]

  @property
  def function(self) -> Callable[..., tf.Tensor]:
    """`call` as a pure function of the inputs and of `weight_list`.

    One object for all networks that compute alike: what is traced from it for
    one network serves the others.
    """
    return _functions(self.compute_dtype)[0]

  @property
  def weights_and_rest(self) -> tuple[
      Callable[..., list[tf.Tensor]], Callable[..., tf.Tensor]]:
    """`function` in two: what `weight_list` alone decides, and the rest.

    The first takes `weight_list`, the second the inputs and what the first
    gave, which serves any number of passes. Their gradients are added up in the
    compute type, in which they come.
    """
    return _functions(self.compute_dtype)[1:]

  def fixed_weights(self) -> list[tf.Tensor]:
    """What the first of `weights_and_rest` gives, with the norms of now.

    In a graph, norms of kernels are constants, which no pass computes.
    """
    with tf.init_scope():
      norms = [_squared_norms(w).numpy() for w in self.weight_list[:3]]
    # NumPy knows no arithmetic of bfloat16 with numbers.
    norms = [tf.constant(norm) for norm in norms]
    return _prepare(tf.as_dtype(self.compute_dtype), norms, *self.weight_list)

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """Maps `[B, H, W, C]` to `[B, H, W, output_channels]`."""
    return self.function(inputs, *self.weight_list)

  def compute_output_shape(
      self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Shape of the output for an input shape."""
    return (*input_shape[:-1], self.output_channels)

  def get_config(self) -> dict[str, Any]:
    """Constructor arguments, for Keras."""
    config = super().get_config()
    return {
        'name': config['name'],
        'dtype': config['dtype'],
        'output_channels': self.output_channels,
        'filters': self.filters,
        'num_blocks': self.num_blocks,
        'seed': self.seed,
    }


@functools.cache
def _functions(compute_dtype: str) -> tuple[
    Callable[..., tf.Tensor], Callable[..., list[tf.Tensor]],
    Callable[..., tf.Tensor]]:
  dtype = tf.as_dtype(compute_dtype)

  def function(inputs: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
    # Ends in exports, whose converters know few operations.
    norms = [_squared_norms(w) for w in weights[:3]]
    return _network(inputs, *_prepare(dtype, norms, *weights))

  def once(*weights: tf.Tensor) -> list[tf.Tensor]:
    norms = [_squared_norms_fused(w) for w in weights[:3]]
    return _prepare(dtype, norms, *weights)

  return function, once, _network


def _squared_norms(kernels: tf.Tensor) -> tf.Tensor:
  """Of each output channel of `[..., H, W, input, output]` kernels."""
  return tf.reduce_sum(tf.square(kernels), axis=[-4, -3, -2])


@tf.custom_gradient
def _squared_norms_fused(kernels: tf.Tensor) -> tuple[
    tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
  """As `_squared_norms`; reads kernels once, and so does its gradient."""
  norms = tf.raw_ops.EuclideanNorm(input=kernels, axis=[-4, -3, -2])

  def gradient(upstream: tf.Tensor) -> tf.Tensor:
    return kernels * (2. * upstream)[
        ..., tf.newaxis, tf.newaxis, tf.newaxis, :]

  return tf.square(norms), gradient


def _prepare(
    dtype: tf.DType,
    squared_norms: Sequence[tf.Tensor],
    input_kernel: tf.Tensor,
    block_kernels: tf.Tensor,
    skip_kernels: tf.Tensor,
    magnitude: tf.Tensor,
    bias: tf.Tensor,
    output_kernel: tf.Tensor,
    output_bias: tf.Tensor,
) -> list[tf.Tensor]:
  """Of `weight_list`, what `_network` takes after the inputs, in `dtype`.

  `squared_norms` are of the first three weights, in the weights' own type.
  """
  convs = block_kernels.shape[0]
  input_scale, block_scales, skip_scales = (
      magnitude * tf.math.rsqrt(norm + 1e-12) for magnitude, norm in zip(
          tf.split(magnitude, [1, convs, convs // 2 + 1]), squared_norms,
          strict=True))
  small = block_kernels.shape[-1] <= _SMALL
  if small:
    # Not `*=`: these may be variables.
    input_kernel = input_kernel * input_scale
    block_kernels = block_kernels * _of_outputs(block_scales)
  # The skip convolutions' kernels are 1x1.
  skips = tf.cast(skip_kernels, dtype) * _of_outputs(
      tf.cast(skip_scales, dtype))
  # Taken apart here and not in `_network`: where several passes share them,
  # the passes' gradients are added up kernel by kernel, and stacked once.
  return [
      *(tf.cast(w, dtype)
        for w in (bias, output_kernel, output_bias, input_kernel)),
      *tf.unstack(skips), *tf.unstack(tf.cast(block_kernels, dtype)),
      # One each for `input_kernel` and the blocks' kernels, or none.
      *([] if small else tf.unstack(
          tf.cast(tf.concat([input_scale, block_scales], 0), dtype)))]


def _of_outputs(scales: tf.Tensor) -> tf.Tensor:
  """`[N, output]` as factors of `[N, H, W, input, output]` kernels."""
  return scales[:, tf.newaxis, tf.newaxis, tf.newaxis]


def _network(
    inputs: tf.Tensor,
    bias: tf.Tensor,
    output_kernel: tf.Tensor,
    output_bias: tf.Tensor,
    *rest: tf.Tensor,
) -> tf.Tensor:
  """`ConditionerResNet` of what `_prepare` gives."""
  biases = tf.unstack(bias)
  blocks = len(biases) // 2 - 1
  skips = rest[1:blocks + 2]
  kernels = [rest[0], *rest[blocks + 2:3 * blocks + 2]]
  scales = rest[3 * blocks + 2:]

  def conv(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, kernel, strides=1, padding='SAME')

  def scaled(x: tf.Tensor, i: int) -> tf.Tensor:
    x = conv(x, kernels[i])
    return tf.nn.bias_add(x * scales[i] if scales else x, biases[i])

  h = scaled(tf.cast(inputs, bias.dtype), 0)
  skip = conv(h, skips[0])
  for block in range(blocks):
    residual = h
    for i in (2 * block + 1, 2 * block + 2):
      residual = scaled(tf.nn.relu(residual), i)
    h = tf.add_n([h, residual])
    skip = tf.add_n([skip, conv(h, skips[block + 1])])
  skip = tf.nn.relu(tf.nn.bias_add(skip, biases[-1]))
  return tf.nn.bias_add(conv(skip, output_kernel), output_bias)

"""The residual network that conditions a coupling."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any

import keras
import tensorflow as tf

__all__ = ['ConditionerResNet']


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
  its *output* here, which is much smaller than the kernels on the coarse
  scales. The kernels of all blocks stand in one variable, stacked, since each
  TensorFlow variable costs a fixed time in tracing and in every step.

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
    for argument, value in (('output_channels', output_channels),
                            ('filters', filters), ('num_blocks', num_blocks)):
      if not isinstance(value, int) or value < 1:
        raise ValueError(
            f'`{argument}` must be a positive integer, got {value!r}.')
    super().__init__(dtype=dtype, name=name)
    self.output_channels = output_channels
    self.filters = filters
    self.num_blocks = num_blocks
    self.seed = seed

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
      initializer = keras.initializers.RandomNormal(
          stddev=fan_in**-0.5, seed=next(seeds))
      return self.add_weight(shape=shape, initializer=initializer, name=name)

    def vector(name: str, shape: tuple[int, ...],
               value: float) -> keras.Variable:
      initializer = keras.initializers.Constant(value)
      return self.add_weight(shape=shape, initializer=initializer, name=name)

    # Magnitudes keep the variance of activations: relu halves the power.
    self.input_kernel = kernel('input_kernel', (3, 3, c, m))
    self.input_magnitude = vector('input_magnitude', (m,), 1.)
    self.input_bias = vector('input_bias', (m,), 0.)
    self.block_kernels = kernel('block_kernels', (2 * n, 3, 3, m, m))
    self.block_magnitudes = vector('block_magnitudes', (2 * n, m), 1.)
    self.block_biases = vector('block_biases', (2 * n, m), 0.)
    self.skip_kernels = kernel('skip_kernels', (n + 1, 1, 1, m, m))
    self.skip_magnitudes = vector(
        'skip_magnitudes', (n + 1, m), (n + 1)**-0.5)
    self.skip_bias = vector('skip_bias', (m,), 0.)
    self.output_kernel = vector(
        'output_kernel', (1, 1, m, self.output_channels), 0.)
    self.output_bias = vector('output_bias', (self.output_channels,), 0.)
    self.built = True

  @property
  def magnitudes(self) -> list[tf.Variable]:
    """The weight-norm magnitudes `g`, as raw TensorFlow variables."""
    return [self.input_magnitude.value, self.block_magnitudes.value,
            self.skip_magnitudes.value]

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """Maps `[B, H, W, C]` to `[B, H, W, output_channels]`."""
    weights = [
        self.input_kernel, self.input_magnitude, self.input_bias,
        self.block_kernels, self.block_magnitudes, self.block_biases,
        self.skip_kernels, self.skip_magnitudes, self.skip_bias,
        self.output_kernel, self.output_bias
    ]
    inputs = tf.cast(inputs, self.compute_dtype)
    network = _traced_network(
        (self.compute_dtype, self.num_blocks, self.filters,
         self.output_channels, *inputs.shape))
    return network(inputs, *[w.value for w in weights])

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
def _traced_network(key: tuple[Any, ...]) -> Callable[..., tf.Tensor]:
  """The network as a `tf.function` of inputs and weights.

  All networks of a flow that have one shape are one function, so that it is
  traced, differentiated and optimized once and not for each coupling and
  direction: of the time to the first step, that is the larger part.

  Args:
    key: What tells functions apart; one trace each.

  Returns:
    A function of the inputs and of the weights in the order of `call`.
  """
  return tf.function(_network, autograph=False)


def _network(
    inputs: tf.Tensor,
    input_kernel: tf.Tensor,
    input_magnitude: tf.Tensor,
    input_bias: tf.Tensor,
    block_kernels: tf.Tensor,
    block_magnitudes: tf.Tensor,
    block_biases: tf.Tensor,
    skip_kernels: tf.Tensor,
    skip_magnitudes: tf.Tensor,
    skip_bias: tf.Tensor,
    output_kernel: tf.Tensor,
    output_bias: tf.Tensor,
) -> tf.Tensor:
  """`ConditionerResNet` as a pure function, in the type of `inputs`."""
  dtype = inputs.dtype

  def scales(magnitude: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    # Norms in the variables' own type, whatever the compute type.
    norm2 = tf.reduce_sum(tf.square(kernels), axis=[-4, -3, -2])
    return tf.cast(magnitude * tf.math.rsqrt(norm2 + 1e-12), dtype)

  def cast(weights: tf.Tensor) -> tf.Tensor:
    return tf.cast(weights, dtype)

  def conv(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, kernel, strides=1, padding='SAME')

  kernels = tf.unstack(cast(block_kernels))
  block_scales = tf.unstack(scales(block_magnitudes, block_kernels))
  biases = tf.unstack(cast(block_biases))
  # The skip convolutions' scales fold into their small 1x1 kernels.
  skip_scales = scales(skip_magnitudes, skip_kernels)
  skips = tf.unstack(
      cast(skip_kernels) * skip_scales[:, tf.newaxis, tf.newaxis, tf.newaxis])

  h = conv(inputs, cast(input_kernel))
  h = h * scales(input_magnitude, input_kernel) + cast(input_bias)
  skip = conv(h, skips[0])
  for block in range(len(kernels) // 2):
    residual = h
    for i in (2 * block, 2 * block + 1):
      residual = conv(tf.nn.relu(residual), kernels[i])
      residual = residual * block_scales[i] + biases[i]
    h = h + residual
    skip = skip + conv(h, skips[block + 1])
  skip = tf.nn.relu(skip + cast(skip_bias))
  return conv(skip, cast(output_kernel)) + cast(output_bias)

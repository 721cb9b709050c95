"""The residual network that conditions a coupling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf import _graph
from alignflow_tf.networks import tracked

__all__ = [
    'ConditionerResNet', 'conditioners', 'fold_weight_norm', 'normalize_once'
]


@keras.saving.register_keras_serializable('alignflow_tf')
class ConditionerResNet(tracked.PureNetwork):
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

  Weight normalisation writes a kernel as `g * v / ||v||`, with one magnitude
  `g` and one norm for each output channel. The kernels of all blocks stand in
  one variable, stacked, since each TensorFlow variable costs a fixed time in
  tracing and in every step.

  ```python
  network = ConditionerResNet(output_channels=6)
  network(tf.zeros([2, 8, 8, 3]))  # Zeros, of shape [2, 8, 8, 6].
  ```

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
    # See `fold_weight_norm` and `normalize_once`.
    self._is_folded = False
    self._normalized: list[tf.Tensor] | None = None

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
          shape=shape, name=name,
          initializer=keras.initializers.RandomNormal(
              stddev=fan_in**-0.5, seed=next(seeds)))

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
    """The network as a pure function of inputs and of `normalized()`.

    One object for all networks, so that a trace of one network serves others.
    """
    return _network

  def normalized(self) -> list[tf.Tensor]:
    """The weights as `function` takes them, in the compute type."""
    if self._normalized is not None:
      return self._normalized
    return _graph.call(
        _normalize, (self.compute_dtype, self._is_folded), *self.weight_list)

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """Maps `[B, H, W, C]` to `[B, H, W, output_channels]`."""
    return self.function(inputs, *self.normalized())

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


def conditioners(module: Any) -> list[ConditionerResNet]:
  """The different `ConditionerResNet`s in a bijector, flow or model.

  Empty for a model that is not a `tf.Module`.
  """
  modules = (
      (module, *module.submodules) if isinstance(module, tf.Module) else ())
  found = {
      id(m.layer): m.layer for m in modules if isinstance(m, tracked.Tracked)}
  return [layer for layer in found.values()
          if isinstance(layer, ConditionerResNet)]


@contextlib.contextmanager
def normalize_once(module: Any) -> Iterator[None]:
  """Within, each of a module's networks normalises its kernels once, at once.

  A training step takes each flow there and back. Where kernels are large
  compared with images, normalising them twice would be a noticeable part of the
  step. For passes in one graph and on one gradient tape, between which no
  weight changes.

  Args:
    module: A bijector, flow or model.
  """
  layers = conditioners(module)
  for layer in layers:
    layer._normalized = layer.normalized()
  try:
    yield
  finally:
    for layer in layers:
      layer._normalized = None


@contextlib.contextmanager
def fold_weight_norm(module: Any) -> Iterator[None]:
  """Within, kernels hold their normalised values and graphs compute no norms.

  For exports, which would normalise the kernels for every request: two fifths
  of the work of translating one image with the paper's architecture. Graphs
  traced within are to be saved or converted within. At the end, the weights
  are what they were.

  Args:
    module: A bijector, flow or model.
  """
  layers = [layer for layer in conditioners(module) if not layer._is_folded]
  before = [[w.numpy() for w in layer.weight_list] for layer in layers]
  for layer in layers:
    kernels = _normalized_kernels(*layer.weight_list[:4])
    for variable, kernel in zip(layer.weight_list[:3], kernels, strict=True):
      variable.assign(kernel)
    layer._is_folded = True
  try:
    yield
  finally:
    for layer, values in zip(layers, before, strict=True):
      layer._is_folded = False
      for variable, value in zip(layer.weight_list, values, strict=True):
        variable.assign(value)


@tf.custom_gradient
def _squared_norms(kernels: tf.Tensor) -> tuple[
    tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
  """Of each output channel of `[..., H, W, input, output]` kernels."""

  def gradient(upstream: tf.Tensor) -> tf.Tensor:
    # One pass over the kernels, where TensorFlow's own takes three.
    return kernels * _of_outputs(2. * upstream)

  return tf.reduce_sum(tf.square(kernels), axis=[-4, -3, -2]), gradient


def _of_outputs(scales: tf.Tensor) -> tf.Tensor:
  """`[..., output]` as factors of `[..., H, W, input, output]` kernels."""
  return scales[..., tf.newaxis, tf.newaxis, tf.newaxis, :]


def _normalized_kernels(
    input_kernel: tf.Tensor, block_kernels: tf.Tensor, skip_kernels: tf.Tensor,
    magnitude: tf.Tensor) -> list[tf.Tensor]:
  """`g * v / ||v||` of the first three, in their own shapes."""
  convs = block_kernels.shape[0]
  magnitudes = magnitude[0], magnitude[1:convs + 1], magnitude[convs + 1:]
  kernels = [
      tf.convert_to_tensor(v)
      for v in (input_kernel, block_kernels, skip_kernels)]
  return [
      v * _of_outputs(g * tf.math.rsqrt(_squared_norms(v) + 1e-12))
      for v, g in zip(kernels, magnitudes, strict=True)]


def _normalize(
    dtype: str,
    folded: bool,
    input_kernel: tf.Tensor,
    block_kernels: tf.Tensor,
    skip_kernels: tf.Tensor,
    magnitude: tf.Tensor,
    bias: tf.Tensor,
    output_kernel: tf.Tensor,
    output_bias: tf.Tensor,
) -> list[tf.Tensor]:
  """Of `weight_list`, what `_network` takes after the inputs, in `dtype`."""
  kernels = [input_kernel, block_kernels, skip_kernels]
  if not folded:
    kernels = _normalized_kernels(
        input_kernel, block_kernels, skip_kernels, magnitude)
  first, blocks, skips = (tf.cast(kernel, dtype) for kernel in kernels)
  # Unstacked here and not in `_network`: where several passes share them, the
  # passes' gradients are added up kernel by kernel, and stacked once.
  return [*(tf.cast(w, dtype) for w in (bias, output_kernel, output_bias)),
          first, *tf.unstack(skips), *tf.unstack(blocks)]


def _network(
    inputs: tf.Tensor,
    bias: tf.Tensor,
    output_kernel: tf.Tensor,
    output_bias: tf.Tensor,
    *kernels: tf.Tensor,
) -> tf.Tensor:
  """`ConditionerResNet` of the inputs and of the values of `_normalize`."""
  biases = tf.unstack(bias)
  num_blocks = len(biases) // 2 - 1
  first, *others = kernels
  skips, blocks = others[:num_blocks + 1], others[num_blocks + 1:]

  def conv(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, kernel, strides=1, padding='SAME')

  h = tf.nn.bias_add(conv(tf.cast(inputs, bias.dtype), first), biases[0])
  skip = conv(h, skips[0])
  for block in range(num_blocks):
    residual = h
    for i in (2 * block, 2 * block + 1):
      residual = tf.nn.bias_add(
          conv(tf.nn.relu(residual), blocks[i]), biases[i + 1])
    h = tf.add_n([h, residual])
    skip = tf.add_n([skip, conv(h, skips[block + 1])])
  skip = tf.nn.relu(tf.nn.bias_add(skip, biases[-1]))
  return tf.nn.bias_add(conv(skip, output_kernel), output_bias)

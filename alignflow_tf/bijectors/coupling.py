"""The coupling: one part of an image decides how the other is transformed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf import _graph
from alignflow_tf.bijectors import image_bijector
from alignflow_tf.bijectors import masks
from alignflow_tf.bijectors import transforms
from alignflow_tf.networks import tracked

__all__ = ['Coupling']


class Coupling(image_bijector.ImageBijector):
  """Coupling of images: a mask, a network and an elementwise transform.

  With `kept, changed = mask.split(x)`, where the kept part stays as it is and
  conditions the other one (`alignflow_tf.bijectors.masks` says which is which):

  ```
  parameters = network(mask.network_input(kept))
  forward:  y = join(kept, transform.forward(changed, parameters))
  inverse:  x = join(kept, transform.inverse(changed, parameters))
  forward log-det: sum of the transform's log-derivatives over the image
  ```

  A network whose last layer starts at zero makes the coupling start as the
  identity. The kept part reaches the network bit for bit the same in both
  directions, so the inverse is exact to rounding, whatever the network's own
  precision.

  Examples:
    >>> coupling = bijectors.Coupling(
    ...     3, bijectors.CheckerboardMask(), networks.ConditionerResNet,
    ...     bijectors.transforms.RationalQuadratic(bins=8))
    >>> coupling.forward(tf.zeros([2, 4, 4, 3])).shape
    TensorShape([2, 4, 4, 3])

  #### References

  [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017, sections 3.2 to 3.4.
       https://arxiv.org/abs/1605.08803
  [2]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, appendix B.1.
       https://arxiv.org/abs/1905.12892
  """

  _STATE = ('_network', '_learned')

  def __init__(
      self,
      channels: int,
      mask: masks.Mask,
      network: Callable[[int], keras.layers.Layer],
      transform: transforms.Transform | None = None,
      dtype: Any = tf.float32,
      validate_args: bool = False,
      name: str = 'coupling',
  ):
    """Builds the coupling and its network.

    Args:
      channels: Number of channels of the images, a positive integer.
      mask: `CheckerboardMask` or `ChannelMask`.
      network: A function from a number of output channels to a Keras layer (or
        model) that takes `[B, H, W, mask.network_channels(channels)]` to
        `[B, H, W, output channels]`, image by image: batch normalisation, for
        example, would make an image's latent depend on the other images.
      transform: The transform of the changed part; `transforms.Affine()` by
        default.
      dtype: The flow's floating type. The network may compute in another one:
        its output is cast back.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If an argument, or what `network` gives, is of another kind
        than above, or the mask cannot split that many channels.
    """
    parameters = dict(locals())
    channels = _checks.integer('channels', channels)
    dtype = _checks.floating_type('dtype', dtype)
    if not isinstance(mask, masks.Mask):
      raise ValueError(
          '`mask` must be a `CheckerboardMask` or a `ChannelMask`, got '
          f'{mask!r}.')
    mask.validate(channels)
    if not callable(network) or isinstance(network, keras.layers.Layer):
      raise ValueError(
          '`network` must be a function from a number of channels to a Keras '
          f'layer, got {network!r}.')
    transform = transforms.Affine() if transform is None else transform
    if not isinstance(transform, transforms.Transform):
      raise ValueError(
          '`transform` must be a `transforms.Transform`, as '
          f'`transforms.Affine()`, got {transform!r}.')
    with tf.name_scope(name) as name:
      super().__init__(
          forward_min_event_ndims=3,
          is_constant_jacobian=False,
          validate_args=validate_args,
          dtype=dtype,
          parameters=parameters,
          name=name)
      self._channels = channels
      self._mask = self._no_dependency(mask)
      self._transform = self._no_dependency(transform)
      changed = mask.changed_channels(channels)
      self._network = tracked.Tracked(
          network(transform.num_parameters() * changed),
          (None, None, None, mask.network_channels(channels)))
      self._learned = {
          key: tf.Variable(tf.fill([changed], tf.constant(value, dtype)),
                           name=key)
          for key, value in transform.learned().items()}

  @property
  def network(self) -> keras.layers.Layer:
    """The conditioning network."""
    return self._network.layer

  @property
  def mask(self) -> masks.Mask:
    """The mask."""
    return self._mask

  @property
  def transform(self) -> transforms.Transform:
    """The transform of the changed part."""
    return self._transform

  def _values(self) -> list[Any]:
    return [[self._learned[key] for key in sorted(self._learned)],
            self._network.values()]

  def _check(self, x: tf.Tensor) -> None:
    if x.shape.rank is None or x.shape.rank < 3 or (
        x.shape[-1] != self._channels) or 0 in x.shape[-3:].as_list():
      raise ValueError(
          f'`{self.name}` takes images of shape [..., height, width, '
          f'{self._channels}], got {x.shape}.')

  def _evaluate(
      self, x: tf.Tensor, inverse: bool, values: list[Any]
  ) -> tuple[tf.Tensor, tf.Tensor]:
    self._check(x)
    learned, weights = values
    kept, changed = self._mask.split(x)
    # Convolutions take one batch axis; any others are folded into it.
    batch = None
    if x.shape.rank != 4:
      batch = tf.shape(x)[:-3]
      kept, changed = _fold(kept), _fold(changed)
    # A tensor, so that masks that differ in it share a trace.
    mask = self._mask.tensor(kept)
    # In two calls, so that both directions share the network's trace.
    parameters = _graph.call(
        _parameters, self._network_key(), kept, mask, *weights)
    changed, log_det = _graph.call(
        _transformed, self._transform_key(inverse), changed, parameters, mask,
        *learned)
    if batch is not None:
      log_det = tf.reshape(log_det, batch)
      kept, changed = _unfold(kept, batch), _unfold(changed, batch)
    y = self._mask.join(kept, changed)
    y.set_shape(x.shape)
    return y, log_det

  def _pull_back(
      self, y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor, inverse: bool,
      values: list[Any],
  ) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
    learned, weights = values
    x, dx, *dvalues = _graph.call(
        _pull_back, (self._mask.reverse, self._network_key(),
                     self._transform_key(inverse),
                     self._transform_key(not inverse), len(learned)),
        y, dy, dlog_det, *learned, *weights)
    return x, dx, [dvalues[:len(learned)], dvalues[len(learned):]]

  def _network_key(self) -> tuple[Any, ...]:
    return type(self._mask), self._network.function

  def _transform_key(self, inverse: bool) -> tuple[Any, ...]:
    return (type(self._mask), self._transform,
            tuple(sorted(self._learned)), inverse)

  def _initialize_from(self, y: tf.Tensor) -> tf.Tensor:
    if getattr(self.network, 'outputs_zero', False):
      return y  # As new: the identity, which needs no network.
    return super()._initialize_from(y)


def _parameters(
    mask_type: type[masks.Mask], network: Callable[..., tf.Tensor],
    kept: tf.Tensor, mask: tf.Tensor, *weights: tf.Tensor,
) -> tf.Tensor:
  """The transform's parameters, of the flow's type.

  Args:
    mask_type: Class of the mask.
    network: The network as a function of its inputs and weights.
    kept: The kept part, `[B, H, W, C]`.
    mask: The result of `Mask.tensor`.
    *weights: The network's weights.
  """
  output = tracked.for_any_batch(
      network, mask_type.network_input(kept, mask), *weights)
  return tf.cast(output, kept.dtype)


def _transformed(
    mask_type: type[masks.Mask], transform: transforms.Transform,
    names: tuple[str, ...], inverse: bool, changed: tf.Tensor,
    parameters: tf.Tensor, mask: tf.Tensor, *learned: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """The changed part after the transform, and the log-determinant `[B]`."""
  apply = transform.inverse if inverse else transform.forward
  y, log_derivative = apply(
      changed, parameters, dict(zip(names, learned, strict=True)))
  # A checkerboard's changed part is zero at the kept pixels and must stay so.
  return mask_type.restrict(y, mask), tf.reduce_sum(
      mask_type.restrict(log_derivative, mask), axis=[1, 2, 3])


def _pull_back(
    reverse: bool, network_key: tuple[Any, ...], key: tuple[Any, ...],
    opposite_key: tuple[Any, ...], num_learned: int, y: tf.Tensor,
    dy: tf.Tensor, dlog_det: tf.Tensor, *values: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
  """Input, its gradient and those of `values`, from output and gradients.

  The network reads the kept part, which is the same on both sides, so one
  evaluation serves the way back and the gradients.
  """
  mask = network_key[0](reverse=reverse)
  learned, weights = values[:num_learned], values[num_learned:]
  kept, changed = mask.split(y)
  dkept, dchanged = mask.split(dy)
  tensor = mask.tensor(kept)
  parameters = _parameters(*network_key, kept, tensor, *weights)
  before, _ = _transformed(
      *opposite_key, changed, parameters, tensor, *learned)
  before = tf.stop_gradient(before)
  after, log_det = _transformed(*key, before, parameters, tensor, *learned)
  dbefore, through_network, *dvalues = image_bijector.gradients(
      [after, log_det], [before, y, *values], [dchanged, dlog_det])
  return (mask.join(kept, before),
          mask.join(dkept, dbefore) + through_network, *dvalues)


def _fold(x: tf.Tensor) -> tf.Tensor:
  """Reshapes `[..., H, W, C]` to `[B, H, W, C]`."""
  y = tf.reshape(x, tf.concat([[-1], tf.shape(x)[-3:]], axis=0))
  y.set_shape([None, *x.shape[-3:]])
  return y


def _unfold(x: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
  return tf.reshape(x, tf.concat([batch, tf.shape(x)[1:]], axis=0))

"""The affine coupling of Real NVP on images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf.bijectors import act_norm
from alignflow_tf.bijectors import log_det_bijector
from alignflow_tf.bijectors import masks
from alignflow_tf.bijectors import shared_function
from alignflow_tf.bijectors import weights as weights_lib
from alignflow_tf.networks import tracked

__all__ = ['AffineCoupling']


class AffineCoupling(log_det_bijector.LogDetBijector):
  """Affine coupling of images, with a checkerboard or a channel mask.

  With `kept, changed = mask.split(x)`, where the kept part conditions and stays
  as it is (see `alignflow_tf.bijectors.masks` for which part that is):

  ```
  raw, shift = network(mask.network_input(kept))
  log_scale = bound * tanh(raw)

  forward:  y = join(kept, changed * exp(log_scale) + shift)
  inverse:  x = join(kept, (changed - shift) * exp(-log_scale))
  forward log-det: sum of log_scale over rows, columns and channels
  ```

  `bound` is a learned positive-initialised scale, one a channel, so `log_scale`
  cannot run away in one step, and yet its range is the data's to choose. A
  network whose last layer starts at zero makes the coupling start as the
  identity. The kept part reaches the network bit for bit the same in both
  directions, so the inverse is exact to rounding, whatever the network's own
  precision.

  #### References

  [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017, equations 7 to 9 and section 4.1.
       https://arxiv.org/abs/1605.08803
  [2]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, appendix B.1.
       https://arxiv.org/abs/1905.12892
  """

  _STATE = ('_network', '_bound')

  def __init__(
      self,
      channels: int,
      mask: masks.Mask,
      network: Callable[[int], keras.layers.Layer],
      dtype: Any = tf.float32,
      validate_args: bool = False,
      name: str = 'affine_coupling',
  ):
    """Builds the coupling and its network.

    Args:
      channels: Number of channels of the images, a positive integer.
      mask: `CheckerboardMask` or `ChannelMask`.
      network: A function from a number of output channels to a Keras layer (or
        model) that takes `[B, H, W, mask.network_channels(channels)]` to
        `[B, H, W, output channels]`, image by image: batch normalisation and
        its like would make an image's latent depend on its neighbours. In
        checkpoints its variables go by their names, or, where two have one
        name, by their places in `variables` and their names.
      dtype: The flow's floating type. The network may compute in another one:
        its output is cast back.
      validate_args: As in `tfb.Bijector`.
      name: Name of the bijector.

    Raises:
      ValueError: If `channels` is not a positive integer or the mask cannot
        split that many.
    """
    parameters = dict(locals())
    channels = _checks.integer('channels', channels)
    dtype = _checks.floating_type('dtype', dtype)
    if not isinstance(mask, masks.Mask):
      raise ValueError(
          '`mask` must be a `CheckerboardMask` or a `ChannelMask`, got '
          f'{mask!r}.')
    mask.validate(channels)
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
      changed = mask.changed_channels(channels)
      self._network = tracked.Tracked(
          network(2 * changed),
          (None, None, None, mask.network_channels(channels)))
      self._bound = tf.Variable(
          tf.ones([changed], dtype), name='log_scale_bound')

  @property
  def network(self) -> keras.layers.Layer:
    """The conditioning network."""
    return self._network.layer

  @property
  def mask(self) -> masks.Mask:
    """The mask."""
    return self._mask

  def _couple(
      self, x: tf.Tensor, inverse: bool) -> tuple[tf.Tensor, tf.Tensor]:
    self._check(x)
    if act_norm.initializing() and getattr(
        self.network, 'outputs_zero', False):
      # As new: the identity, which takes no network to compute.
      return x, tf.zeros(tf.shape(x)[:-3], x.dtype)
    kept, changed = self._mask.split(x)
    # Convolutions take one batch axis; any others are folded into it.
    batch = None
    if x.shape.rank != 4:
      batch = tf.shape(x)[:-3]
      kept, changed = _fold(kept), _fold(changed)
    network, weights = self._ready_network()
    # Apart, so that both directions share the network's trace and gradient.
    log_scale, shift = shared_function.call(
        _scale_and_shift, (type(self._mask), network), kept,
        self._mask.tensor(kept), self._bound, *weights)
    changed, log_det = shared_function.call(
        _affine, (inverse,), changed, log_scale, shift)
    if batch is not None:
      log_det = tf.reshape(log_det, batch)
      kept, changed = _unfold(kept, batch), _unfold(changed, batch)
      y = self._mask.join(kept, changed)
      y.set_shape(x.shape)
      return y, log_det
    return self._mask.join(kept, changed), log_det

  def _pure_network(
      self) -> tuple[Callable[..., tf.Tensor], list[tf.Variable]]:
    """The network as a function of inputs and weights, where it can be."""
    function = getattr(self.network, 'function', None)
    weights = getattr(self.network, 'weight_list', None)
    if function is None or weights is None:
      return self.network, []
    return function, weights

  def _ready_network(
      self) -> tuple[Callable[..., tf.Tensor], Sequence[tf.Tensor]]:
    """As `_pure_network`, within `weights_once` and `weights_fixed` theirs."""
    parts = getattr(self.network, 'weights_and_rest', None)
    if parts is None:
      return self._pure_network()
    prepare, function = parts
    fixed = getattr(self.network, 'fixed_weights', None)
    if weights_lib.are_fixed() and fixed is not None:
      return function, fixed()
    ready = weights_lib.ready(self, prepare, self.network.weight_list)
    return self._pure_network() if ready is None else (function, ready)

  def _forward_and_log_det(
      self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return self._couple(x, inverse=False)

  def _inverse_and_log_det(
      self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return self._couple(y, inverse=True)

  def _pure(self, direction: str) -> log_det_bijector.Pure:
    network, weights = self._pure_network()
    if not weights:
      raise NotImplementedError(
          f'`{self.name}` trains with `memory="standard"` alone: its network '
          'does not offer itself as a pure function.')
    return _couple_images, (
        type(self._mask), self._mask.reverse, network, direction == 'inverse')

  def _values(self) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(v)
            for v in (self._bound, *self._pure_network()[1])]

  def _pull_back(
      self, direction: str, y: tf.Tensor, dy: tf.Tensor, dlog_det: tf.Tensor,
      values: Sequence[tf.Tensor]
  ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    _, static = self._pure(direction)
    x, dx, *dvalues = shared_function.call(
        _pull_back, static, y, dy, dlog_det, *values)
    return x, dx, dvalues

  def _check(self, x: tf.Tensor) -> None:
    if x.shape.rank is None or x.shape.rank < 3 or (
        x.shape[-1] != self._channels) or 0 in x.shape[-3:].as_list():
      raise ValueError(
          f'`{self.name}` takes images of shape [..., height, width, '
          f'{self._channels}], got {x.shape}.')


def _affine(
    inverse: bool,
    changed: tf.Tensor,
    log_scale: tf.Tensor,
    shift: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """The changed part after the coupling, and the log-determinant `[B]`."""
  log_det = tf.reduce_sum(log_scale, axis=[1, 2, 3])
  if inverse:
    return (changed - shift) * tf.exp(-log_scale), -log_det
  return changed * tf.exp(log_scale) + shift, log_det


def _scale_and_shift(
    mask: type[masks.Mask],
    network: Callable[..., tf.Tensor],
    kept: tf.Tensor,
    tensor: tf.Tensor,
    bound: tf.Tensor,
    *weights: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """What the network makes of the part that conditions.

  Args:
    mask: Class of the mask.
    network: Function of the network's inputs and weights.
    kept: The part that conditions, `[B, H, W, C]`.
    tensor: What `mask.tensor` gives.
    bound: The bound of the log-scale.
    *weights: The network's weights.

  Returns:
    Log-scale and shift of the part that changes.
  """
  output = tracked.for_any_batch(
      network, mask.network_input(kept, tensor), *weights)
  raw, shift = tf.split(tf.cast(output, kept.dtype), 2, axis=-1)
  # Outside the changed part, `changed` is 0 and must stay so.
  return (mask.restrict(bound * tf.tanh(raw), tensor),
          mask.restrict(shift, tensor))


def _couple_images(
    mask_type: type[masks.Mask],
    reverse: bool,
    network: Callable[..., tf.Tensor],
    inverse: bool,
    x: tf.Tensor,
    *values: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """A coupling of whole images as a pure function."""
  mask = mask_type(reverse=reverse)
  kept, changed = mask.split(x)
  changed, log_det = _affine(inverse, changed, *_scale_and_shift(
      mask_type, network, kept, mask.tensor(kept), *values))
  return mask.join(kept, changed), log_det


def _pull_back(
    mask_type: type[masks.Mask],
    reverse: bool,
    network: Callable[..., tf.Tensor],
    inverse: bool,
    y: tf.Tensor,
    dy: tf.Tensor,
    dlog_det: tf.Tensor,
    *values: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
  """The input and the gradients, from the output and gradients there.

  The network reads the kept part, which is the same on both sides, so that one
  evaluation serves the way back and the gradients.
  """
  mask = mask_type(reverse=reverse)
  kept, changed_y = mask.split(y)
  log_scale, shift = _scale_and_shift(
      mask_type, network, kept, mask.tensor(kept), *values)
  dkept, dchanged = mask.split(dy)
  dlog_det = dlog_det[:, tf.newaxis, tf.newaxis, tf.newaxis]
  if inverse:
    # changed_y = (changed_x - shift) * exp(-log_scale)
    changed_x = changed_y * tf.exp(log_scale) + shift
    dchanged_x = dchanged * tf.exp(-log_scale)
    dshift = -dchanged_x
    dlog_scale = -dchanged * changed_y - dlog_det
  else:
    # changed_y = changed_x * exp(log_scale) + shift
    changed_x = (changed_y - shift) * tf.exp(-log_scale)
    dchanged_x = dchanged * tf.exp(log_scale)
    dshift = dchanged
    dlog_scale = dchanged_x * changed_x + dlog_det
  # What `shared_function` traces, tapes do not see.
  through_network, *dvalues = tf.gradients(
      [log_scale, shift], [y, *values], grad_ys=[dlog_scale, dshift])
  return (mask.join(kept, changed_x),
          mask.join(dkept, dchanged_x) + through_network, *dvalues)


def _fold(x: tf.Tensor) -> tf.Tensor:
  """Reshapes `[..., H, W, C]` to `[B, H, W, C]`."""
  y = tf.reshape(x, tf.concat([[-1], tf.shape(x)[-3:]], axis=0))
  y.set_shape([None, *x.shape[-3:]])
  return y


def _unfold(x: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
  return tf.reshape(x, tf.concat([batch, tf.shape(x)[1:]], axis=0))

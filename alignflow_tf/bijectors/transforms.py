"""Transforms of couplings: elementwise maps whose parameters a network gives.

A transform acts on the changed part of the images, `[B, H, W, C]`. It says how
many parameters it needs for each channel, and maps the images forward and back
with the log-derivative at each pixel and channel. Parameters that are all zero
give the identity, so a coupling whose network starts at zero starts as the
identity. `Coupling` applies the mask.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from alignflow_tf import _checks

__all__ = ['Affine', 'MixtureOfLogistics', 'RationalQuadratic', 'Transform']

tfb = tfp.bijectors

Result = tuple[tf.Tensor, tf.Tensor]


class Transform(abc.ABC):
  """An elementwise invertible map with parameters; hashable, without variables.

  A new transform is a frozen dataclass with these methods:

  ```python
  @dataclasses.dataclass(frozen=True)
  class Shift(Transform):

    def num_parameters(self):
      return 1

    def forward(self, x, parameters, learned):
      return x + parameters, tf.zeros_like(x)

    def inverse(self, y, parameters, learned):
      return y - parameters, tf.zeros_like(y)
  ```
  """

  @abc.abstractmethod
  def num_parameters(self) -> int:
    """Number of parameters of each channel of each pixel."""

  def learned(self) -> dict[str, float]:
    """Trained values that are no output of the network, one a channel.

    Returns:
      The initial value of each, by the name of its variable.
    """
    return {}

  @abc.abstractmethod
  def forward(self, x: tf.Tensor, parameters: tf.Tensor,
              learned: dict[str, tf.Tensor]) -> Result:
    """From latent to image.

    Args:
      x: `[B, H, W, C]`.
      parameters: `[B, H, W, num_parameters() * C]`, the network's output.
      learned: The current values of `learned()`, each `[C]`.

    Returns:
      `y` and `log dy/dx`, both of the shape of `x`.
    """

  @abc.abstractmethod
  def inverse(self, y: tf.Tensor, parameters: tf.Tensor,
              learned: dict[str, tf.Tensor]) -> Result:
    """From image to latent: `x` and `log dx/dy`; see `forward`."""


@dataclasses.dataclass(frozen=True)
class Affine(Transform):
  """The affine transform of Real NVP.

  With `raw, shift` the two halves of the parameters' channels:

  ```
  log_scale = bound * tanh(raw)
  forward:  y = x * exp(log_scale) + shift
  inverse:  x = (y - shift) * exp(-log_scale)
  ```

  `bound` is learned, one a channel, from 1 on: `log_scale` cannot run away in
  one step, and its range is learned from the data.

  Examples:
    >>> affine = bijectors.transforms.Affine()
    >>> y, log_derivative = affine.forward(
    ...     tf.constant([[[[2.]]]]), tf.constant([[[[0., 1.]]]]),
    ...     {'log_scale_bound': tf.ones([1])})
    >>> y.numpy().item(), log_derivative.numpy().item()
    (3.0, 0.0)

  #### References

  [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation
       using Real NVP. In _ICLR_, 2017, equations 7 to 9 and section 4.1.
       https://arxiv.org/abs/1605.08803
  """

  def num_parameters(self) -> int:
    return 2

  def learned(self) -> dict[str, float]:
    return {'log_scale_bound': 1.}

  def forward(self, x: tf.Tensor, parameters: tf.Tensor,
              learned: dict[str, tf.Tensor]) -> Result:
    log_scale, shift = self._log_scale_and_shift(parameters, learned)
    return x * tf.exp(log_scale) + shift, log_scale

  def inverse(self, y: tf.Tensor, parameters: tf.Tensor,
              learned: dict[str, tf.Tensor]) -> Result:
    log_scale, shift = self._log_scale_and_shift(parameters, learned)
    return (y - shift) * tf.exp(-log_scale), -log_scale

  def _log_scale_and_shift(
      self, parameters: tf.Tensor, learned: dict[str, tf.Tensor]) -> Result:
    raw, shift = tf.split(parameters, 2, axis=-1)
    return learned['log_scale_bound'] * tf.tanh(raw), shift


@dataclasses.dataclass(frozen=True)
class RationalQuadratic(Transform):
  """Monotone rational-quadratic spline on `[-limit, limit]`, identity outside.

  The spline is `tfb.RationalQuadraticSpline` (equations 4 to 8 of [1]); its
  bins' widths and heights are softmaxes and its slopes softplus functions of
  the parameters.

  Attributes:
    bins: Number of bins.
    limit: Half the width of the interval; 3 holds 99.7 % of a standard normal.

  Examples:
    >>> bijectors.transforms.RationalQuadratic(bins=8).num_parameters()
    23

  #### References

  [1]: Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios. Neural
       Spline Flows. In _NeurIPS_, 2019. https://arxiv.org/abs/1906.04032
  """
  bins: int = 8
  limit: float = 3.

  # Least width and height of a bin, in parts of the mean one, and least slope:
  # they bound how much the inverse enlarges rounding errors.
  _LEAST = 0.2

  def __post_init__(self) -> None:
    object.__setattr__(self, 'bins', _checks.integer('bins', self.bins))
    object.__setattr__(
        self, 'limit', _checks.number('limit', self.limit, 0., math.inf))

  def num_parameters(self) -> int:
    return 3 * self.bins - 1

  def forward(self, x: tf.Tensor, parameters: tf.Tensor,
              learned: dict[str, tf.Tensor]) -> Result:
    del learned
    return self._apply(x, parameters, inverse=False)

  def inverse(self, y: tf.Tensor, parameters: tf.Tensor,
              learned: dict[str, tf.Tensor]) -> Result:
    del learned
    return self._apply(y, parameters, inverse=True)

  def _apply(self, x: tf.Tensor, parameters: tf.Tensor,
             inverse: bool) -> Result:
    # Flat: the gradients of the spline's gathers take a loop's worth of
    # operations for each axis.
    spline = self._spline(
        tf.reshape(parameters, [-1, self.num_parameters()]))
    flat = tf.reshape(x, [-1])
    if inverse:
      y = spline.inverse(flat)
      log_derivative = spline.inverse_log_det_jacobian(flat)
    else:
      y = spline.forward(flat)
      log_derivative = spline.forward_log_det_jacobian(flat)
    shape = tf.shape(x)
    return tf.reshape(y, shape), tf.reshape(log_derivative, shape)

  def _spline(self, parameters: tf.Tensor) -> tfb.RationalQuadraticSpline:
    widths, heights, slopes = tf.split(
        parameters, [self.bins, self.bins, self.bins - 1], axis=-1)

    def sizes(raw: tf.Tensor) -> tf.Tensor:
      even = 2. * self.limit / self.bins
      return even * (self._LEAST + (1. - self._LEAST) * self.bins
                     * tf.nn.softmax(raw))

    # Softplus is `1 - _LEAST` at this.
    one = math.log(math.expm1(1. - self._LEAST))
    return tfb.RationalQuadraticSpline(
        sizes(widths), sizes(heights),
        self._LEAST + tf.nn.softplus(slopes + one), range_min=-self.limit)


@dataclasses.dataclass(frozen=True)
class MixtureOfLogistics(Transform):
  """The logistic mixture transform of Flow++.

  With the distribution function of a mixture of logistic distributions,

  ```
  F(x) = sum_k pi_k sigmoid((x - mean_k) / scale_k)
  forward:  y = logit(F(x)) * exp(log_scale) + shift
  inverse:  x = F^-1(sigmoid((y - shift) * exp(-log_scale)))
  ```

  where `pi` is a softmax of the network's outputs, means and logarithms of
  scales are bounded by tanh, and `log_scale` is that of `Affine`. `F^-1` has no
  closed form: it is found by bisection, in a fixed number of steps that reaches
  the precision of the type. Two of Newton's steps follow, which also carry the
  gradient.

  Attributes:
    components: Number of logistic distributions.

  Examples:
    >>> bijectors.transforms.MixtureOfLogistics(components=4).num_parameters()
    14

  #### References

  [1]: Jonathan Ho et al. Flow++: Improving Flow-Based Generative Models with
       Variational Dequantization and Architecture Design. In _ICML_, 2019,
       section 3.2. https://arxiv.org/abs/1902.00275
  """
  components: int = 4

  # Bounds of the components' means and of the logarithms of their scales. Far
  # and narrow components would leave plateaus, which no inverse resolves.
  _MEAN, _LOG_SCALE = 3., 1.

  def __post_init__(self) -> None:
    object.__setattr__(
        self, 'components', _checks.integer('components', self.components))

  def num_parameters(self) -> int:
    return 3 * self.components + 2

  def learned(self) -> dict[str, float]:
    return {'log_scale_bound': 1.}

  def forward(self, x: tf.Tensor, parameters: tf.Tensor,
              learned: dict[str, tf.Tensor]) -> Result:
    mixture, log_scale, shift = self._parts(parameters, learned)
    u, log_derivative = _logit_cdf(x, *mixture)
    return u * tf.exp(log_scale) + shift, log_derivative + log_scale

  def inverse(self, y: tf.Tensor, parameters: tf.Tensor,
              learned: dict[str, tf.Tensor]) -> Result:
    mixture, log_scale, shift = self._parts(parameters, learned)
    u = (y - shift) * tf.exp(-log_scale)
    x = _bisect(u, *mixture)
    # At the root, a step of Newton's has the right first derivative, and a
    # second step the right second derivative.
    for _ in range(2):
      value, log_derivative = _logit_cdf(x, *mixture)
      x -= (value - u) * tf.exp(-log_derivative)
    _, log_derivative = _logit_cdf(x, *mixture)
    return x, -log_derivative - log_scale

  def _parts(self, parameters: tf.Tensor, learned: dict[str, tf.Tensor]
            ) -> tuple[tuple[tf.Tensor, ...], tf.Tensor, tf.Tensor]:
    k = self.components
    parameters = _by_channel(parameters, self.num_parameters())
    logits, means, log_scales, rest = tf.split(
        parameters, [k, k, k, 2], axis=-1)
    # From equal parameters, components with equal gradients would stay equal.
    factors = [(i // 2 + 1.) * (-1.)**i / k for i in range(k)]
    mixture = (
        tf.nn.log_softmax(logits),
        self._MEAN * tf.tanh(means * tf.constant(factors, means.dtype)),
        self._LOG_SCALE * tf.tanh(log_scales))
    raw, shift = rest[..., 0], rest[..., 1]
    return mixture, learned['log_scale_bound'] * tf.tanh(raw), shift


def _by_channel(parameters: tf.Tensor, number: int) -> tf.Tensor:
  """`[B, H, W, C * number]` as `[B, H, W, C, number]`."""
  shape = tf.shape(parameters)
  return tf.reshape(parameters, tf.concat(
      [shape[:-1], [parameters.shape[-1] // number, number]], axis=0))


def _logit_cdf(x: tf.Tensor, log_weights: tf.Tensor, means: tf.Tensor,
               log_scales: tf.Tensor) -> Result:
  """`logit(F(x))` of a mixture `[..., k]`, and the log-derivative."""
  z = (x[..., tf.newaxis] - means) * tf.exp(-log_scales)
  below, above = -tf.nn.softplus(-z), -tf.nn.softplus(z)
  log_cdf = tf.reduce_logsumexp(log_weights + below, axis=-1)
  log_survival = tf.reduce_logsumexp(log_weights + above, axis=-1)
  log_density = tf.reduce_logsumexp(
      log_weights + below + above - log_scales, axis=-1)
  return log_cdf - log_survival, log_density - log_cdf - log_survival


def _bisect(u: tf.Tensor, *mixture: tf.Tensor) -> tf.Tensor:
  """`x` with `logit(F(x)) = u`, without a gradient."""
  u, log_weights, means, log_scales = (
      tf.stop_gradient(value) for value in (u, *mixture))
  # F lies between its least and its largest component.
  roots = means + u[..., tf.newaxis] * tf.exp(log_scales)

  def halve(low: tf.Tensor, high: tf.Tensor) -> Any:
    middle = (low + high) / 2.
    value, _ = _logit_cdf(middle, log_weights, means, log_scales)
    return (tf.where(value < u, middle, low), tf.where(value < u, high, middle))

  # As many as the type has bits of precision, and some for wide brackets.
  steps = {tf.float64: 64}.get(u.dtype, 32)
  low, high = tf.while_loop(
      lambda *_: True, halve,
      (tf.reduce_min(roots, axis=-1), tf.reduce_max(roots, axis=-1)),
      maximum_iterations=steps)
  return tf.stop_gradient((low + high) / 2.)

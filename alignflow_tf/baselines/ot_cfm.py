"""OT-CFM: a differential equation from images of one domain to the other's."""

from __future__ import annotations

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf import objectives
from alignflow_tf.baselines import base

__all__ = ['OTCFM', 'PRESETS', 'build', 'pairs', 'terms']

# Evaluations of the network in a step of the midpoint method.
_A_STEP = 2
# Bids of `pairs`, as a share of the mean cost.
_BID = 0.02


class Translator(NamedTuple):
  """G_{source->target}: the equation, solved from the source's time."""
  model: OTCFM
  start: float

  def forward(self, images: tf.Tensor) -> tf.Tensor:
    """Translates images `[B, H, W, C]` in [0, 1]; the result has no bounds."""
    return self.model.solve(images, self.start)


class OTCFM(base.Baseline):
  """One velocity network, whose equation joins two domains.

  ```
  dx / dt = velocity(x, t)     x(0) of the first domain, x(1) of the second
  ```

  Images of the second domain are x(1) for an image x(0) of the first, and the
  way back is the same equation from 1 to 0. The equation's map is invertible.
  `num_steps` steps of the midpoint method approximate it, so a round trip has
  an error, which falls with the square of the step's size. A translation
  evaluates the network `2 * num_steps` times.

  It is a `protocols.Translates`, without critics, latents or densities.

  ```python
  model = baselines.OTCFM(('maps', 'aerial'), (32, 32, 3))
  photographs = model.translator('maps', 'aerial').forward(maps)
  ```

  #### References

  [1]: Alexander Tong et al. Improving and Generalizing Flow-Based Generative
       Models with Minibatch Optimal Transport. In _TMLR_, 2024.
       https://arxiv.org/abs/2302.00482
  [2]: Yaron Lipman et al. Flow Matching for Generative Modeling. In _ICLR_,
       2023. https://arxiv.org/abs/2210.02747
  """

  def __init__(
      self,
      domains: Sequence[str],
      event_shape: tuple[int, int, int],
      filters: int = 32,
      num_blocks: int = 2,
      num_halvings: int = 2,
      num_steps: int = 10,
      seed: int = 0,
      network_dtype: Any = 'float32',
      name: str = 'ot_cfm',
  ):
    """Builds the model.

    Args:
      domains: Names of the two domains.
      event_shape: `(height, width, channels)` of the images of both.
      filters: See `networks.velocity_unet`, as the next two.
      num_blocks: Residual blocks a scale, each way.
      num_halvings: How often the network halves the image.
      num_steps: Steps of the midpoint method.
      seed: Non-negative integer that fixes the initial weights.
      network_dtype: Keras dtype or policy of the network.
      name: Name of the module.

    Raises:
      ValueError: If the domains are not two different names, or the images do
        not fit the network.
    """
    super().__init__(domains, event_shape, name)
    if len(self.domains) != 2:
      raise ValueError(
          '`domains` must be two where `model=ot_cfm`, whose equation joins '
          f'two, got {self.domains}.')
    self.num_steps = _checks.integer('num_steps', num_steps)
    self._network = networks.Tracked(networks.velocity_unet(
        self.event_shape, filters, num_blocks, num_halvings, seed=seed,
        dtype=network_dtype), name='velocity')

  def velocity(self, x: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """The velocity at images in [-1, 1] and at times `[B, 1]` or `[1, 1]`."""
    return self._network.layer(
        [x, tf.broadcast_to(time, [tf.shape(x)[0], 1])])

  def solve(self, images: tf.Tensor, start: float) -> tf.Tensor:
    """x(1 - start) of the equation, for images x(start) in [0, 1].

    Args:
      images: `[B, H, W, C]`.
      start: 0 or 1.
    """
    size = (1. - 2. * start) / self.num_steps

    def step(i: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      time = tf.reshape(start + size * tf.cast(i, tf.float32), [1, 1])
      middle = x + 0.5 * size * self.velocity(x, time)
      return i + 1, x + size * self.velocity(middle, time + 0.5 * size)

    def solution(x: tf.Tensor) -> tf.Tensor:
      return tf.while_loop(
          lambda i, x: i < self.num_steps, step, (tf.constant(0), x),
          maximum_iterations=self.num_steps)[1]

    return 0.5 * (networks.for_any_batch(
        solution, images_lib.to_critic(tf.convert_to_tensor(images))) + 1.)

  def translator(self, source: str, target: str) -> Translator:
    """G_{source->target}; KeyError if there is no such pair of domains."""
    self.check_pair(source, target)
    return Translator(self, float(self.domains.index(source)))


def pairs(costs: tf.Tensor) -> tf.Tensor:
  """The assignment of rows to columns that costs least, within 2 %.

  The auction algorithm [1], which is a loop of small tensors: it runs within a
  compiled or exported step, as `scipy.optimize.linear_sum_assignment` cannot.
  Rows bid for columns until each has one.

  Args:
    costs: `[N, N]`, finite and not negative.

  Returns:
    For each column its row, `[N]`, a permutation. Its cost is above the least
    by at most 0.02 times N times the mean of all costs.

  #### References

  [1]: Dimitri P. Bertsekas. The Auction Algorithm: A Distributed Relaxation
       Method for the Assignment Problem. _Annals of Operations Research_ 14,
       1988, section 1. https://doi.org/10.1007/BF02186476
  """
  size = costs.shape[0] or tf.shape(costs)[0]
  rows = tf.range(size)
  # 1e-6 where all costs are 0: bids must raise prices.
  least = _BID * tf.reduce_mean(costs) + 1e-6

  def bid(owners: tf.Tensor, prices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    values = -costs - prices
    wanted = tf.one_hot(tf.argmax(values, axis=1), size, True, False)
    best = tf.reduce_max(values, axis=1)
    second = tf.reduce_max(tf.where(wanted, values.dtype.min, values), axis=1)
    # Of one row alone there is no second.
    raised = tf.minimum(best - second, tf.reduce_max(costs)) + least
    free = tf.logical_not(tf.reduce_any(
        tf.equal(owners, rows[:, tf.newaxis]), axis=1))
    bids = tf.where(free[:, tf.newaxis] & wanted,
                    prices + raised[:, tf.newaxis], -1.)
    highest = tf.reduce_max(bids, axis=0)
    sold = highest >= 0.
    winners = tf.argmax(bids, axis=0, output_type=tf.int32)
    return tf.where(sold, winners, owners), tf.where(sold, highest, prices)

  return tf.while_loop(
      lambda owners, prices: tf.reduce_any(owners < 0), bid,
      (tf.fill([size], -1), tf.zeros([size], costs.dtype)))[0]


def build(config: Any, domains: tuple[str, ...],
          event_shape: tuple[int, int, int]) -> OTCFM:
  """Builds the model of a configuration, with initial weights.

  Raises:
    ValueError: If the architecture does not fit the images, or there are more
      than two domains.
  """
  return base.build(
      functools.partial(OTCFM, num_steps=config.ode_steps), config, domains,
      event_shape)


def terms(config: Any, model: OTCFM) -> list[objectives.Term]:
  """The squared error of the velocity, on [-1, 1].

  For images a and b that the least-cost assignment within the batch pairs,
  and t uniform on [0, 1],

  ```
  x = (1 - t) a + t b + path_noise * N(0, 1)
  loss = mean((velocity(x, t) - (b - a))**2)
  ```

  #### References

  [1]: Alexander Tong et al. Improving and Generalizing Flow-Based Generative
       Models with Minibatch Optimal Transport. In _TMLR_, 2024, section 3.2.3
       and algorithm 3. https://arxiv.org/abs/2302.00482
  """

  def loss(state: objectives.State) -> tf.Tensor:
    a, b = (images_lib.to_critic(state.real[d]) for d in model.domains)
    size = tf.shape(b)[0]
    flat_a, flat_b = (tf.reshape(x, [-1, model.event_size]) for x in (a, b))
    a = tf.gather(a, pairs(_squared_distances(flat_a, flat_b)))
    time_seed, noise_seed = tf.unstack(tf.random.split(state.seed, 2))
    time = tf.random.stateless_uniform([size, 1], time_seed)
    t = time[:, tf.newaxis, tf.newaxis]
    x = (1. - t) * a + t * b
    if config.path_noise:
      x += config.path_noise * tf.random.stateless_normal(
          tf.shape(x), noise_seed)
    return tf.reduce_mean(
        tf.math.squared_difference(model.velocity(x, time), b - a))

  return [objectives.Term('flow_matching_loss', 1., loss)]


def _squared_distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
  """Of all rows of a to all of b."""
  squares = [tf.reduce_sum(tf.square(x), axis=1) for x in (a, b)]
  return tf.nn.relu(squares[0][:, tf.newaxis] + squares[1] -
                    2. * tf.matmul(a, b, transpose_b=True))


PRESETS: dict[str, dict[str, Any]] = {
    # For two cores and half an hour to an hour, at about 32x32 in colour.
    'ot_cfm': {
        'num_scales': 3, 'width': 24, 'num_blocks': 2, 'batch_size': 32,
        'learning_rate': 1e-3, 'beta_1': 0.9, 'clip_norm': 1.,
        'steps': 3_000, 'ema_decay': 0.998,
        'checkpoint_every': 250, 'eval_every': 500,
    },
    'ot_cfm_digits': {
        'num_scales': 3, 'width': 16, 'num_blocks': 2, 'batch_size': 64,
        'learning_rate': 1e-3, 'beta_1': 0.9, 'clip_norm': 1.,
        'steps': 1_000, 'ema_decay': 0.995,
        'checkpoint_every': 200, 'eval_every': 500,
    },
}

"""Terms of the generator's loss, and adversarial objectives.

The generator minimises a weighted sum of terms. Equation 7 of AlignFlow, for
example, is one adversarial term for each direction and one likelihood term for
each domain: see `baselines.alignflow.terms`.

Critics give logits of any shape; a patch critic gives many for an image. An
adversarial loss takes the mean over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import itertools
from typing import NamedTuple

from alignflow_tf._lazy import tensorflow as tf

__all__ = [
    'GAN_LOSSES', 'GanLoss', 'State', 'Term', 'adversarial_terms',
    'cross_entropy', 'gradient_penalty', 'hinge', 'least_squares',
    'linear_decay', 'mean_absolute_difference', 'negative_log_likelihood',
    'non_saturating', 'out_of_range', 'total', 'wasserstein'
]

Directions = Mapping[tuple[str, str], 'tf.Tensor']


class State(NamedTuple):
  """A step's tensors, from which each term computes its value.

  Attributes:
    real: For each domain, dequantised images `[B, H, W, C]` in [0, 1].
    fakes: For each (source, target) of this step's directions, translations
      `[B, H, W, C]` of `real[source]`. With two domains these are both
      directions (`--directions`); none where training is by likelihood alone.
    scores: For each (source, target), the adversarial loss of the
      translations, a scalar that is low where the critic takes them for real.
    step: Number of steps done, a float32 scalar.
    seed: Stateless seed, two integers, of terms that draw at random.
  """
  real: Mapping[str, tf.Tensor]
  fakes: Directions
  scores: Directions
  step: tf.Tensor
  seed: tf.Tensor


class Term(NamedTuple):
  """One term of the generator's loss.

  ```python
  brightness = Term(
      'brightness', 0.1,
      lambda state: tf.reduce_mean(state.fakes['a', 'b']))
  ```

  Attributes:
    name: Name in `metrics.jsonl` and TensorBoard.
    weight: A number, or a function of `State.step`. A number 0 leaves the term
      out of the loss; it is still logged.
    fn: Function of the state; gives a scalar.
    logged: Function of the scalar; gives the value that is logged.
    direction: The (source, target) whose translations it needs; a step that has
      none of them leaves the term out.
  """
  name: str
  weight: float | Callable[[tf.Tensor], tf.Tensor]
  fn: Callable[[State], tf.Tensor]
  logged: Callable[[tf.Tensor], tf.Tensor] = lambda value: value
  direction: tuple[str, str] | None = None


def total(
    terms: Sequence[Term], state: State
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
  """The loss `sum of weight * fn(state)`.

  Args:
    terms: The terms.
    state: The step's tensors.

  Returns:
    The loss, a scalar, and for each term the value that is logged.

  Raises:
    ValueError: If the weights of all terms that are not left out are 0.
  """
  weighted, metrics = [], {}
  for term in terms:
    if term.direction is not None and term.direction not in state.scores:
      continue
    value = term.fn(state)
    metrics[term.name] = term.logged(value)
    if callable(term.weight):
      # A term whose weight has fallen to 0 may be infinite.
      weighted.append(tf.math.multiply_no_nan(value, term.weight(state.step)))
    elif term.weight:
      weighted.append(term.weight * value)
  if not weighted:
    raise ValueError(
        '`terms` must have a weight above 0, got none: there is nothing to '
        'train on.')
  return tf.add_n(weighted), metrics


def adversarial_terms(domains: Sequence[str]) -> list[Term]:
  """A term of weight 1 for each direction between domains."""
  def score(source: str, target: str) -> Callable[[State], tf.Tensor]:
    return lambda state: state.scores[source, target]

  return [
      Term(f'adversarial_loss/{s}_to_{t}', 1., score(s, t), direction=(s, t))
      for s, t in itertools.permutations(domains, 2)]


def linear_decay(step: tf.Tensor, start: float, end: float) -> tf.Tensor:
  """A factor that is 1 until step `start`, and 0 from step `end` on."""
  left = (end - step) / max(end - start, 1e-6)
  return tf.clip_by_value(left, 0., 1.)


class GanLoss(NamedTuple):
  """An adversarial objective.

  Attributes:
    critic: The critic's loss, a function of the logits of real and of
      translated images.
    generator: The generator's loss, a function of the logits of translated
      images.
    gradient_penalty: Weight of the critic's gradient penalty.
  """
  critic: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
  generator: Callable[[tf.Tensor], tf.Tensor]
  gradient_penalty: float = 0.


def _cross_entropy_critic(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
  # -log C(real) - log(1 - C(fake)) with C = sigmoid(logit).
  return tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(
      tf.nn.softplus(fake))


cross_entropy = GanLoss(
    critic=_cross_entropy_critic,
    # log(1 - C(fake)), to be minimised: equation 6 as it stands.
    generator=lambda fake: -tf.reduce_mean(tf.nn.softplus(fake)))
"""Equation 6 (and 1) of AlignFlow, https://arxiv.org/abs/1905.12892."""

non_saturating = GanLoss(
    critic=_cross_entropy_critic,
    generator=lambda fake: tf.reduce_mean(tf.nn.softplus(-fake)))
"""Equation 6 with the generator maximising log C(fake): Goodfellow et al. 2014,
section 3, https://arxiv.org/abs/1406.2661."""

least_squares = GanLoss(
    critic=lambda real, fake: 0.5 * (
        tf.reduce_mean(tf.square(real - 1.)) + tf.reduce_mean(tf.square(fake))),
    generator=lambda fake: tf.reduce_mean(tf.square(fake - 1.)))
"""Mao et al. 2017, equation 9, https://arxiv.org/abs/1611.04076; the
loss of the published AlignFlow code, with its scaling."""

hinge = GanLoss(
    critic=lambda real, fake: tf.reduce_mean(tf.nn.relu(1. - real)) +
    tf.reduce_mean(tf.nn.relu(1. + fake)),
    generator=lambda fake: -tf.reduce_mean(fake))
"""Lim and Ye 2017, https://arxiv.org/abs/1705.02894."""

wasserstein = GanLoss(
    critic=lambda real, fake: tf.reduce_mean(fake) - tf.reduce_mean(real),
    generator=lambda fake: -tf.reduce_mean(fake),
    gradient_penalty=10.)
"""Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, with the gradient
penalty of Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028."""

GAN_LOSSES: Mapping[str, GanLoss] = {
    'cross_entropy': cross_entropy,
    'non_saturating': non_saturating,
    'least_squares': least_squares,
    'hinge': hinge,
    'wasserstein': wasserstein,
}


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
  """`mean((||d critic(x) / dx|| - 1)**2)` between real and translated images.

  Args:
    critic: Function from images `[B, H, W, C]` to logits of rank 4.
    real: Real images.
    fake: As many translated ones.
    seed: Stateless seed, of the points between each pair.

  Returns:
    A scalar.

  #### References

  [1]: Ishaan Gulrajani et al. Improved Training of Wasserstein GANs. In
       _NeurIPS_, 2017, equation 3. https://arxiv.org/abs/1704.00028
  """
  size = real.shape[0] or tf.shape(real)[0]
  weight = tf.random.stateless_uniform([size, 1, 1, 1], seed, dtype=real.dtype)
  x = weight * real + (1. - weight) * fake
  with tf.GradientTape() as tape:
    tape.watch(x)
    # An image's score is the mean over its patches.
    score = tf.reduce_sum(tf.reduce_mean(critic(x), axis=[1, 2, 3]))
  gradient = tape.gradient(score, x)
  norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]) + 1e-12)
  return tf.reduce_mean(tf.square(norm - 1.))


def negative_log_likelihood(log_prob: tf.Tensor) -> tf.Tensor:
  """`-mean(log_prob)`, nats an image, summed over its dimensions: -L_MLE."""
  return -tf.reduce_mean(log_prob)


def out_of_range(images: tf.Tensor, absolute: bool = False) -> tf.Tensor:
  """Mean squared or absolute distance of pixels from [0, 1]; 0 within.

  A flow's images are not bounded (a bound would cost the exact way back), where
  the published code squashes its output with `tanh`. A critic that is winning
  gives no reason to stay near the pixels' range; this does. The square hardly
  pulls on pixels just outside, such as those of a black background; the
  absolute distance pulls on all alike.

  Args:
    images: Translated images.
    absolute: Whether distances are not squared.

  Returns:
    A scalar.
  """
  distance = images - tf.clip_by_value(images, 0., 1.)
  return tf.reduce_mean(tf.abs(distance) if absolute else tf.square(distance))


def mean_absolute_difference(images: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
  """`mean(|x - y|)` on [-1, 1], of images in [0, 1]: CycleGAN's equation 2.

  Args:
    images: `[B, H, W, C]`.
    others: As many.

  Returns:
    A scalar.

  #### References

  [1]: Jun-Yan Zhu et al. Unpaired Image-to-Image Translation using
       Cycle-Consistent Adversarial Networks. In _ICCV_, 2017, section 3.2.
       https://arxiv.org/abs/1703.10593
  """
  return 2. * tf.reduce_mean(tf.abs(images - others))


"""Training objectives as pure functions: equation 7 and its parts.

Critics give logits of any shape (a patch critic gives many an image); losses
are means over all of them. Each adversarial objective is a pair: what a critic
minimises, and what the generator minimises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from alignflow_tf._lazy import tensorflow as tf

__all__ = [
    'GAN_LOSSES', 'GanLoss', 'alignflow_loss', 'cross_entropy',
    'gradient_penalty', 'hinge', 'least_squares', 'mean_absolute_difference',
    'negative_log_likelihood', 'non_saturating', 'out_of_range', 'wasserstein'
]


class GanLoss(NamedTuple):
  """An adversarial objective.

  Attributes:
    critic: Function of the logits of real and of translated images; what the
      critic minimises.
    generator: Function of the logits of translated images; what the generator
      minimises.
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
"""Mao et al. 2017, equation 9, https://arxiv.org/abs/1611.04076; what the
published AlignFlow code trains with, and its scaling."""

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
    draw: Callable[..., tf.Tensor] | None = None,
) -> tf.Tensor:
  """`mean((||d critic(x) / dx|| - 1)**2)` between real and translated images.

  Args:
    critic: Function of images `[B, H, W, C]`.
    real: Real images.
    fake: As many translated ones.
    seed: Stateless seed, of the points between each pair.
    draw: What draws them; None for `tf.random.stateless_uniform`.

  Returns:
    A scalar.

  #### References

  [1]: Ishaan Gulrajani et al. Improved Training of Wasserstein GANs. In
       _NeurIPS_, 2017, equation 3. https://arxiv.org/abs/1704.00028
  """
  draw = draw or tf.random.stateless_uniform
  size = real.shape[0] or tf.shape(real)[0]
  weight = draw([size, 1, 1, 1], seed, dtype=real.dtype)
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


def out_of_range(images: tf.Tensor) -> tf.Tensor:
  """Mean squared distance of pixels from [0, 1]; 0 within.

  A flow's images are not bounded (a bound would cost the exact way back), where
  the published code squashes its output with `tanh`. A critic that is winning
  gives no reason to stay near the pixels' range; this does.

  Args:
    images: Translated images.

  Returns:
    A scalar.
  """
  return tf.reduce_mean(tf.square(images - tf.clip_by_value(images, 0., 1.)))


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


def alignflow_loss(
    adversarial: Mapping[tuple[str, str], tf.Tensor],
    nll: Mapping[str, tf.Tensor],
    weights: Mapping[str, float],
) -> tf.Tensor:
  """What the generator minimises: equation 7.

  `sum of L_GAN(C_t, G_{s->t}) + sum of lambda_d * (-L_MLE(G_{Z->d}))`.

  Args:
    adversarial: The generator's adversarial loss for each (source, target).
    nll: The negative log-likelihood of each domain, in nats an image.
    weights: lambda for each domain. A weight of 0 leaves the likelihood out of
      the graph, for pure adversarial training.

  Returns:
    A scalar.

  #### References

  [1]: Aditya Grover et al. AlignFlow: Cycle Consistent Learning from Multiple
       Domains via Normalizing Flows. In _AAAI_, 2020, equation 7.
       https://arxiv.org/abs/1905.12892
  """
  terms = list(adversarial.values())
  terms += [weights[d] * nll[d] for d in nll if weights[d]]
  if not terms:
    raise ValueError(
        '`weights` are all 0 and there is no adversarial term: nothing to '
        'train on.')
  return tf.add_n(terms)

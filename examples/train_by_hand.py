"""Trains AlignFlow with a loop of your own: equation 7 and Keras' Adam.

  pip install 'alignflow_tf[demo]'
  python examples/train_by_hand.py --steps=300 --output=by_hand.png

trains a small flow for each of two sets of digits, in about a minute of two
cores. Checkpoints, validation, pools of past translations and several devices
are in `python -m alignflow_tf.train`; take this loop to try out a method.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import functools
import itertools
from typing import Any

import keras
import tensorflow as tf

import alignflow_tf as af
from alignflow_tf import data
from alignflow_tf import objectives

LAMBDA = 1e-5  # Weight of the likelihoods, in nats an image.
NOISE = 0.15   # Of the critics' inputs, which are in [-1, 1].
FLOW = functools.partial(
    af.flows.glow, num_scales=1, channels=16, num_blocks=1, framing=True)


def make_step(
    model: af.AlignFlow,
    critics: dict[str, keras.Model],
    generator_adam: keras.optimizers.Adam,
    critic_adam: keras.optimizers.Adam,
) -> Callable[..., dict[str, tf.Tensor]]:
  """A function of a batch and a seed that trains flows and critics once."""
  directions = list(itertools.permutations(model.domains, 2))
  gan = objectives.least_squares
  critic_weights = [
      v for d in model.domains for v in critics[d].trainable_variables]
  generator_adam.build(model.trainable_variables)
  critic_adam.build(critic_weights)

  def judge(domain: str, images: tf.Tensor) -> tf.Tensor:
    view = af.images.to_critic(images)
    return critics[domain](view + NOISE * tf.random.normal(tf.shape(view)))

  @tf.function(autograph=False)
  def step(batch: Any, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    seeds = tf.random.split(seed, len(model.domains))
    real = {d: af.images.dequantize(batch[d]['image'], seeds[i])
            for i, d in enumerate(model.domains)}

    # Equation 7: translations are to look real, and images to be likely.
    with tf.GradientTape() as tape:
      fakes = {(a, b): model.translator(a, b).forward(real[a])
               for a, b in directions}
      adversarial = tf.add_n([
          gan.generator(judge(b, fake)) for (_, b), fake in fakes.items()])
      nll = {d: -tf.reduce_mean(model[d].log_prob(real[d]))
             for d in model.domains}
      # Flows are not bounded: this keeps pixels near [0, 1].
      outside = tf.add_n([
          objectives.out_of_range(fake) for fake in fakes.values()])
      loss = adversarial + LAMBDA * tf.add_n(nll.values()) + 10. * outside
    weights = model.trainable_variables
    generator_adam.apply(tape.gradient(loss, weights), weights)

    # The critics tell the domain's images from translations.
    with tf.GradientTape() as tape:
      critic_loss = tf.add_n([
          gan.critic(judge(b, real[b]), judge(b, fake))
          for (_, b), fake in fakes.items()])
    critic_adam.apply(tape.gradient(critic_loss, critic_weights),
                      critic_weights)
    bits = {f'bits/dim {d}': af.images.bits_per_dim(-n, model.event_size)
            for d, n in nll.items()}
    return {'adversarial': adversarial, 'critics': critic_loss, **bits}

  return step


def train(
    steps: int, flow: Callable[..., Any] = FLOW, batch_size: int = 16
) -> tuple[data.DomainSet, af.AlignFlow]:
  """Trains on two sets of digits; returns the data and the model."""
  digits = data.load('digits')
  domains, shape = digits.domains, digits.event_shape
  model = af.AlignFlow(domains, shape, adapter=flow)
  critics = {d: af.networks.patch_critic(shape, 32, 2, seed=i)
             for i, d in enumerate(domains)}
  # Sets activation normalisations and frames from data.
  model.initialize({
      d: af.images.from_uint8(digits.arrays(d, 'train', 256)['image'])
      for d in domains})
  rate = keras.optimizers.schedules.PolynomialDecay(5e-4, steps, 0.)
  adam = functools.partial(keras.optimizers.Adam, rate, beta_1=0.5)
  generator_adam = adam(
      global_clipnorm=10., use_ema=True, ema_momentum=0.995)
  step = make_step(model, critics, generator_adam, adam())
  batches = digits.train_batches(batch_size, seed=0).take(steps)
  for i, batch in enumerate(batches):
    values = step(batch, tf.constant([0, i]))
    if i % 100 == 0 or i == steps - 1:
      print(i, *(f'{name} {value:.3f}' for name, value in values.items()))
  # The moving average of the weights is the better model.
  generator_adam.finalize_variable_values(model.trainable_variables)
  af.bijectors.clear_cache()  # The weights have changed.
  return digits, model


def show(digits: data.DomainSet, model: af.AlignFlow, output: str) -> None:
  """Writes digits, their translations and the way back as a picture."""
  a, b = model.domains
  x = af.images.from_uint8(digits.arrays(a, 'test', 16)['image'])
  translator = model.translator(a, b)
  y = translator.forward(x)
  back = translator.inverse(tf.identity(y))  # identity: breaks TFP's cache.
  print(f'Way back, largest error: {tf.reduce_max(tf.abs(back - x)):.1e}')
  rows = [tf.concat(tf.unstack(images), axis=1) for images in (x, y, back)]
  picture = af.images.to_uint8(tf.concat(rows, axis=0))
  tf.io.write_file(output, tf.io.encode_png(picture))


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--steps', type=int, default=300)
  parser.add_argument('--output', default='by_hand.png')
  args = parser.parse_args()
  show(*train(args.steps), args.output)

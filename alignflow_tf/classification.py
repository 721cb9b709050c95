"""Training of image classifiers, and what they predict.

Evaluation and adaptation train their classifiers here. Images are uint8 levels,
or floating numbers in [0, 1]; networks see them in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
import math

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf import images as images_lib

# Updates between returns to Python, and images of a prediction.
_CHUNK = 50
_BATCH = 500

Step = Callable[[tf.Tensor], tf.Tensor]
Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def train(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    steps: int = 800,
    batch_size: int = 64,
    rate: float = 1e-3,
    seed: int = 0,
    augment: Augment | None = None,
    show: bool = False,
) -> None:
  """Minimises the cross-entropy by Adam; images are drawn with replacement.

  Args:
    model: The classifier, from images in [-1, 1] to logits.
    images: N images `[N, H, W, C]`.
    labels: Their classes, integers `[N]`.
    steps: Number of updates.
    batch_size: Images an update.
    rate: Adam's rate, falling to 0 by a cosine.
    seed: Non-negative integer that fixes order and augmentation.
    augment: A function of images in [-1, 1] and a stateless seed to images of
      the same shape; None for none.
    show: Whether a line is printed after each fifth of the updates.

  Raises:
    ValueError: If there are not as many labels as images, or a number is out of
      range.
    FloatingPointError: If the loss is not finite.
  """
  if np.shape(labels) != (len(images),):
    raise ValueError(
        f'`labels` must have shape [{len(images)}], one an image, got '
        f'{list(np.shape(labels))}.')
  for name, value in (('steps', steps), ('batch_size', batch_size)):
    if not isinstance(value, int) or value < 1:
      raise ValueError(f'`{name}` must be a positive integer, got {value!r}.')
  weights = [v.value for v in model.trainable_variables]
  optimizer = adam(model, rate, steps)
  pixels, classes = on_cpu(images), on_cpu(np.asarray(labels, np.int64))

  def step(index: tf.Tensor) -> tf.Tensor:
    where = draw(seed, 0, index, len(labels), batch_size)
    x = view(tf.gather(pixels, where))
    if augment is not None:
      x = augment(x, fold_in(seed, 1, index))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(weights)
      loss = cross_entropy(model(x, training=True), tf.gather(classes, where))
    apply(optimizer, tape.gradient(loss, weights), model)
    return loss

  run(step, steps, 'classifier', show)


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
  """Class probabilities `[N, num_classes]` of images `[N, H, W, C]`."""
  # Not as a graph: each call would trace one of its own.
  return np.concatenate([
      tf.nn.softmax(model(view(tf.constant(images[i:i + _BATCH])),
                          training=False)).numpy()
      for i in range(0, len(images), _BATCH)])


def run(step: Step, steps: int, name: str, show: bool = True) -> None:
  """Calls a training step with each index from 0 on.

  Args:
    step: A function of the index, an int32 scalar, to the loss.
    steps: Number of calls.
    name: What is trained, for the lines.
    show: Whether a line is printed after each fifth of the calls.

  Raises:
    FloatingPointError: If the loss is not finite.
  """

  @tf.function(autograph=False)
  def chunk(start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(
        lambda i, _: i < end, lambda i, _: (i + 1, step(i)),
        (start, tf.constant(0.)), parallel_iterations=1)[1]

  shown = 0
  for start in range(0, steps, _CHUNK):
    end = min(start + _CHUNK, steps)
    loss = float(chunk(tf.constant(start), tf.constant(end)))
    if not math.isfinite(loss):
      raise FloatingPointError(
          f'the loss of the {name} is {loss} after {end} updates')
    if show and (end == steps or 5 * end // steps > shown):
      shown = 5 * end // steps
      print(f'  {name} {end}/{steps}  loss {loss:.3f}', flush=True)


def view(images: tf.Tensor) -> tf.Tensor:
  """Images as networks see them, float32 in [-1, 1]."""
  if images.dtype.is_integer:
    images = images_lib.from_uint8(images)
  return tf.cast(images_lib.to_critic(images), tf.float32)


def on_cpu(values: np.ndarray) -> tf.Tensor:
  """A tensor in the host's memory, which a GPU's need not hold."""
  with tf.device('/CPU:0'):
    return tf.constant(values)


def fold_in(seed: int, stream: int, index: tf.Tensor) -> tf.Tensor:
  """A stateless seed of an update's index, one for each stream of numbers."""
  # Seeds up to 2**32 - 1 wrap around: stateless seeds are int32 here.
  pair = np.array([seed, stream], np.int64).astype(np.int32)
  return tf.random.experimental.stateless_fold_in(tf.constant(pair), index)


def draw(seed: int, stream: int, index: tf.Tensor, count: int,
         size: int) -> tf.Tensor:
  """Positions `[size]` below `count` for one update, with replacement."""
  return tf.random.stateless_uniform(
      [size], fold_in(seed, stream, index), 0, count, tf.int32)


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """Mean cross-entropy of logits `[B, K]` and classes `[B]`, nats."""
  return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
      labels, logits))


def adam(model: keras.Model, rate: float, steps: int, beta_1: float = 0.9
        ) -> keras.optimizers.Optimizer:
  """Adam for a model's weights; its rate falls to 0 by a cosine."""
  optimizer = keras.optimizers.Adam(
      keras.optimizers.schedules.CosineDecay(rate, steps), beta_1)
  optimizer.build(model.trainable_variables)
  return optimizer


def apply(optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor],
          model: keras.Model) -> None:
  """Updates a model's weights."""
  optimizer.apply(gradients, model.trainable_variables)

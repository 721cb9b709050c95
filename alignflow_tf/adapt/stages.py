"""Training of the classifiers: on the source, on features, on the target."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from alignflow_tf import classification
from alignflow_tf import networks
from alignflow_tf.adapt import augment
from alignflow_tf.adapt import config as config_lib


class Labelled(NamedTuple):
  """Images `[N, H, W, C]`, uint8, and their classes `[N]`."""
  images: np.ndarray
  labels: np.ndarray


def build(
    image_shape: tuple[int, int, int], num_classes: int,
    settings: config_lib.Settings, seed: int) -> keras.Model:
  """A classifier of images in [-1, 1], `[B, *image_shape]`, to logits.

  Raises:
    AdaptError: If the images are too small for it.
  """
  networks_by_name: dict[str, Callable[..., keras.Model]] = {
      'lenet': networks.lenet, 'dtn': networks.dtn,
      'strided': networks.strided_classifier}
  make = networks_by_name[settings.network]
  height, width, channels = image_shape
  size = settings.classifier_size
  inner = (size, size, channels) if size else image_shape
  keras.utils.set_random_seed(seed)
  try:
    network = make(inner, num_classes, seed=seed)
  except ValueError as e:
    raise config_lib.AdaptError(f'`network`, `classifier_size`: {e}') from e
  if inner == image_shape:
    return network
  return keras.Sequential([
      keras.Input(image_shape, name='image'),
      keras.layers.Resizing(*inner[:2], interpolation='bilinear'),
      *network.layers], name=network.name)


def train_classifier(
    data: Labelled, num_classes: int, settings: config_lib.Settings, seed: int,
) -> keras.Model:
  """Trains a classifier on labelled images: source, or translated source.

  CyCADA's code has Adam at 1e-4 for 100 epochs. Here the rate is higher and
  falls to 0 by a cosine; with `classifier_augment`, images are warped at random
  (`augment.random_affine`).
  """
  model = build(data.images.shape[1:], num_classes, settings, seed)
  classification.train(
      model, data.images, data.labels, settings.classifier_steps,
      settings.batch_size, settings.classifier_rate, seed, _warp(settings),
      show=True)
  return model


def adapt_features(
    model: keras.Model, source: Labelled, target: np.ndarray,
    settings: config_lib.Settings, seed: int) -> keras.Model:
  """ADDA: aligns the class scores of target images with those of the source.

  A copy of the classifier is trained against a discriminator (500-500-2, on
  class scores, as in CyCADA's code), which distinguishes source images under
  `model` from target images under the copy. The copy learns from the
  discriminator only while that is right for more than `feature_gate` of a
  batch. Dropout is off for both: if the copy alone had it, the discriminator
  would learn to detect it.

  Aligned scores do not hold an image to its class. With
  `feature_source_weight`, the copy goes on learning the source's labels: the
  task loss of CyCADA's objective [2], which its code omits here. Adversarial
  training may also circle around its solution: with `feature_average`, a moving
  average of the copy's weights is kept.

  Args:
    model: The classifier of the source; it is left as it is.
    source: Its training images, translated or not; labels are used only with
      `feature_source_weight` and `class_priors`.
    target: uint8 target images.
    settings: Settings.
    seed: Non-negative integer.

  #### References

  [1]: Eric Tzeng et al. Adversarial Discriminative Domain Adaptation. In
       _CVPR_, 2017, equation 9. https://arxiv.org/abs/1702.05464
  [2]: Judy Hoffman et al. CyCADA: Cycle-Consistent Adversarial Domain
       Adaptation. In _ICML_, 2018, section 3, the complete objective.
       https://arxiv.org/abs/1711.03213
  """
  adapted = _copy(model, seed)
  average = _Average(_copy(model, seed), adapted, settings.feature_average) if (
      settings.feature_average) else None
  initializer = [keras.initializers.GlorotNormal(seed=seed * 8 + i)
                 for i in range(3)]
  discriminator = keras.Sequential([
      keras.Input(model.output_shape[1:]),
      keras.layers.Dense(500, 'relu', kernel_initializer=initializer[0]),
      keras.layers.Dense(500, 'relu', kernel_initializer=initializer[1]),
      keras.layers.Dense(2, kernel_initializer=initializer[2]),
  ], name='discriminator')
  weights = [v.value for v in adapted.trainable_variables]
  judges = [v.value for v in discriminator.trainable_variables]
  optimizer, judges_optimizer = (
      classification.adam(network, settings.feature_rate,
                          settings.feature_steps, settings.feature_beta_1)
      for network in (adapted, discriminator))
  sources, labels, targets = map(
      classification.on_cpu, (source.images, source.labels, target))
  warp = _warp(settings)
  size = settings.batch_size
  weight = settings.feature_source_weight
  draw = _source_places(source.labels, _prior(model, target, settings))
  is_source = tf.repeat(tf.constant([1, 0], tf.int64), size)

  def step(index: tf.Tensor) -> tf.Tensor:
    where = draw(seed, 0, index, size)
    x = classification.view(tf.gather(sources, where))
    y = classification.view(tf.gather(
        targets, classification.draw(seed, 1, index, len(target), size)))
    known = model(x, training=False)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(weights)
      scores = adapted(y, training=False)
      fooled = classification.cross_entropy(
          discriminator(scores), tf.ones([size], tf.int64))
    gradients = tape.gradient(fooled, weights)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(judges)
      logits = discriminator(
          tf.stop_gradient(tf.concat([known, scores], axis=0)))
      loss = classification.cross_entropy(logits, is_source)
    classification.apply(
        judges_optimizer, tape.gradient(loss, judges), discriminator)
    right = tf.reduce_mean(tf.cast(
        tf.equal(tf.argmax(logits, axis=-1), is_source), tf.float32))
    good = right > settings.feature_gate
    if weight:
      if warp is not None:
        x = warp(x, classification.fold_in(seed, 2, index))
      with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        task = weight * classification.cross_entropy(
            adapted(x, training=True), tf.gather(labels, where))
      gate = tf.cast(good, tf.float32)
      classification.apply(optimizer, [
          gate * g + t for g, t in zip(
              gradients, tape.gradient(task, weights), strict=True)], adapted)
    else:

      def update() -> tf.Tensor:
        classification.apply(optimizer, gradients, adapted)
        return tf.constant(0)

      tf.cond(good, update, lambda: tf.constant(0))
    if average:
      average.update(index)
    return loss

  classification.run(step, settings.feature_steps, 'feature')
  return average.model if average else adapted


def adapt_to_target(
    model: keras.Model, source: Labelled, target: np.ndarray,
    settings: config_lib.Settings, seed: int) -> keras.Model:
  """The target stage: self-training on the target, confident and diverse.

  It minimises, over student weights w with averaged (teacher) weights w',

  ```
  target_source_weight      * cross_entropy(f_w(A(x)), y)
  + target_pseudo_weight    * cross_entropy(f_w(A(x')), argmax f_w'(x'))
                              where max f_w'(x') >= target_confidence
  + target_information_weight * (H(f_w(A(x'))) - H(mean of f_w(A(x'))))
  ```

  where x are translated source images, y their labels, x' target images and A
  is a random affine map. The first two terms are self-ensembling [1] with the
  hard labels of FixMatch [2]; the third is the information maximisation of
  SHOT [3].
  With `class_priors`, the prior is the class frequencies that the classifier
  finds in the target. -KL(mean || prior) then takes the place of H(mean), and
  source images are drawn by the prior.

  Args:
    model: The classifier to begin with; it is left as it is.
    source: Labelled images that look like the target.
    target: uint8 target images.
    settings: Settings.
    seed: Non-negative integer.

  #### References

  [1]: Geoff French, Michal Mackiewicz, Mark Fisher. Self-ensembling for Visual
       Domain Adaptation. In _ICLR_, 2018. https://arxiv.org/abs/1706.05208
  [2]: Kihyuk Sohn et al. FixMatch: Simplifying Semi-Supervised Learning with
       Consistency and Confidence. In _NeurIPS_, 2020.
       https://arxiv.org/abs/2001.07685
  [3]: Jian Liang, Dapeng Hu, Jiashi Feng. Do We Really Need to Access the
       Source Data? Source Hypothesis Transfer for Unsupervised Domain
       Adaptation. In _ICML_, 2020, equation 4.
       https://arxiv.org/abs/2002.08546
  """
  student, teacher = _copy(model, seed), _copy(model, seed)
  average = _Average(teacher, student, settings.target_average)
  weights = [v.value for v in student.trainable_variables]
  optimizer = classification.adam(
      student, settings.target_rate, settings.target_steps)
  images, labels, targets = map(
      classification.on_cpu, (source.images, source.labels, target))
  size = settings.batch_size
  prior = _prior(model, target, settings)
  draw = _source_places(source.labels, prior)

  def step(index: tf.Tensor) -> tf.Tensor:
    where = draw(seed, 0, index, size)
    x = classification.view(tf.gather(images, where))
    y = classification.view(tf.gather(
        targets, classification.draw(seed, 1, index, len(target), size)))
    belief = tf.nn.softmax(teacher(y, training=False))
    sure = tf.cast(tf.reduce_max(belief, axis=-1) >= settings.target_confidence,
                   tf.float32)
    both = augment.random_affine(
        tf.concat([x, y], axis=0), classification.fold_in(seed, 2, index),
        settings.augment_scale, settings.augment_shift)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(weights)
      logits = student(both, training=True)
      loss = settings.target_source_weight * classification.cross_entropy(
          logits[:size], tf.gather(labels, where))
      loss += settings.target_pseudo_weight * tf.reduce_mean(
          sure * tf.nn.sparse_softmax_cross_entropy_with_logits(
              tf.argmax(belief, axis=-1), logits[size:]))
      if settings.target_information_weight:
        loss -= settings.target_information_weight * _information(
            tf.nn.softmax(logits[size:]), prior)
    classification.apply(optimizer, tape.gradient(loss, weights), student)
    average.update(index)
    return loss

  classification.run(step, settings.target_steps, 'target')
  return teacher


class _Average:
  """A moving average of a network's weights, in a network of its own."""

  def __init__(self, model: keras.Model, of: keras.Model, decay: float):
    self.model = model
    self._decay = decay
    self._pairs = [
        (a.value, v.value) for a, v in zip(
            model.variables, of.variables, strict=True)
        if a.value.dtype.is_floating]

  def update(self, index: tf.Tensor) -> None:
    """Follows an update; the first, worse weights count less."""
    count = tf.cast(index, tf.float32)
    rate = 1. - tf.minimum(self._decay, (1. + count) / (10. + count))
    for average, variable in self._pairs:
      average.assign_add(rate * (variable - average))


def _information(p: tf.Tensor, prior: np.ndarray | None) -> tf.Tensor:
  """Mutual information of images and classes, H(mean p) - mean H(p), nats.

  With a prior, its first part is -KL(mean p || prior).
  """
  mean = tf.reduce_mean(p, axis=0)
  log_mean = tf.math.log(mean + 1e-8)
  if prior is not None:
    log_mean -= tf.constant(np.log(prior + 1e-8), tf.float32)
  return tf.reduce_mean(tf.reduce_sum(
      p * tf.math.log(p + 1e-8), axis=-1)) - tf.reduce_sum(mean * log_mean)


def _prior(model: keras.Model, target: np.ndarray,
           settings: config_lib.Settings) -> np.ndarray | None:
  """Frequencies `[K]` of the classes that a classifier finds, or None."""
  if not settings.class_priors:
    return None
  return classification.predict(model, target).mean(axis=0, dtype=np.float64)


def _source_places(labels: np.ndarray, prior: np.ndarray | None
                  ) -> Callable[[int, int, tf.Tensor, int], tf.Tensor]:
  """Draws positions of source images, with class frequencies of a prior.

  Args:
    labels: Classes of the images, `[N]`.
    prior: Frequencies `[K]`; None for those of the labels.

  Returns:
    A function of a seed, a stream, an index and a batch size, as
    `classification.draw`.
  """
  if prior is None:
    return lambda seed, stream, index, size: classification.draw(
        seed, stream, index, len(labels), size)
  counts = np.bincount(labels, minlength=len(prior))
  weights = (prior / np.maximum(counts, 1))[labels]
  ends = tf.constant(np.cumsum(weights / weights.sum()), tf.float32)

  def draw(seed: int, stream: int, index: tf.Tensor, size: int) -> tf.Tensor:
    where = tf.random.stateless_uniform(
        [size], classification.fold_in(seed, stream, index))
    # Rounding may leave the last end below 1.
    return tf.minimum(
        tf.searchsorted(ends, where, side='right'), len(labels) - 1)

  return draw


def _copy(model: keras.Model, seed: int) -> keras.Model:
  """Another model of the same weights, with dropout of its own."""
  keras.utils.set_random_seed(seed)
  copy = keras.models.clone_model(model)
  copy.set_weights(model.get_weights())
  return copy


def _warp(settings: config_lib.Settings
         ) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
  """The random warp of a classifier's images; None for none."""
  if not settings.classifier_augment:
    return None
  return functools.partial(
      augment.random_affine, scale=settings.augment_scale,
      shift=settings.augment_shift)

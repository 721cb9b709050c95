"""The semantic term: a translation keeps the class of its source."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf.adapt import augment
from alignflow_tf.adapt import config as config_lib
from alignflow_tf.train import optimizer

# Adam's rate, and the smallest probability of a prediction that is used.
_RATE = 1e-3
_CONFIDENCE = 0.9


class SemanticLoss(tf.Module):
  """A further term of a translator's objective, from labels of one domain.

  A small classifier f is trained together with the translator G, on source
  images x with labels y and on their translations. The translator minimises

  ```
  semantic_weight * cross_entropy(f(G_{s->t}(x)), y)
  + semantic_target_weight * cross_entropy(f(G_{t->s}(x')), argmax f(x'))
  ```

  where x' are target images; the second term counts only images of which f is
  sure, with a probability of at least 0.9. In CyCADA's paper f is
  trained on the source, then frozen, and its predictions stand for y. Its
  published code uses the true labels y, trains f on the source together with G,
  and leaves both terms out until f's loss is below 1. This class follows the
  code; by default f is trained on translations too, as in PixelDA.

  With `guided`, target images have labels y' too: predictions of a classifier
  that was adapted to the target before. Each domain then has a classifier of
  its own, trained on its real images alone, and the terms are

  ```
  semantic_weight * cross_entropy(f_t(G_{s->t}(x)), y)
  + semantic_target_weight * cross_entropy(f_s(G_{t->s}(x')), y')
  ```

  A classifier of both domains would also read a digit in the style of its
  source. With `semantic_critics` the critics see classes as well [4].

  f sees images with noise. Without, a translator and a classifier that learn
  together could encode a class in marks too faint to see.

  #### References

  [1]: Judy Hoffman et al. CyCADA: Cycle-Consistent Adversarial Domain
       Adaptation. In _ICML_, 2018, equation 3.
       https://arxiv.org/abs/1711.03213
  [2]: Konstantinos Bousmalis et al. Unsupervised Pixel-Level Domain Adaptation
       with Generative Adversarial Networks. In _CVPR_, 2017, equation 4.
       https://arxiv.org/abs/1612.05424
  [3]: Paolo Russo et al. From Source to Target and Back: Symmetric
       Bi-Directional Adaptive GAN. In _CVPR_, 2018, section 3.
       https://arxiv.org/abs/1705.08824
  [4]: Mingsheng Long et al. Conditional Adversarial Domain Adaptation. In
       _NeurIPS_, 2018. https://arxiv.org/abs/1705.10667
  """

  def __init__(self, source: str, target: str,
               event_shape: tuple[int, int, int], num_classes: int,
               settings: config_lib.Settings, seed: int = 0,
               guided: bool = False):
    """Builds the classifiers and their optimizer.

    Args:
      source: The domain whose labels are used.
      target: The domain that has none.
      event_shape: `(height, width, channels)`.
      num_classes: Number of classes.
      settings: Settings; only `semantic_*` and `augment_*` count.
      seed: Non-negative integer that fixes initial weights.
      guided: Whether target images have labels, predictions of another
        classifier.
    """
    super().__init__(name='semantic')
    self.labels = (source, target) if guided else (source,)
    self.critic_classes = num_classes if settings.semantic_critics else 0
    self._guided = guided
    self._source, self._target = source, target
    self._settings = settings
    classifiers = [
        networks.strided_classifier(
            event_shape, num_classes, seed=seed, name=f'semantic_{domain}')
        for domain in self.labels]
    self._classifiers = {
        domain: networks.Tracked(classifier) for domain, classifier in zip(
            self.labels, classifiers, strict=True)}
    self._weights = [v.value for classifier in classifiers
                     for v in classifier.trainable_variables]
    self._optimizer = optimizer.Adam(self._weights, 0.5, 0.999)
    self._last_loss = tf.Variable(10., trainable=False, name='last_loss')

  def _logits(self, images: tf.Tensor, seed: tf.Tensor, domain: str
             ) -> tf.Tensor:
    """Logits of images, real or translated, by the classifier of a domain."""
    view = images_lib.to_critic(images)
    settings = self._settings
    if settings.semantic_augment:
      view = augment.random_affine(
          view, tf.random.experimental.stateless_fold_in(seed, 2),
          settings.augment_scale, settings.augment_shift)
    view += settings.semantic_noise * tf.random.stateless_normal(
        tf.shape(view), seed, dtype=view.dtype)
    classifier = self._classifiers[domain if self._guided else self._source]
    return classifier(view, training=True)

  def loss(
      self, real: Mapping[str, tf.Tensor],
      fakes: Mapping[tuple[str, str], tf.Tensor],
      labels: Mapping[str, tf.Tensor], seed: tf.Tensor,
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The translator's part; see `auxiliary.Auxiliary`."""
    s, t = self._source, self._target
    seeds = tf.random.split(seed, 3)
    gate = tf.cast(self._last_loss <= 1., tf.float32)
    value = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels[s], self._logits(fakes[s, t], seeds[0], t)))
    metrics = {f'semantic_loss/{s}_to_{t}': value}
    loss = gate * self._settings.semantic_weight * value
    if self._guided:
      value = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
          labels[t], self._logits(fakes[t, s], seeds[1], s)))
      metrics[f'semantic_loss/{t}_to_{s}'] = value
      loss += gate * self._settings.semantic_target_weight * value
    elif self._settings.semantic_target_weight:
      prediction = tf.nn.softmax(self._logits(real[t], seeds[1], t))
      sure = tf.cast(
          tf.reduce_max(prediction, axis=-1) >= _CONFIDENCE, tf.float32)
      value = tf.reduce_mean(
          sure * tf.nn.sparse_softmax_cross_entropy_with_logits(
              tf.argmax(prediction, axis=-1),
              self._logits(fakes[t, s], seeds[2], s)))
      metrics |= {f'semantic_loss/{t}_to_{s}': value,
                  f'semantic_sure/{t}': tf.reduce_mean(sure)}
      loss += gate * self._settings.semantic_target_weight * value
    return loss, metrics

  def update(
      self, real: Mapping[str, tf.Tensor],
      fakes: Mapping[tuple[str, str], tf.Tensor],
      labels: Mapping[str, tf.Tensor], seed: tf.Tensor,
  ) -> None:
    """One update of the classifiers; see `auxiliary.Auxiliary`."""
    s, t = self._source, self._target
    seen = [(domain, real[domain]) for domain in self.labels]
    # Guided, classifiers learn nothing from translations that may be wrong.
    if self._settings.semantic_on_translations and not self._guided:
      seen.append((s, tf.stop_gradient(fakes[s, t])))
    seeds = tf.unstack(tf.random.split(seed, len(seen)))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(self._weights)
      losses = [
          tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
              labels[domain], self._logits(images, seed, domain)))
          for seed, (domain, images) in zip(seeds, seen, strict=True)]
      loss = tf.add_n(losses)
    gradients = tape.gradient(loss, self._weights)
    self._optimizer.apply(
        gradients, tf.constant(_RATE), tf.constant(True))
    self._last_loss.assign(tf.reduce_max(losses[:len(self.labels)]))

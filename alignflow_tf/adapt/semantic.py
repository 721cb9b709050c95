"""The semantic term: a translation keeps the class of its source."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tf_keras

from alignflow_tf import images as images_lib
from alignflow_tf import networks
from alignflow_tf.adapt import augment as augment_lib

__all__ = ['SemanticLoss']


class SemanticLoss(tf.Module):
  """A further term of a translator's objective, from labels of one domain.

  A small classifier f is trained together with the translator G, on source
  images x with labels y and on their translations. The translator minimises

  ```
  weight * cross_entropy(f(G_{s->t}(x)), y)
  + target_weight * cross_entropy(f(G_{t->s}(x')), argmax f(x'))
  ```

  where x' are target images; the second term counts only images of which f is
  sure, with a probability of at least `confidence`. In CyCADA's paper f is
  trained on the source, then frozen, and its predictions stand for y. Its
  published code uses the true labels y, trains f on the source together with G,
  and leaves both terms out until f's loss is below 1. This class follows the
  code; by default f is trained on translations too, as in PixelDA.

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
  """

  def __init__(
      self,
      source: str,
      target: str,
      event_shape: tuple[int, int, int],
      num_classes: int,
      weight: float = 1.,
      target_weight: float = 0.,
      on_translations: bool = True,
      noise: float = 0.15,
      confidence: float = 0.9,
      augment: tuple[float, float] | None = None,
      learning_rate: float = 1e-3,
      seed: int = 0,
      name: str = 'semantic',
  ):
    """Builds the classifier and its optimizer.

    Args:
      source: The domain whose labels are used.
      target: The domain that has none.
      event_shape: `(height, width, channels)`.
      num_classes: Number of classes.
      weight: Weight of the term from labels.
      target_weight: Weight of the term from predictions on target images.
      on_translations: Whether f is trained on translations too.
      noise: Standard deviation of the noise on f's images, in [-1, 1].
      confidence: Smallest probability of a prediction that is used as a label.
      augment: Scale and shift of the random warps of f's images, see
        `augment.random_affine`; None for none.
      learning_rate: Adam's rate for f.
      seed: Non-negative integer that fixes f's initial weights.
      name: Name of the module.
    """
    super().__init__(name=name)
    self.labels = (source,)
    self._source, self._target = source, target
    self._weight, self._target_weight = weight, target_weight
    self._on_translations = on_translations
    self._noise, self._confidence = noise, confidence
    self._augment = self._no_dependency(augment)
    classifier = networks.strided_classifier(
        event_shape, num_classes, seed=seed, name='semantic_classifier')
    self._classifier = networks.Tracked(classifier)
    self._weights = [v.value for v in classifier.trainable_variables]
    self._optimizer = tf_keras.optimizers.legacy.Adam(
        learning_rate, 0.5, 0.999)
    self._optimizer._create_all_weights(self._weights)
    self._last_loss = tf.Variable(10., trainable=False, name='last_loss')

  def _logits(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    view = images_lib.to_critic(images)
    if self._augment is not None:
      view = augment_lib.random_affine(
          view, tf.random.experimental.stateless_fold_in(seed, 2),
          *self._augment)
    view += self._noise * tf.random.stateless_normal(
        tf.shape(view), seed, dtype=view.dtype)
    return self._classifier(view, training=True)

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
        labels[s], self._logits(fakes[s, t], seeds[0])))
    metrics = {f'semantic_loss/{s}_to_{t}': value}
    loss = gate * self._weight * value
    if self._target_weight:
      prediction = tf.nn.softmax(self._logits(real[t], seeds[1]))
      sure = tf.cast(
          tf.reduce_max(prediction, axis=-1) >= self._confidence, tf.float32)
      value = tf.reduce_mean(
          sure * tf.nn.sparse_softmax_cross_entropy_with_logits(
              tf.argmax(prediction, axis=-1),
              self._logits(fakes[t, s], seeds[2])))
      metrics |= {f'semantic_loss/{t}_to_{s}': value,
                  f'semantic_sure/{t}': tf.reduce_mean(sure)}
      loss += gate * self._target_weight * value
    return loss, metrics

  def update(
      self, real: Mapping[str, tf.Tensor],
      fakes: Mapping[tuple[str, str], tf.Tensor],
      labels: Mapping[str, tf.Tensor], seed: tf.Tensor,
  ) -> None:
    """One update of the classifier; see `auxiliary.Auxiliary`."""
    s, t = self._source, self._target
    images, classes = real[s], labels[s]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(self._weights)
      if self._on_translations:
        images = tf.concat([images, tf.stop_gradient(fakes[s, t])], axis=0)
      losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
          tf.tile(classes, [1 + self._on_translations]),
          self._logits(images, seed))
      loss = (1 + self._on_translations) * tf.reduce_mean(losses)
    gradients = tape.gradient(loss, self._weights)
    self._optimizer.apply_gradients(zip(gradients, self._weights, strict=True))
    self._last_loss.assign(tf.reduce_mean(losses[:tf.shape(classes)[0]]))

"""Does translation keep what an image shows? Classifiers answer."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf import networks

__all__ = ['MAX_IMAGES', 'accuracy', 'label_transfer', 'train_classifier']

# As many as the updates of a classifier take, at their defaults.
MAX_IMAGES = 800 * 64


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    steps: int = 800,
    batch_size: int = 64,
    seed: int = 0,
) -> keras.Model:
  """Trains a LeNet.

  Args:
    images: float32 images `[N, H, W, C]` in [0, 1].
    labels: Integer labels `[N]`.
    num_classes: Number of classes.
    steps: Number of updates with Adam, rate 1e-3, falling to 0 by a cosine.
    batch_size: Images an update.
    seed: Non-negative integer for weights, dropout and order.

  Returns:
    The classifier, from images in [-1, 1] to logits.

  Raises:
    ValueError: If there are not as many labels as images, or a number is out of
      range.
  """
  if np.shape(labels) != (len(images),):
    raise ValueError(
        f'`labels` must have shape [{len(images)}], one an image, got '
        f'{list(np.shape(labels))}.')
  for name, value in (('steps', steps), ('batch_size', batch_size)):
    if not isinstance(value, int) or value < 1:
      raise ValueError(f'`{name}` must be a positive integer, got {value!r}.')
  keras.utils.set_random_seed(seed)
  model = networks.lenet(images.shape[1:], num_classes, seed=seed)
  rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
  model.compile(
      keras.optimizers.Adam(rate),
      keras.losses.SparseCategoricalCrossentropy(from_logits=True),
      # Calls of Keras take a third of the time otherwise.
      steps_per_execution=min(steps, 50))
  order = np.concatenate([
      np.random.RandomState([seed, epoch]).permutation(len(images))
      for epoch in range(-(-steps * batch_size // len(images)))])
  order = order[:steps * batch_size]
  inputs = np.asarray(images_lib.to_critic(images), np.float32)
  model.fit(inputs[order], labels[order], batch_size=batch_size, epochs=1,
            shuffle=False, verbose=0)
  return model


def accuracy(classifier: keras.Model, images: np.ndarray,
             labels: np.ndarray) -> float:
  """Share of images in [0, 1] that a classifier labels right.

  Images that are not finite have no label, and are wrong.
  """
  finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
  logits = classifier.predict(
      np.asarray(images_lib.to_critic(images)), batch_size=500, verbose=0)
  return float(((logits.argmax(axis=-1) == labels) & finite).mean())


def label_transfer(
    evaluator: inference.Evaluator,
    train: Mapping[str, Mapping[str, np.ndarray]],
    test: Mapping[str, Mapping[str, np.ndarray]],
    source: str,
    target: str,
    num_classes: int,
    seed: int = 0,
    source_only: keras.Model | None = None,
) -> dict[str, float]:
  """Accuracy on the target of classifiers that saw labels of the source only.

  Args:
    evaluator: Evaluator of the model.
    train: For each domain, training `image` (float32 in [0, 1]) and `label`.
    test: For each domain, test images and labels.
    source: The domain whose labels are used.
    target: The domain whose test images are scored.
    num_classes: Number of classes.
    seed: Seed of the classifiers.
    source_only: A classifier of the source, as `train_classifier` trains it on
      its images and this seed; trained here if None.

  Returns:
    `source_only`: of a classifier trained on source images as they are;
    `translated`: of one trained on the same images translated to the target.
  """
  images, labels = train[source]['image'], train[source]['label']
  if source_only is None:
    source_only = train_classifier(images, labels, num_classes, seed=seed)
  translated = train_classifier(
      np.clip(evaluator.translate(images, source, target), 0., 1.), labels,
      num_classes, seed=seed)
  return {name: accuracy(classifier, test[target]['image'],
                         test[target]['label'])
          for name, classifier in (
              ('source_only', source_only), ('translated', translated))}

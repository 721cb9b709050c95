"""Classifiers as probes: does a translation keep the class of an image?"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from alignflow_tf import classification
from alignflow_tf import inference
from alignflow_tf import networks

# The number of images that the updates of a classifier take by default.
MAX_IMAGES = 800 * 64


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    steps: int = 800,
    seed: int = 0,
) -> keras.Model:
  """Trains a LeNet; see `classification.train`.

  Args:
    images: N images `[N, H, W, C]`, uint8 or floating in [0, 1].
    labels: Integer labels `[N]`.
    num_classes: Number of classes.
    steps: Number of updates, of 64 images each.
    seed: Non-negative integer for weights, dropout and order.

  Returns:
    The classifier, from images in [-1, 1] to logits.

  Raises:
    ValueError: If there are not as many labels as images, or a number is out of
      range.
  """
  keras.utils.set_random_seed(seed)
  model = networks.lenet(images.shape[1:], num_classes, seed=seed)
  classification.train(model, images, labels, steps, seed=seed)
  return model


def accuracy(classifier: keras.Model, images: np.ndarray,
             labels: np.ndarray) -> float:
  """Share of images in [0, 1] that a classifier labels right.

  Images that are not finite have no label and count as wrong.
  """
  finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
  found = classification.predict(classifier, images).argmax(axis=-1)
  return float(((found == labels) & finite).mean())


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

"""The adapted classifier for its users: as a Keras model and a SavedModel."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from alignflow_tf import networks


def public(model: keras.Model) -> keras.Model:
  """A classifier of images in [0, 1], as everywhere outside of training.

  Args:
    model: A chain of layers from images in [-1, 1], `[B, H, W, C]`, to logits
      `[B, K]`.

  Returns:
    The same layers from images in [0, 1], behind a rescaling.
  """
  return keras.Sequential([
      keras.Input(model.input_shape[1:], name='image'),
      keras.layers.Rescaling(2., -1.),
      *model.layers], name=model.name)


class _Servable(tf.Module):
  """The classifier and its signature."""

  def __init__(self, model: keras.Model, classes: Sequence[str] | None):
    super().__init__(name='classifier')
    self._classes = self._no_dependency(classes and list(classes))
    self._network = networks.Tracked(model)

  def classify(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
    probabilities = tf.nn.softmax(self._network(image, training=False))
    result = {'label': tf.argmax(probabilities, axis=-1),
              'probabilities': probabilities}
    if self._classes is not None:
      # A row an image: TF Serving's JSON has outputs of one batch size.
      result['classes'] = tf.tile(
          tf.constant([self._classes]), [tf.shape(image)[0], 1])
    return result


def save(model: keras.Model, path: str,
         classes: Sequence[str] | None = None) -> None:
  """Writes a SavedModel with the signature `classify`.

  Args:
    model: A classifier from images in [0, 1] to logits, see `public`.
    path: Where to, `.../VERSION` for TF Serving. Its one signature, under the
      names `classify` and `serving_default`, takes `image`, float32
      `[B, H, W, C]` in [0, 1] (B may be 0), and gives `label`, int64 `[B]`,
      `probabilities`, float32 `[B, K]`, and, where they are known, `classes`,
      string `[B, K]`: the names that belong to the probabilities.
    classes: Names of the K classes, or None.
  """
  servable = _Servable(model, classes)
  image = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, 'image')
  classify = tf.function(servable.classify, autograph=False)
  signature = classify.get_concrete_function(image)
  tf.saved_model.save(servable, path, signatures={
      'classify': signature, 'serving_default': signature})

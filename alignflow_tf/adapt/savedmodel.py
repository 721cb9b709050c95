"""The adapted classifier for TF Serving."""

from __future__ import annotations

import keras
import tensorflow as tf

from alignflow_tf import images as images_lib

__all__ = ['save']


class _Servable(tf.Module):
  """Holds a Keras 3 model's raw variables: its wrappers do not load in C++."""

  def __init__(self, model: keras.Model):
    super().__init__(name='classifier')
    self._model = self._no_dependency(model)
    self._weights = [v.value for v in model.variables]

  def classify(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
    probabilities = tf.nn.softmax(
        self._model(images_lib.to_critic(image), training=False))
    return {'label': tf.argmax(probabilities, axis=-1),
            'probabilities': probabilities}


def save(model: keras.Model, path: str) -> None:
  """Writes a SavedModel with the signature `classify`.

  Args:
    model: A classifier from images in [-1, 1] to logits.
    path: Where to, `.../VERSION` for TF Serving. Its one signature, under the
      names `classify` and `serving_default`, takes `image`, float32
      `[B, H, W, C]` in [0, 1], and gives `label`, int64 `[B]`, and
      `probabilities`, float32 `[B, K]`.
  """
  servable = _Servable(model)
  image = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, 'image')
  classify = tf.function(servable.classify, autograph=False)
  signature = classify.get_concrete_function(image)
  tf.saved_model.save(servable, path, signatures={
      'classify': signature, 'serving_default': signature})

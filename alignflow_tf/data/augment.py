"""Random crops and mirroring of training images, from (seed, step) alone."""

from __future__ import annotations

import dataclasses

from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import levels
from alignflow_tf.data import streams


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """The changes of stored images in training and in evaluation.

  For example, `Augmentation((144, 144), (128, 128), flip=True)` trains on
  random 128x128 crops, half of them mirrored, and evaluates on the middle.

  Attributes:
    stored: (height, width) of the stored images.
    size: (height, width) of the delivered images; at most that of the stored.
    flip: Whether training mirrors images left to right half of the time.
    standard_levels: Whether images are brought to `levels.standard`, last.
  """

  stored: tuple[int, int]
  size: tuple[int, int]
  flip: bool = False
  standard_levels: bool = False

  def train(
      self, images: tf.Tensor, seed: int, step: tf.Tensor, domain: str,
      batch_size: int, places: tf.Tensor,
  ) -> tf.Tensor:
    """Augments images of a training batch.

    Args:
      images: uint8 [b, h, w, C].
      seed: The run's seed.
      step: int64 scalar, the step of the batch.
      domain: Name of the domain.
      batch_size: Number of images in the whole batch, B.
      places: int64 [b], the places of these images in the batch. What is drawn
        for a place does not depend on which others are delivered.

    Returns:
      uint8 [b, H, W, C].
    """
    crop = self.stored != self.size
    if not (crop or self.flip):
      return self._standard(images)
    count, channels = images.shape[0], images.shape[-1]

    def draws(purpose: str, shape: list[int]) -> tf.Tensor:
      key = streams.stream_key(seed, purpose, domain)
      drawn = tf.random.stateless_uniform(
          [batch_size, *shape],
          seed=tf.stack([tf.constant(key[0] ^ key[1], tf.int64), step]))
      return tf.gather(drawn, places)

    if crop:
      height, width = self.size
      room = tf.constant(
          [self.stored[0] - height + 1, self.stored[1] - width + 1],
          tf.float32)
      offset = tf.cast(draws('crop', [2]) * room, tf.int32)
      rows = offset[:, :1] + tf.range(height)
      columns = offset[:, 1:] + tf.range(width)
      images = tf.gather(images, rows, axis=1, batch_dims=1)
      images = tf.gather(images, columns, axis=2, batch_dims=1)
    if self.flip:
      mirror = draws('flip', []) < 0.5
      images = tf.where(
          mirror[:, None, None, None], images[:, :, ::-1], images)
    return self._standard(
        tf.ensure_shape(images, (count, *self.size, channels)))

  def evaluate(self, images: tf.Tensor) -> tf.Tensor:
    """The middle of images [b, h, w, C]: [b, H, W, C]."""
    height, width = self.size
    top = (self.stored[0] - height) // 2
    left = (self.stored[1] - width) // 2
    return self._standard(images[:, top:top + height, left:left + width])

  def _standard(self, images: tf.Tensor) -> tf.Tensor:
    return levels.standard(images) if self.standard_levels else images

  def describe(self) -> str:
    """The augmentation in words."""
    parts = []
    if self.stored != self.size:
      parts.append(
          'training: a random {}x{} crop of {}x{}; evaluation: the middle'
          .format(*self.size, *self.stored))
    if self.flip:
      parts.append('training: mirrored left to right half of the time')
    if self.standard_levels:
      parts.append('levels stretched, dark on light inverted')
    return '; '.join(parts) or 'none'

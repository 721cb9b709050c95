"""A pool of past translations for the critics."""

from __future__ import annotations

import tensorflow as tf

from alignflow_tf.train import replicas


class ImagePool(tf.Module):
  """Keeps past translations, so that critics do not forget.

  While the pool fills, images pass through and are kept. After that, with
  probability 0.5 an image takes the place of a kept one, which is returned
  instead; otherwise the image itself is returned. The images are in variables,
  so that checkpoints hold them.

  #### References

  [1]: Ashish Shrivastava et al. Learning from Simulated and Unsupervised Images
       through Adversarial Training. In _CVPR_, 2017, section 2.3.
       https://arxiv.org/abs/1612.07828
  """

  def __init__(self, size: int, image_shape: tuple[int, int, int]):
    """Makes an empty pool.

    Args:
      size: Number of images kept; 0 turns the pool off.
      image_shape: `(height, width, channels)`.

    Raises:
      ValueError: If `size` is negative.
    """
    super().__init__(name='image_pool')
    if not isinstance(size, int) or size < 0:
      raise ValueError(f'`size` must be a non-negative integer, got {size!r}.')
    self._size = size
    self._images = tf.Variable(
        tf.zeros([size, *image_shape]), trainable=False, name='images')
    self._count = tf.Variable(
        tf.zeros([], tf.int32), trainable=False, name='count')

  def query(self, images: tf.Tensor, seed: tf.Tensor,
            where: tf.Tensor | bool = True) -> tf.Tensor:
    """Exchanges images with the pool.

    Replicas of a step have equal copies of one pool, and exchange the first
    images of all of them.

    Args:
      images: `[B, H, W, C]`.
      seed: Stateless seed, two integers, the same for all replicas.
      where: Boolean scalar; if False, nothing is kept.

    Returns:
      `[B, H, W, C]`, some of them images of earlier calls.
    """
    if not self._size:
      return images
    everything = replicas.gather(images)
    candidates = everything[:self._size]
    used = tf.shape(candidates)[0]
    seeds = tf.random.split(seed, 2)
    kept = self._count
    filling = kept < self._size
    # The images of a batch have different places, so that the order in which
    # they are written does not matter. (XLA has no op that shuffles.)
    order = tf.argsort(tf.random.stateless_uniform([self._size], seeds[0]))
    fill = tf.range(used) + kept
    places = tf.where(filling, fill % self._size, order[:used])
    stored = tf.gather(self._images, places)
    coin = tf.random.stateless_uniform([used, 1, 1, 1], seeds[1]) < 0.5
    swap = tf.logical_and(coin, tf.logical_not(filling))
    store = tf.logical_or(
        swap,
        tf.logical_and(filling, fill < self._size)[:, tf.newaxis, tf.newaxis,
                                                   tf.newaxis])
    store = tf.logical_and(store, where)
    out = tf.where(swap, stored, candidates)
    tf.raw_ops.ResourceScatterUpdate(
        resource=self._images.handle, indices=places,
        updates=tf.where(store, candidates, stored))
    replicas.assign(
        self._count, tf.where(where, tf.minimum(kept + used, self._size), kept))
    return replicas.part(
        tf.concat([out, everything[self._size:]], axis=0), replicas.count())

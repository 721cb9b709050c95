"""Several translations of an image: the part that it leaves open is drawn.

A map does not say where the trees of a photograph stand. The translation of
equation 5 gives each map one photograph, since a flow is a bijection. Here a
part of the latent is left to chance:

```
z  = G_{Z->A}^-1(a)
z' = z, but for every n-th pixel along each axis, which is drawn from p_Z
b  = G_{Z->B}(z')
```

Each draw gives another b. The way back of any of them, G_{B->A}(b), has the
latent z': what was kept of z, and the pixels that were drawn. So all of them
come back to a, as nearly as those pixels show in domain A at all. Training sees
to that (`--many`, with `--eight_bit_weight`), as critics of B see to that every
draw looks like B.

Augmented CycleGAN [1] gives its networks a latent beside the image, and MUNIT
[2] encodes an image as content and style. A flow has both in one latent, whose
density it knows.

#### References

[1]: Amjad Almahairi et al. Augmented CycleGAN: Learning Many-to-Many Mappings
     from Unpaired Data. In _ICML_, 2018. https://arxiv.org/abs/1802.10151
[2]: Xun Huang, Ming-Yu Liu, Serge Belongie, Jan Kautz. Multimodal Unsupervised
     Image-to-Image Translation. In _ECCV_, 2018.
     https://arxiv.org/abs/1804.04732
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from alignflow_tf import _checks
from alignflow_tf import protocols

__all__ = ['redraw', 'translate']


def redraw(latents: tf.Tensor, drawn: tf.Tensor, every: int) -> tf.Tensor:
  """Latents whose pixels at multiples of `every`, on both axes, are others.

  Args:
    latents: `[B, H, W, C]`.
    drawn: Latents to take these pixels from, `[B, H, W, C]` or
      `[1, H, W, C]`.
    every: Distance of these pixels, at least 1: a share of `1 / every**2`.

  Returns:
    A `Tensor` of the shape of `latents`.

  Raises:
    ValueError: If `every` is not a positive integer.

  Examples:
    >>> z = one_to_many.redraw(tf.zeros([1, 4, 4, 1]), tf.ones([1, 4, 4, 1]), 2)
    >>> int(tf.reduce_sum(z))
    4
  """
  every = _checks.integer('every', every)
  height, width = tf.shape(latents)[1], tf.shape(latents)[2]
  rows, columns = (tf.equal(tf.range(n) % every, 0) for n in (height, width))
  free = (rows[:, tf.newaxis] & columns)[..., tf.newaxis]
  return tf.where(free, drawn, latents)


def translate(model: protocols.HasLatents, images: tf.Tensor, source: str,
              target: str, seed: Any, every: int = 4) -> tf.Tensor:
  """One of many translations of each image.

  Args:
    model: A model with latents.
    images: Images `[B, H, W, C]` of the source in [0, 1].
    source: Name of the source domain.
    target: Name of the target domain.
    seed: Stateless seed, two integers: another seed, another translation.
    every: As in `redraw`.

  Returns:
    Images of the target, `[B, H, W, C]`.

  Raises:
    KeyError: If there is no such domain.
    ValueError: If `every` is not a positive integer.

  Examples:
    >>> model = alignflow_tf.AlignFlow(('a', 'b'), (4, 4, 1), flows.view)
    >>> x = tf.constant(0.5, shape=[2, 4, 4, 1])
    >>> one_to_many.translate(model, x, 'a', 'b', seed=(0, 1)).shape
    TensorShape([2, 4, 4, 1])
  """
  latents = model.encode(images, source)
  drawn = tf.random.stateless_normal(
      tf.shape(latents), seed, dtype=latents.dtype)
  return model.decode(redraw(latents, drawn, every), target)

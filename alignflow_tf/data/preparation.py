"""How a picture of any size becomes an image of a trained model."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

from alignflow_tf._lazy import tensorflow as tf
from alignflow_tf.data import levels
from alignflow_tf.data.recipe import FITS
from alignflow_tf.data.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Preparation:
  """How a picture of any size becomes an image of the model, as in training.

  Attributes:
    fit: 'crop', 'stretch' or 'pad'; see `alignflow_tf.data.recipe.FITS`.
    method: Method of `tf.image.resize`, with antialiasing.
    load_size: Side of a square, or (height, width), of which the middle of the
      model's size is cut out, as in evaluation; None for the model's size.
    standard_levels: Whether the image is brought to `levels.standard`.
  """
  fit: str = 'crop'
  method: str = 'bilinear'
  load_size: int | tuple[int, int] | None = None
  standard_levels: bool = False

  @classmethod
  def of(cls, facts: Mapping[str, Any], domain: str,
         load_size: int | tuple[int, int] | None = None) -> Preparation:
    """Reads the rule of a domain from a run's `data.json`.

    Args:
      facts: The result of `DomainSet.describe`; may be empty.
      domain: Name of the domain.
      load_size: `load_size` of the run's configuration.

    Returns:
      The rule; where nothing is known, that of picture folders.
    """
    rule = facts.get('domains', {}).get(domain, {}).get('resizing')
    if rule is None:
      return cls(load_size=load_size)
    for fit, words in FITS.items():
      if rule.startswith(words):
        return cls(fit, load_size=load_size)
    # Data sets of one image size are resized whole.
    return cls('stretch', 'bicubic' if rule.startswith('bicubic') else
               'bilinear')

  def apply(self, image: tf.Tensor, orientation: tf.Tensor | None,
            event_shape: tuple[int, int, int]) -> tf.Tensor:
    """Brings a decoded picture to the model's size and channels.

    Args:
      image: uint8 `[h, w, c]`, c from 1 to 4.
      orientation: Exif orientation, 1 to 8; None for an upright picture.
      event_shape: `(H, W, C)`, C being 1 or 3.

    Returns:
      uint8 `[H, W, C]`.
    """
    size, channels = event_shape[:2], event_shape[2]
    loaded = self.load_size or size
    if isinstance(loaded, int):
      loaded = loaded, loaded
    image = Recipe(loaded, channels, self.fit, method=self.method).apply(
        image, orientation)
    top, left = ((a - b) // 2 for a, b in zip(loaded, size, strict=True))
    image = tf.ensure_shape(
        image[top:top + size[0], left:left + size[1]], event_shape)
    return levels.standard(image) if self.standard_levels else image

"""Pictures as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import os

import numpy as np
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import images as images_lib
from alignflow_tf.data import decoding
from alignflow_tf.data import pixels
from alignflow_tf.data.preparation import Preparation
from alignflow_tf.translate import files
from alignflow_tf.translate import models
from alignflow_tf.translate import tiles as tiles_lib

__all__ = ['Picture', 'Reader', 'to_levels']

# Largest side of a tile of a convolutional model.
_WINDOW = 512


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture, ready for a model.

  Attributes:
    item: Its file.
    layout: Where its tiles lie.
    tiles: Its tiles, float32 `[N, H, W, C]`.
    note: What a user should know of how it was read, or ''.
    exact: Whether the tiles are the float32 values beside the file.
  """

  item: files.Item
  layout: tiles_lib.Layout
  tiles: np.ndarray
  note: str = ''
  exact: bool = False


class Reader:
  """Reads pictures of one domain, or latents, for a model.

  A picture of its own size is one tile where the model is convolutional and the
  picture is not larger than 512 pixels a side, else overlapping tiles.

  Attributes:
    domain: The domain, or `files.LATENT`.
  """

  def __init__(self, opened: models.Opened, domain: str, size: str = 'model',
               fit: str | None = None,
               max_pixels: int = decoding.MAX_PIXELS):
    """Prepares the functions.

    Args:
      opened: The model.
      domain: The domain, or `files.LATENT`.
      size: 'model', or 'original' for pictures of their own size.
      fit: How they are brought to the model's size; as in training by default.
      max_pixels: Largest width * height that is decoded.
    """
    self.domain = domain
    self._size = size
    self._max_pixels = max_pixels
    self._shape = opened.model.event_shape
    self._multiple = opened.multiple
    self._window, self._rounding = self._shape[:2], 0
    if size == 'original' and opened.multiple:
      self._rounding = opened.multiple
      self._window = (_WINDOW // opened.multiple * opened.multiple,) * 2
    preparation = opened.preparations.get(domain, Preparation())
    if fit is not None:
      preparation = dataclasses.replace(preparation, fit=fit)

    def prepare(picture: tf.Tensor) -> tf.Tensor:
      if size == 'model':
        return preparation.apply(picture, None, self._shape)
      return pixels.to_uint8(pixels.resize(
          picture, tf.shape(picture)[:2], self._shape[2]))

    self._prepare = tf.function(prepare, autograph=False, input_signature=[
        tf.TensorSpec([None, None, None], tf.uint8)])

  def ahead(self, items: Sequence[files.Item]) -> int:
    """Number of pictures to decode ahead: few, where they may be large."""
    large = self._size == 'original' or self.domain == files.LATENT or any(
        os.path.exists(_exact_path(item)) for item in items)
    return 4 if large else 64

  def levels(self, item: files.Item) -> np.ndarray | str:
    """uint8 `[H, W, C]`; a line where the file cannot be read."""
    try:
      return self._prepared(self._decoded(item))
    except (decoding.UnreadableError, tf.errors.OpError) as e:
      return f'{item.path}: {_io.first_line(e)}'

  def __call__(self, item: files.Item) -> Picture | str:
    """The picture; a line where the file cannot be read."""
    try:
      picture = self._read(item)
      shape = picture.tiles.shape[1:]
      if shape != self._shape and (
          not self._multiple or shape[2] != self._shape[2] or any(
              n % self._multiple for n in shape[:2])):
        raise decoding.UnreadableError(
            f'its tiles are {shape}, and the model takes {self._shape}')
      return picture
    except (decoding.UnreadableError, tf.errors.OpError) as e:
      return f'{item.path}: {_io.first_line(e)}'

  def _read(self, item: files.Item) -> Picture:
    if self.domain == files.LATENT:
      return Picture(item, *files.unpack(item.path, files.LATENT))
    levels = self._decoded(item)
    beside, note = _exact_path(item), ''
    if os.path.exists(beside):
      try:
        layout, tiles = files.unpack(beside, self.domain)
        if np.array_equal(levels, to_levels(layout.join(tiles))):
          return Picture(item, layout, tiles, exact=True)
        note = f'{beside} belongs to another picture'
      except decoding.UnreadableError as e:
        note = f'{beside}: {e}'
      note += f': the 8 bits of {item.path} are translated'
    levels = self._prepared(levels)
    layout = tiles_lib.plan(levels.shape[:2], self._window, self._rounding)
    with tf.device('/CPU:0'):
      tiles = images_lib.from_uint8(tf.constant(layout.split(levels))).numpy()
    return Picture(item, layout, tiles, note)

  def _decoded(self, item: files.Item) -> np.ndarray:
    decoding.inspect(item.path, self._max_pixels)
    return decoding.decode(item.path)

  def _prepared(self, picture: np.ndarray) -> np.ndarray:
    with tf.device('/CPU:0'):
      return self._prepare(picture).numpy()


def _exact_path(item: files.Item) -> str:
  return f'{os.path.splitext(item.path)[0]}.npz'


def to_levels(image: np.ndarray) -> np.ndarray:
  """uint8 levels of an image in [0, 1]."""
  with tf.device('/CPU:0'):
    return images_lib.to_uint8(tf.constant(image)).numpy()

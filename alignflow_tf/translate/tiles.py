"""Pictures as tiles of a size that a model takes, and back."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ['Layout', 'plan']


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the tiles of a picture lie.

  Attributes:
    size: (height, width) of the picture.
    tile: (height, width) of a tile.
    tops: First rows of the tiles.
    lefts: First columns of the tiles.
  """

  size: tuple[int, int]
  tile: tuple[int, int]
  tops: tuple[int, ...] = (0,)
  lefts: tuple[int, ...] = (0,)

  def split(self, image: np.ndarray) -> np.ndarray:
    """The tiles of a picture.

    Args:
      image: The picture `[height, width, C]`. Where tiles reach beyond it, it
        is mirrored at its lower and right edges.

    Returns:
      Tiles `[N, h, w, C]`, row by row.
    """
    margins = [(0, max(0, t - n)) for n, t in zip(
        self.size, self.tile, strict=True)]
    image = np.pad(image, [*margins, (0, 0)], mode='symmetric')
    height, width = self.tile
    return np.stack([image[top:top + height, left:left + width]
                     for top in self.tops for left in self.lefts])

  def join(self, tiles: np.ndarray) -> np.ndarray:
    """The picture of `split`; where tiles overlap, they fade into each other.

    Args:
      tiles: Tiles `[N, h, w, C]`.

    Returns:
      The picture `[height, width, C]`.
    """
    height, width = self.size
    if len(tiles) == 1:
      return tiles[0, :height, :width]
    total = np.zeros((*(max(n, t) for n, t in zip(
        self.size, self.tile, strict=True)), tiles.shape[-1]), np.float32)
    weights = np.zeros((*total.shape[:2], 1), np.float32)
    rows, columns = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1))
                     for n in self.tile)
    weight = (rows[:, np.newaxis] * columns)[..., np.newaxis].astype(np.float32)
    for i, tile in enumerate(tiles):
      top = self.tops[i // len(self.lefts)]
      left = self.lefts[i % len(self.lefts)]
      place = np.s_[top:top + self.tile[0], left:left + self.tile[1]]
      total[place] += weight * tile
      weights[place] += weight
    return (total / weights)[:height, :width]


def plan(size: tuple[int, int], window: tuple[int, int],
         multiple: int = 0) -> Layout:
  """Lays tiles over a picture.

  Args:
    size: (height, width) of the picture.
    window: (height, width) of a tile; adjacent ones overlap by a quarter or
      more.
    multiple: Where it is not 0, a picture smaller than a window has a tile of
      its own size, rounded up to a multiple of this number, which must divide
      the window.

  Returns:
    The layout.
  """
  tile, starts = [], []
  for length, side in zip(size, window, strict=True):
    if multiple:
      side = min(side, -(-length // multiple) * multiple)
    tile.append(side)
    stride = side - side // 4
    count = 1 + max(0, -(-(length - side) // stride))
    starts.append(tuple(
        round(start) for start in np.linspace(0, max(0, length - side), count)))
  return Layout(size, (tile[0], tile[1]), starts[0], starts[1])

"""Palettes: the colours that stand for classes in maps and label pictures."""

from __future__ import annotations

import numpy as np

# Colours of the CMP Facade Database's label pictures: background, facade,
# window, door, cornice, sill, balcony, blind, deco, molding, pillar, shop.
_FACADES = (
    (0, 0, 170), (0, 0, 255), (0, 85, 255), (0, 170, 255), (0, 255, 255),
    (85, 255, 170), (170, 255, 85), (255, 255, 0), (255, 170, 0), (255, 85, 0),
    (255, 0, 0), (170, 0, 0))
# The commonest colours of the training maps (64x64, quantised by 8): land,
# road, motorway, water, park. Reducing blurs streets into land.
_MAPS = (
    (236, 230, 223), (255, 255, 250), (252, 156, 36), (180, 210, 254),
    (203, 222, 173))
# Colours of the Cityscapes classes that are evaluated: road, sidewalk,
# building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain,
# sky, person, rider, car, truck, bus, train, motorcycle, bicycle.
_CITYSCAPES = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156),
    (190, 153, 153), (153, 153, 153), (250, 170, 30), (220, 220, 0),
    (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
    (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230),
    (119, 11, 32))

_PALETTES = {
    ('facades', 'label'): _FACADES,
    ('maps', 'map'): _MAPS,
    ('cityscapes', 'label'): _CITYSCAPES,
}


def of(dataset: str, domain: str, channels: int = 3) -> np.ndarray | None:
  """The palette of a domain.

  Returns:
    Colours `[K, 3]` in [0, 1], or None where the domain is not drawn with few
    colours, or its images have lost them.
  """
  colours = _PALETTES.get((dataset, domain)) if channels == 3 else None
  return None if colours is None else np.asarray(colours, np.float64) / 255.

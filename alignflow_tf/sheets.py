"""Sheets: a model's images laid out as one picture, and GIFs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import io
import os

import numpy as np
from PIL import Image
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import inference

# Number of images among which the worst round trips are searched.
_SEARCHED = 1000
# Number of frames of an animation, one way.
_FRAMES = 25


def grid(rows: list[np.ndarray], gap: int = 2, scale: int = 1) -> np.ndarray:
  """Lays out rows of images as one picture.

  Args:
    rows: A list of arrays `[N, H, W, C]`, float in [0, 1] (clipped) or uint8,
      of 1 or 3 channels, of one image size.
    gap: White pixels between images, before scaling.
    scale: Positive integer, by which pixels are repeated.

  Returns:
    A uint8 array `[height, width, 3]`.

  Raises:
    ValueError: If there are no images, or a number is out of range.
  """
  if not rows or not all(len(row) for row in rows):
    raise ValueError(f'`rows` must hold images, got {rows!r}.')
  for name, value, least in (('gap', gap, 0), ('scale', scale, 1)):
    if not isinstance(value, int) or value < least:
      raise ValueError(
          f'`{name}` must be an integer of at least {least}, got {value!r}.')
  columns = max(len(row) for row in rows)
  height, width = rows[0].shape[1:3]
  canvas = np.full(
      (len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3),
      255, np.uint8)
  for i, row in enumerate(rows):
    pixels = np.asarray(row)
    if pixels.dtype != np.uint8:
      pixels = np.clip(np.floor(pixels * 256.), 0, 255).astype(np.uint8)
    for j, image in enumerate(pixels):
      top, left = gap + i * (height + gap), gap + j * (width + gap)
      canvas[top:top + height, left:left + width] = image
  return canvas.repeat(scale, axis=0).repeat(scale, axis=1)


def _zoom(height: int) -> int:
  return max(1, 64 // height)


def translations(evaluator: inference.Evaluator, images: np.ndarray,
                 source: str, target: str, partners: np.ndarray | None = None
                ) -> np.ndarray:
  """Rows: images, their translations, the way back, and true partners.

  Args:
    evaluator: Evaluator of the model.
    images: float32 images `[N, H, W, C]` in [0, 1] of the source domain.
    source: Its name.
    target: The domain to translate to.
    partners: The true partners of the images, where they are known.

  Returns:
    A uint8 picture `[height, width, 3]`.
  """
  translated = evaluator.translate(images, source, target)
  back = evaluator.translate(translated, target, source)
  rows = [images, translated, back]
  if partners is not None:
    rows.append(partners)
  return grid(rows, scale=_zoom(images.shape[1]))


def round_trip_errors(evaluator: inference.Evaluator, images: np.ndarray,
                      source: str, target: str) -> np.ndarray:
  """Mean absolute error of each image's round trip, `[N]`, in [0, 1]."""
  back = evaluator.translate(
      evaluator.translate(images, source, target), target, source)
  return np.abs(back - images).mean(axis=(1, 2, 3))


def worst_round_trips(
    evaluators: Sequence[inference.Evaluator], images: np.ndarray, source: str,
    target: str, num: int = 12) -> np.ndarray:
  """Rows: images, then for each model their translations and the way back.

  The images are those whose round trip by the first model is the worst, as in
  figure 3 of the paper.

  Args:
    evaluators: Evaluators of models of the same domains.
    images: float32 images `[N, H, W, C]` in [0, 1] of the source domain.
    source: Its name.
    target: The domain in between.
    num: Number of images shown at most.

  Returns:
    A uint8 picture `[height, width, 3]`.
  """
  errors = round_trip_errors(evaluators[0], images, source, target)
  # Errors that are not finite are the worst.
  errors = np.nan_to_num(errors, nan=np.inf)
  shown = images[np.argsort(-errors, kind='stable')[:num]]
  rows = [shown]
  for evaluator in evaluators:
    rows.append(evaluator.translate(shown, source, target))
    rows.append(evaluator.translate(rows[-1], target, source))
  return grid(rows, scale=_zoom(images.shape[1]))


def joint_samples(evaluator: inference.Evaluator) -> np.ndarray:
  """A row for each domain: samples paired by their latent (section 3.4)."""
  model = evaluator.model
  z = np.random.RandomState(0).standard_normal((16, *model.event_shape))
  rows = [evaluator.decode(z.astype(np.float32), d) for d in model.domains]
  return grid(rows, scale=_zoom(model.event_shape[0]))


def interpolation(evaluator: inference.Evaluator, first: np.ndarray,
                  last: np.ndarray, source: str) -> np.ndarray:
  """Rows: an interpolation in its domain, and decoded into the others.

  Args:
    evaluator: Evaluator of the model.
    first: float32 images `[N, H, W, C]` at the left end.
    last: As many images at the right end.
    source: Their domain.

  Returns:
    A uint8 picture `[height, width, 3]`.
  """
  frames = _frames(evaluator, first, last, source, 11)
  rows = [frames[d][i] for i in range(len(first)) for d in frames]
  return grid(rows, scale=_zoom(evaluator.model.event_shape[0]))


def animation(evaluator: inference.Evaluator, first: np.ndarray,
              last: np.ndarray, source: str) -> bytes:
  """An interpolation there and back as a GIF, a column for each pair.

  The arguments are those of `interpolation`; the first row is in the source
  domain, the others below.
  """
  frames = _frames(evaluator, first, last, source, _FRAMES)
  pages = [
      Image.fromarray(grid(
          [found[:, i] for found in frames.values()],
          scale=_zoom(evaluator.model.event_shape[0])))
      for i in range(_FRAMES)]
  pages += pages[-2:0:-1]
  # One palette for all frames, as several would flicker.
  palette = Image.fromarray(
      np.concatenate([np.asarray(p) for p in pages[:_FRAMES:_FRAMES // 4]])
  ).quantize(256)
  pages = [page.quantize(palette=palette) for page in pages]
  content = io.BytesIO()
  pages[0].save(content, 'GIF', save_all=True, append_images=pages[1:], loop=0,
                duration=80)
  return content.getvalue()


def _frames(evaluator: inference.Evaluator, first: np.ndarray,
            last: np.ndarray, source: str, num: int) -> dict[str, np.ndarray]:
  """Frames `[N, num, H, W, C]` by domain, the source first."""
  frames = evaluator.interpolate(first, last, source, num)
  return {source: frames.pop(source), **frames}


def write_png(path: str, picture: np.ndarray) -> None:
  """Writes a uint8 picture as a PNG."""
  _io.write_aside(path, tf.io.encode_png(picture).numpy())


def write_all(directory: str, evaluator: inference.Evaluator,
              images: Mapping[str, np.ndarray],
              paired: bool = False) -> list[str]:
  """Writes the sheets of a model, and its interpolations as GIFs.

  Args:
    directory: An existing directory.
    evaluator: Evaluator of the model.
    images: For each domain, some float32 images in [0, 1]; fewer than 2 give no
      interpolation. A model without latents gives neither that nor samples.
    paired: Whether images of one index are partners.
  """
  sheets, paths = {}, []
  domains = evaluator.model.domains
  for source in domains:
    for target in domains:
      if source != target:
        sheets[f'{source}_to_{target}'] = translations(
            evaluator, images[source][:16], source, target,
            images[target][:16] if paired else None)
        sheets[f'worst_{source}_to_{target}'] = worst_round_trips(
            [evaluator], images[source][:_SEARCHED], source, target)
    few = images[source][:6]
    half = len(few) // 2
    if half and evaluator.has_latents:
      sheets[f'interpolation_{source}'] = interpolation(
          evaluator, few[:half], few[half:2 * half], source)
      paths.append(os.path.join(directory, f'interpolation_{source}.gif'))
      _io.write_aside(paths[-1], animation(
          evaluator, few[:half], few[half:2 * half], source))
  if evaluator.has_latents:
    sheets['samples'] = joint_samples(evaluator)
  for name, sheet in sheets.items():
    paths.append(os.path.join(directory, f'{name}.png'))
    write_png(paths[-1], sheet)
  return paths

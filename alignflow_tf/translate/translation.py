"""Translates files, batch by batch, and goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
import dataclasses
import json
import os

import numpy as np
import tensorflow as tf

from alignflow_tf import _io
from alignflow_tf import _progress
from alignflow_tf import inference
from alignflow_tf import sheets
from alignflow_tf.data import pictures as pictures_lib
from alignflow_tf.translate import files
from alignflow_tf.translate import models
from alignflow_tf.translate import reading

__all__ = ['THREADS', 'Summary', 'check_settings', 'translate']

THREADS = min(8, os.cpu_count() or 4)
_NOT_FINITE = (
    'its translation has NaN or infinity: it is too far from what the model '
    'knows')


@dataclasses.dataclass
class Summary:
  """The result of a translation.

  Attributes:
    done: Number of files that were read and answered.
    exact: Number of them whose float32 values were read, and not their 8 bits.
    kept: Number of files that were answered before.
    failed: Lines on the others.
  """

  done: int = 0
  exact: int = 0
  kept: int = 0
  failed: list[str] = dataclasses.field(default_factory=list)

  def __iadd__(self, other: Summary) -> Summary:
    self.done += other.done
    self.exact += other.exact
    self.kept += other.kept
    self.failed += other.failed
    return self


def check_settings(output: str, settings: dict[str, object]) -> None:
  """Refuses an output folder of other settings; writes these into it.

  Raises:
    TranslateError: If the folder holds outputs of other settings.
  """
  path = os.path.join(output, files.SETTINGS)
  os.makedirs(output, exist_ok=True)
  found = settings
  if os.path.exists(path):
    try:
      with open(path, encoding='utf-8') as f:
        found = dict(json.load(f))
    except ValueError:
      found = {}
  other = [f'{name}: {found.get(name)!r} there, {settings[name]!r} here'
           for name in settings if found.get(name) != settings[name]]
  if other:
    raise files.TranslateError(
        f'`output` {output!r} holds outputs of other settings '
        f'({"; ".join(other)}); name another folder, or empty it.')
  _io.dump(path, settings)


def translate(
    opened: models.Opened, reader: reading.Reader, items: Sequence[files.Item],
    target: str, output: str, exact: bool = False, batch_size: int = 16,
    draw: int | None = None,
) -> Summary:
  """Translates files, but for those whose outputs are there and newer.

  Args:
    opened: The model.
    reader: Reads pictures of the source domain, or latents.
    items: The files.
    target: The target domain, or `files.LATENT`.
    output: Folder of the outputs.
    exact: Whether the float32 values are written too.
    batch_size: Images of the model's size at a time.
    draw: Seed of a translation of many (`one_to_many`); None for the one of
      the model's translator.

  Returns:
    Numbers of files done and kept, and lines on failures.

  Raises:
    OSError: If an output cannot be written.
  """
  ending = '.npz' if target == files.LATENT else '.png'

  def path_of(item: files.Item) -> str:
    return os.path.join(output, *f'{item.stem}{ending}'.split('/'))

  def write(picture: reading.Picture, tiles: np.ndarray) -> None:
    path = path_of(picture.item)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if exact or target == files.LATENT:
      _io.write_aside(f'{path[:-4]}.npz',
                      files.pack(picture.layout, tiles, target))
    if target != files.LATENT:  # Last: a picture that is there is done.
      sheets.write_png(path, reading.to_levels(picture.layout.join(tiles)))

  waiting = [i for i in items if not _is_newer(path_of(i), i.path)]
  summary = Summary(kept=len(items) - len(waiting))
  evaluator = inference.Evaluator(
      opened.model, batch_size, any_size=bool(opened.multiple))
  apply = _pass(evaluator, batch_size, reader.domain, target,
                None if draw is None else (opened.many[target], draw))
  progress = _progress.Progress(len(waiting), 'pictures')
  writes: list[futures.Future[None]] = []
  with futures.ThreadPoolExecutor(THREADS) as pool:
    for results in pictures_lib.ahead(
        pool, reader, waiting, reader.ahead(waiting)):
      pictures = [r for r in results if isinstance(r, reading.Picture)]
      failed = [r for r in results if isinstance(r, str)]
      if pictures and not summary.done and ending == '.png' and (
          reader.domain != files.LATENT):
        progress.say(_way_back(
            evaluator, pictures[0].tiles[:batch_size], reader.domain, target,
            exact, apply))
      translated = _translated(apply, pictures)
      for written in writes:  # Of the batch before: memory holds two.
        written.result()
      writes = []
      for picture, tiles in translated:
        if isinstance(tiles, str):
          failed.append(f'{picture.item.path}: {tiles}')
        else:
          writes.append(pool.submit(write, picture, tiles))
          summary.done += 1
          summary.exact += picture.exact
      for line in (*failed, *(p.note for p in pictures if p.note)):
        progress.say(line)
      summary.failed += failed
      progress.update(summary.done + len(summary.failed))
    for written in writes:
      written.result()
  progress.close()
  return summary


def _is_newer(path: str, source: str) -> bool:
  try:
    return os.path.getmtime(path) >= os.path.getmtime(source)
  except OSError:
    return False


def _pass(evaluator: inference.Evaluator, batch_size: int, source: str,
          target: str, draw: tuple[int, int] | None = None,
          ) -> Callable[[np.ndarray], np.ndarray]:
  """The function of tiles `[N, H, W, C]` that takes source to target."""
  height, width, _ = evaluator.model.event_shape

  def apply(tiles: np.ndarray) -> np.ndarray:
    # Larger tiles are fewer at a time.
    evaluator.batch_size = max(
        1, batch_size * height * width // (tiles.shape[1] * tiles.shape[2]))
    if source == files.LATENT:
      return evaluator.decode(tiles, target)
    if target == files.LATENT:
      return evaluator.encode(tiles, source)
    if draw is not None:
      every, seed = draw
      return next(evaluator.draws(tiles, source, target, every, [seed]))
    return evaluator.translate(tiles, source, target)

  return apply


def _translated(
    apply: Callable[[np.ndarray], np.ndarray],
    pictures: Sequence[reading.Picture],
) -> list[tuple[reading.Picture, np.ndarray | str]]:
  """The tiles of each picture, translated; a line where they cannot be."""
  groups: dict[tuple[int, ...], list[reading.Picture]] = {}
  for picture in pictures:
    groups.setdefault(picture.tiles.shape[1:], []).append(picture)
  results: list[tuple[reading.Picture, np.ndarray | str]] = []
  for group in groups.values():
    try:
      tiles = apply(np.concatenate([p.tiles for p in group]))
    except tf.errors.InvalidArgumentError as e:  # A SavedModel refuses one.
      if len(group) == 1:
        results.append((group[0], _io.first_line(e)))
      else:
        for picture in group:
          results += _translated(apply, [picture])
      continue
    ends = np.cumsum([len(p.tiles) for p in group])[:-1]
    results += [(p, part if np.isfinite(part).all() else _NOT_FINITE)
                for p, part in zip(group, np.split(tiles, ends), strict=True)]
  return results


def _way_back(evaluator: inference.Evaluator, tiles: np.ndarray, source: str,
              target: str, exact: bool,
              apply: Callable[[np.ndarray], np.ndarray]) -> str:
  """A line on the error of translating to the target and back."""
  try:
    trip = evaluator.round_trip(tiles, source, target, as_picture=not exact,
                                translated=apply(tiles))
  except (files.TranslateError, tf.errors.InvalidArgumentError) as e:
    return f'The way back was not tried: {_io.first_line(e)}'
  if exact:
    return ('The way back from exact values, first picture: largest error '
            f'{trip["max"]:.1e} of a pixel in [0, 1].')
  return ('The way back from 8 bits, first picture: off by '
          f'{256 * trip["mean"]:.2f} of 256 levels in the mean, '
          f'{256 * trip["max"]:.0f} at most (--exact: see docs/translate.md).')

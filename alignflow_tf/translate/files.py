"""The files that a translation reads and writes."""

from __future__ import annotations

import collections
from collections.abc import Sequence
import dataclasses
import io
import os
from typing import Any

import numpy as np

from alignflow_tf import _errors
from alignflow_tf import _io
from alignflow_tf.data import decoding
from alignflow_tf.data import pictures
from alignflow_tf.translate import tiles as tiles_lib

__all__ = [
    'Item', 'LATENT', 'SETTINGS', 'TranslateError', 'find', 'pack', 'unpack'
]

LATENT = 'latent'
# Name of the file with the settings of an output folder.
SETTINGS = 'translate.json'


class TranslateError(_errors.UserError, ValueError):
  """Arguments that cannot be used; says which, and what would do."""


@dataclasses.dataclass(frozen=True)
class Item:
  """A file to be translated.

  Attributes:
    path: Its path.
    name: Its path relative to the input folder, or its own name.
    stem: The output's path relative to the output folder, without an ending.
  """

  path: str
  name: str
  stem: str


def find(inputs: Sequence[str], latents: bool) -> tuple[list[Item], str]:
  """Finds the files to translate.

  An output has its input's name, ending in .png or .npz. Inputs that differ in
  their endings alone keep them: `a.jpg.png` and `a.webp.png`.

  Args:
    inputs: Files and folders.
    latents: Whether latents (.npz) are to be read, and not pictures.

  Returns:
    The files, sorted within each input, and those that are not read, in words.

  Raises:
    TranslateError: If an input is missing, or two have one name.
  """
  found: list[tuple[str, str]] = []
  others: list[str] = []
  for path in inputs:
    if os.path.isdir(path):
      names, other = pictures.find(path)
      if latents:
        names, other = [n for n in other if n.endswith('.npz')], []
      found += [(os.path.join(path, *n.split('/')), n) for n in names]
      # Written by an earlier translation, together with the pictures.
      others += [n for n in other if not n.endswith(('.npz', SETTINGS))]
    elif os.path.exists(path):
      found.append((path, os.path.basename(path)))
    else:
      raise TranslateError(
          f'`input` must name files and folders, got {path!r}, which does not '
          'exist.')
  ignored = pictures.say_ignored(pictures.count_ignored(others))
  if not found:
    raise TranslateError(
        f'`input` must hold {"latents (.npz)" if latents else "pictures"}, got '
        f'{list(inputs)}, with {ignored or "nothing"}.')
  stems = [os.path.splitext(name)[0] for _, name in found]
  counts = collections.Counter(stems)
  stems = [stem if counts[stem] == 1 else name
           for stem, (_, name) in zip(stems, found, strict=True)]
  for stem, count in collections.Counter(stems).items():
    if count > 1:
      raise TranslateError(
          f'`input` has two files of the name {stem!r}; translate their '
          'folders one by one.')
  return [Item(path, name, stem)
          for (path, name), stem in zip(found, stems, strict=True)], ignored


def pack(layout: tiles_lib.Layout, tiles: np.ndarray, domain: str) -> bytes:
  """A compressed .npz of float32 tiles; `unpack` is its inverse."""
  content = io.BytesIO()
  values: dict[str, Any] = {
      'tiles': tiles.astype(np.float32), 'size': layout.size,
      'tops': layout.tops, 'lefts': layout.lefts, 'domain': domain}
  np.savez_compressed(content, allow_pickle=False, **values)
  return content.getvalue()


def unpack(path: str, domain: str) -> tuple[tiles_lib.Layout, np.ndarray]:
  """Reads the file of `pack`.

  Args:
    path: The file.
    domain: The domain that its values must be of.

  Returns:
    The layout, and float32 tiles `[N, H, W, C]`.

  Raises:
    UnreadableError: If it is damaged or of another domain.
  """
  try:
    with np.load(path, allow_pickle=False) as f:
      tiles, own = f['tiles'], str(f['domain'])
      size, tops, lefts = (
          tuple(int(n) for n in f[name]) for name in ('size', 'tops', 'lefts'))
    layout = tiles_lib.Layout(
        (size[0], size[1]), tiles.shape[1:3], tops, lefts)
    if tiles.ndim != 4 or len(tiles) != len(tops) * len(lefts) or (
        not np.isfinite(tiles).all()):
      raise ValueError('its tiles are not those of a picture')
  except Exception as error:  # A damaged archive raises whatever it meets.
    raise decoding.UnreadableError(
        f'it holds no exact values ({_io.first_line(error)})') from error
  if own != domain:
    raise decoding.UnreadableError(
        f'its values are of the domain {own!r}, not of {domain!r}')
  return layout, tiles

"""A user's own test pictures."""

from __future__ import annotations

from collections.abc import Sequence
import os

import numpy as np
import tensorflow as tf

from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf.data import pictures
from alignflow_tf.train import runs

Images = dict[str, dict[str, np.ndarray]]


def read(run: runs.Run, inputs: Sequence[str], limit: int | None = None
         ) -> tuple[Images, bool]:
  """Reads all pictures of folders, brought to size as in training.

  Args:
    run: The run.
    inputs: `name:DIR` of domains of the run.
    limit: Largest number of pictures of each domain; None for all.

  Returns:
    For each domain that is named, `level` (uint8 `[N, H, W, C]`) and `image`
    (float32 in [0, 1]), in the order of file names; and whether images of one
    index are partners. They are if all domains are named and have files of the
    same names, without their extensions.

  Raises:
    DataError: If a name is no domain, a folder has no pictures, or some cannot
      be read.
  """
  folders = dict(item.partition(':')[::2] for item in inputs)
  for domain, folder in folders.items():
    if domain not in run.domains or not os.path.isdir(folder):
      raise data.DataError(
          f'`input` must be name:DIR with a domain of {run.domains} and a '
          f'folder, got {domain}:{folder}.')
  if len(folders) < len(inputs):
    raise data.DataError(f'`input` names a domain twice: {list(inputs)}.')
  found: Images = {}
  keys = []
  for domain, folder in folders.items():
    names, levels = _levels(run, domain, folder, limit)
    keys.append([os.path.splitext(name)[0] for name in names])
    found[domain] = {
        'level': levels,
        'image': images_lib.from_uint8(tf.constant(levels)).numpy()}
  return found, len(folders) == len(run.domains) and all(
      key == keys[0] for key in keys)


def _levels(run: runs.Run, domain: str, folder: str, limit: int | None
            ) -> tuple[list[str], np.ndarray]:
  """Names and levels of the pictures of a folder."""
  names, others = pictures.find(folder)
  ignored = pictures.say_ignored(pictures.count_ignored(others))
  if not names:
    raise data.DataError(
        f'`input` {folder!r} must hold pictures, got {ignored or "none"}.')
  if ignored:
    print(f'{folder}: not read: {ignored}.')
  scanned = pictures.scan(
      folder, names[:limit], what=f'`input` {folder!r}',
      skip_unreadable=run.config.skip_unreadable,
      max_pixels=run.config.max_pixels).pictures
  if not scanned:
    raise data.DataError(f'`input` {folder!r} has no picture that can be read.')
  preparation = run.preparations()[domain]
  batches = pictures.read_batches(
      scanned, lambda x: preparation.apply(x, None, run.event_shape),
      f'`input` {folder!r}')
  return [p.key for p in scanned], np.concatenate([x for x, _ in batches])

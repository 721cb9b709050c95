r"""Scores translations that come as files, from this project or any other.

  python -m alignflow_tf.evaluate.score --dataset=maps --image_size=64 \
    --translations=DIR

For each direction `a_to_b`, `DIR/a_to_b.npz` holds one array: translations
`[N, H, W, C]` of the test images of domain a in their stored order, uint8
levels or float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
import itertools
import json
import os

from absl import app
from absl import flags
import numpy as np

from alignflow_tf import _errors
from alignflow_tf import _quiet as _quiet
from alignflow_tf import data
from alignflow_tf import images as images_lib
from alignflow_tf.evaluate import reference_networks
from alignflow_tf.evaluate import translations
from alignflow_tf.train import flags as flags_lib
from alignflow_tf.train import inputs


def score(
    domains: data.DomainSet,
    directory: str,
    references: str | None = None,
    supervised: bool = False,
) -> dict[str, dict[str, dict[str, float]]]:
  """Scores the translations of a directory.

  Args:
    domains: The data.
    directory: Holds `a_to_b.npz` for each direction that is to be scored.
    references: As in `evaluation.evaluate`.
    supervised: Whether reference networks are trained, for KID, FID, labels and
      the row `supervised`.

  Returns:
    By direction, the rows `translations` and those of translating without a
    model, and their figures.

  Raises:
    DataError: If there is no such file, or its shape does not fit.
  """
  test = {d: domains.arrays(d, 'test') for d in domains.domains}
  images = {d: np.asarray(images_lib.from_uint8(found['image']))
            for d, found in test.items()}
  networks = reference_networks.References(domains, references)
  result = {}
  for s, t in itertools.permutations(domains.domains, 2):
    path = os.path.join(directory, f'{s}_to_{t}.npz')
    if not os.path.exists(path):
      continue
    with np.load(path, allow_pickle=False) as f:
      translated = f[f.files[0]]
    if translated.shape != (len(images[s]), *domains.event_shape):
      raise data.DataError(
          f'`translations`: {path} must hold an array of shape '
          f'{(len(images[s]), *domains.event_shape)}, got '
          f'{translated.shape}.')
    if translated.dtype == np.uint8:
      translated = np.asarray(images_lib.from_uint8(translated))
    judge = translations.Judge(
        domains, s, t, images[s], images[t], test[s].get('label'), networks,
        supervised=supervised)
    result[f'{s}_to_{t}'] = {
        'translations': judge.score(translated), **judge.baselines()}
  if not result:
    raise data.DataError(
        f'`translations` must hold a file such as {domains.domains[0]}_to_'
        f'{domains.domains[1]}.npz, got {directory!r}, which has none.')
  return result


def main(argv: Sequence[str]) -> None:
  """Scores and prints JSON."""
  values = flags.FLAGS
  with _errors.program('alignflow_tf.evaluate.score', argv):
    config, _ = flags_lib.resolve(values)
    result = score(inputs.load(config), values.translations, values.references,
                   values.supervised)
  print(json.dumps(result, indent=1))


if __name__ == '__main__':
  flags_lib.define()
  flags.adopt_module_key_flags(flags_lib)
  flags.DEFINE_string(
      'translations', None, 'Directory of the translations.', required=True)
  flags.DEFINE_string('references', None, 'As in `alignflow_tf.evaluate`.')
  flags.DEFINE_bool(
      'supervised', False,
      'Whether to train reference networks, for KID, FID and labels.')
  app.run(main)

"""Ranks the checkpoints of a run by unpaired figures and by the true error.

  python -m alignflow_tf.train --dataset=maps --image_size=32 \
    --preset=cpu_glow --steps=900 --checkpoint_every=60 --keep_checkpoints=99 \
    --run_dir=runs/maps
  python tools/rank_checkpoints.py --run=runs/maps

prints, for validation images, the Spearman correlation over checkpoints of each
figure with the error that needs pairs (MSE) or labels (share of labels lost).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os

import numpy as np
from scipy import stats
import tensorflow as tf

from alignflow_tf import baselines
from alignflow_tf import images as images_lib
from alignflow_tf import inference
from alignflow_tf import realism
from alignflow_tf.evaluate import evaluation
from alignflow_tf.evaluate import pairs
from alignflow_tf.evaluate import probes
from alignflow_tf.evaluate import reference_networks
from alignflow_tf.train import checkpoints
from alignflow_tf.train import inputs
from alignflow_tf.train import runs
from alignflow_tf.train import unpaired


def figures(model, evaluator, levels, images, labels, classifiers, paired):
  """Figures of each direction, and the true error."""
  result = {}
  for s, t in itertools.permutations(model.domains, 2):
    y = evaluator.translate(images[s], s, t)
    seen = np.clip(y, 0., 1.)
    found = {}
    if evaluator.has_densities:
      shown = images_lib.to_uint8(tf.constant(seen)).numpy()
      found['bits'] = float(evaluator.bits_per_dim(shown, t).mean())
      found['validation bits'] = float(
          evaluator.bits_per_dim(levels[t], t).mean())
    found['kernel'] = unpaired.kernel_distance(y, images[t])
    found['kernel, pixels'] = realism.kernel_distance(*(
        2. * x.reshape(len(x), -1) - 1. for x in (seen, images[t])))
    found['back from 8 bits'] = evaluator.round_trip(
        images[s], s, t, as_picture=True)['mean']
    signs = unpaired.signs(images[s], y, images[t])
    found |= {name: signs[name] for name in ('spread', 'distance')}
    found['1 - dependence'] = 1. - signs['dependence']
    found['collapsed'] = float(bool(unpaired.collapse(**signs)))
    if paired:
      found['TRUE'] = pairs.mse(seen, images[t])
      found['TRUE, without means'] = pairs.demeaned_mse(seen, images[t])
    else:
      found['TRUE'] = 1. - probes.accuracy(classifiers[t], seen, labels[s])
    result[f'{s}_to_{t}'] = found
  return result


def measure(run_dir, limit):
  """Figures by step and direction, kept in `<run>/ranking.json`."""
  run = runs.Run(run_dir)
  domains = inputs.load(run.config)
  found = evaluation.images_of(domains, 'validation', limit)
  references = reference_networks.References(domains)
  classifiers = {} if domains.paired else {
      d: references.classifier(d) for d in run.domains}
  model = baselines.get(run.config.model).build(
      run.config, run.domains, run.event_shape)
  evaluator = inference.Evaluator(model)
  result = {}
  for step in checkpoints.steps(run.checkpoints):
    if step <= run.config.trunk_steps:
      continue
    checkpoints.restore(
        tf.train.Checkpoint(average=model),
        checkpoints.prefix(run.checkpoints, step), whole=False)
    result[step] = figures(
        model, evaluator, {d: found[d]['level'] for d in run.domains},
        {d: found[d]['image'] for d in run.domains},
        {d: found[d].get('label') for d in run.domains}, classifiers,
        domains.paired)
    print(step, json.dumps(result[step]), flush=True)
  with open(os.path.join(run_dir, 'ranking.json'), 'w', encoding='utf-8') as f:
    json.dump(result, f)
  return result


def table(result):
  """Rank correlations of each figure with the true error."""
  steps = list(result)
  directions = list(result[steps[0]])
  values = {name: np.array([[result[s][d][name] for d in directions]
                            for s in steps])
            for name in result[steps[0]][directions[0]]}
  values['step'] = np.repeat(np.array(
      [[float(s)] for s in steps]), len(directions), 1)
  values['FIGURE of training'] = (
      values['kernel'] + unpaired.HIDDEN * values['back from 8 bits'])
  if 'bits' in values:
    values['bits above real'] = values['bits'] - values['validation bits']
  print(f'{"figure":<26}' + ''.join(f'{d:>20}' for d in directions)
        + f'{"mean":>8}{"worst":>8}')
  truth = values['TRUE']
  print('collapsed:', int(values.pop('collapsed').sum()))
  for name, x in values.items():
    def rank(a, b):
      return stats.spearmanr(a, b).statistic
    cells = [rank(x[:, i], truth[:, i]) for i in range(len(directions))]
    print(f'{name:<26}' + ''.join(f'{c:>20.2f}' for c in cells) +
          f'{rank(x.mean(1), truth.mean(1)):>8.2f}'
          f'{rank(x.max(1), truth.mean(1)):>8.2f}')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--run', required=True)
  parser.add_argument('--limit', type=int, default=200)
  arguments = parser.parse_args()
  table(measure(arguments.run, arguments.limit))

"""Measures a part of the figures in the pages again and compares.

  python -m tools.results_check --data_dir=DIR [--train --tfds_dir=DIR]

The folders have Maps and Facades, and TFDS' sets of digits; tables whose data
are not there are skipped. Measured are figures of the pretrained model and rows
that depend on the data alone, and with `--train` a row each of lambda,
adaptation, systems and families of flows, which takes a while. A figure
must agree as far as it is written, or to a share where it depends on a
machine's rounding or on training. The exit status is 1 where one differs.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile

from alignflow_tf import _quiet as _quiet
from alignflow_tf import data
from alignflow_tf.evaluate import evaluation
from alignflow_tf.evaluate import reference_networks
from alignflow_tf.evaluate import translations
from tools import results_json
from tools import results_trained
from tools.results_rows import differences
from tools.results_rows import Row

# Shares by which a figure may differ from what is written.
TRAINED, KID, ROUNDING = 0.05, 0.25, 2.
# Others need a supervised network, or are in no table.
PAIRED = ('mse', 'correlation', 'top_1', 'top_5', 'percentile',
          'class_accuracy', 'mean_iou', 'ssim')


def digits() -> dict[str, list[Row]]:
  """Rows of the pretrained model, by page."""
  with tempfile.TemporaryDirectory() as output:
    found = evaluation.evaluate('pretrained:digits', output, classify=False)
  keys = 'optical_to_mnist', 'mnist_to_optical'
  scores = [found['translation'][key]['model'] for key in keys]
  trips = [found['round_trip'][key] for key in keys]
  kept = [score['label_agreement'] for score in scores]
  kid = [1000. * score['kid'] for score in scores]
  saved = [found['round_trip_pictures'][key]['mean'] for key in keys]
  bits = list(found['bits_per_dim'].values())
  samples = [1000. * v['samples'] for v in found['samples']['kid'].values()]
  card = functools.partial(Row, 'Figures')
  ways, each = ('optical to MNIST', 'MNIST to optical'), ('optical', 'MNIST')
  demo = functools.partial(
      Row, 'Digits, the demo', '`cpu_trunk`, seed 0, as pretrained')
  row = functools.partial(Row, 'Systems', 'AlignFlow, `cpu_trunk`')
  return {
      'docs/model_card.md': [
          card('label kept, by a LeNet of the target', ways, kept, TRAINED),
          card('KID of translations, times 1000', ways, kid, KID),
          card('way back, largest error of a pixel', ways,
               [trip['max'] for trip in trips], ROUNDING),
          card('way back from 8 bits, mean error', ways, saved),
          card('pixels outside [0, 1]', ways, [t['outside'] for t in trips]),
          card('bits/dim', each, bits),
          card('KID of samples, times 1000', each, samples, KID)],
      'docs/results.md': [
          demo(('bits/dim optical, MNIST',), bits),
          demo(('label kept, optical to MNIST / back',), kept, TRAINED),
          demo(('KID',), kid, KID),
          demo(('way back, float, largest error',),
               [max(trip['max'] for trip in trips)], ROUNDING),
          demo(('way back from 8 bits, mean error',), saved),
          demo(('pixels outside [0, 1]',), [t['outside'] for t in trips]),
          row(('label kept, optical to MNIST / back',), kept, TRAINED),
          row(('KID',), kid, KID),
          row(('way back from 8 bits, mean error',), saved),
          row(('bits/dim',), bits)]}


def pairs(name: str, page: str, data_dir: str | None) -> dict[str, list[Row]]:
  """Rows that depend on the data of a paired set alone, by page."""
  if data_dir is None:
    raise data.DataError('for there is no --data_dir')
  domains = data.load(name, data_dir, 32, download=False)
  test = evaluation.images_of(domains, 'test')
  a, b = domains.domains
  scores = {(s, t): translations.Judge(
      domains, s, t, test[s]['image'], test[t]['image'], None,
      reference_networks.References(domains), supervised=False).baselines()
            for s, t in ((a, b), (b, a))}
  mean = functools.partial(Row, name.capitalize(), 'mean image')
  there, back = (rows['mean_image'] for rows in scores.values())
  size = len(test[a]['image'])
  return {
      f'docs/results/data/{page}.md': [
          Row(f'{s} to {t}', translations.ROWS[title],
              (translations.FIGURES[figure].title,), [row[figure]])
          for (s, t), rows in scores.items() for title, row in rows.items()
          for figure in PAIRED if figure in row],
      'docs/results.md': [
          mean((f'MSE, {a} to {b} / back',), [there['mse'], back['mse']]),
          mean((f'own partner nearest (chance {100. / size:.1f} %)',),
               [there['top_1'], back['top_1']]),
          mean((f'mean IoU of {b}s',), [there['mean_iou']])]}


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', help='folder of the data of Maps, Facades')
  parser.add_argument('--train', action='store_true',
                      help='also rows that need training')
  parser.add_argument('--tfds_dir', help="folder of TFDS' sets of digits")
  args = parser.parse_args()
  measures = [
      ('pretrained:digits', digits),
      ('maps', lambda: pairs('maps', 'maps_untrained', args.data_dir)),
      ('facades', lambda: pairs('facades', 'facades_800', args.data_dir))]
  if args.train:
    measures += results_trained.measures(args.data_dir, args.tfds_dir)
  failed = False
  for name, measure in measures:
    try:
      found = measure()
    except data.DataError as e:
      print(f'{name}: skipped, {e}')
      continue
    for page, rows in found.items():
      tables = json.loads(results_json.json_of(
          results_json.ROOT / page).read_text('utf-8'))
      wrong = differences(tables, rows)
      failed |= bool(wrong)
      print(f'{name}, {page}: {len(rows) - len(wrong)} of {len(rows)} agree',
            *wrong, sep='\n  ')
  return int(failed)


if __name__ == '__main__':
  sys.exit(main())

"""Trains and translates with a kit, on whatever device JAX has.

```
python run.py --output=OUT                     trains to the end
python run.py --output=OUT --minutes=8         trains for so long, and saves
python run.py --output=OUT --report            measures all precisions
python run.py --output=OUT --report --minutes=9 --precision=tf32
                                               measures, trains for the rest
```
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import time

import jax

from . import measure
from . import programs
from . import training


def main() -> None:
  """Runs the command line."""
  began = time.time()
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--kit', default=os.path.dirname(
      os.path.dirname(os.path.abspath(__file__))))
  parser.add_argument('--output', required=True)
  parser.add_argument('--precision', default='float32')
  parser.add_argument('--minutes', type=float,
                      help='minutes after which training stops')
  parser.add_argument('--steps', type=int,
                      help='step after which training stops')
  parser.add_argument('--state', help='path of the state; OUTPUT/state.npz')
  parser.add_argument('--chunk', type=int, default=25,
                      help='steps of one call of the compiled loop')
  parser.add_argument('--cache', help='directory of compiled programs')
  parser.add_argument('--validation', action='store_true',
                      help='evaluate the validation split as well, in '
                      'OUTPUT/validation')
  parser.add_argument('--turns', help='directory that several commands name: '
                      'they compile side by side and train one after another')
  parser.add_argument('--report', action='store_true',
                      help='measure all precisions; with --minutes, train for '
                      'the rest of them')
  parser.add_argument('--bench', action='store_true',
                      help='measure one precision, without a table')
  arguments = parser.parse_args()
  if arguments.cache:
    jax.config.update('jax_compilation_cache_dir', arguments.cache)
  output = arguments.output
  os.makedirs(output, exist_ok=True)
  kit = programs.Kit(arguments.kit, arguments.precision)
  if arguments.bench:
    measure.bench(kit, output, arguments.chunk, arguments.turns or output)
    return
  if arguments.report:
    measure.report(kit, output, arguments)
  if not arguments.report or arguments.minutes:
    saved = arguments.state or os.path.join(output, 'state.npz')
    left = (arguments.minutes or 1e9) - (time.time() - began) / 60.
    turn = (measure.turn(arguments.turns, fcntl.LOCK_EX) if arguments.turns
            else contextlib.nullcontext())
    training.train(kit, output, saved, left, arguments.steps, arguments.chunk,
                   turn, arguments.validation)

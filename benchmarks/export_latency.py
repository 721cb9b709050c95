"""Latency of exported translators beside the `tf.function` in this process.

  python benchmarks/export_latency.py [--run=runs/digits] [--seconds=5]

Without a run, a model of `--preset` with initial weights is measured, of
16x16x1 images for `cpu`, of 32x32x3 for others. The export is run by
`tf.saved_model.load` and by the C++ loader of TF Serving; calls of all three
alternate, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib
import sys
import tempfile
import time

from absl import app
from absl import flags
import numpy as np
import tensorflow as tf

# For the C++ loader of the tests.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from alignflow_tf import train  # noqa: E402
from alignflow_tf.export import export  # noqa: E402
from alignflow_tf.train import trainer  # noqa: E402
from tests import cpp_loader  # noqa: E402

_RUN = flags.DEFINE_string('run', None, 'Run directory; a new model if none.')
_PRESET = flags.DEFINE_string('preset', 'cpu', 'Preset of a new model.')
_SECONDS = flags.DEFINE_float('seconds', 5., 'Time to measure a batch size.')
_BATCHES = flags.DEFINE_list('batches', ['1', '8', '64'], 'Batch sizes.')


def main(argv: Sequence[str]) -> None:
  del argv
  if _RUN.value:
    model = train.load(_RUN.value)
  else:
    model = trainer.build_model(
        train.resolve(_PRESET.value), ('a', 'b'),
        (16, 16, 1) if _PRESET.value == 'cpu' else (32, 32, 3))
  source, target = model.domains[:2]
  translator = model.translator(source, target)
  in_process = tf.function(
      lambda x: translator.forward(x), autograph=False, input_signature=[
          tf.TensorSpec([None, *model.event_shape], tf.float32)])
  with tempfile.TemporaryDirectory() as base:
    begin = time.perf_counter()
    export.export_model(model, base)
    print(f'Exported in {time.perf_counter() - begin:.1f} s.')
    path = os.path.join(base, f'{source}_to_{target}', '1')
    size = sum(f.stat().st_size for f in pathlib.Path(path).rglob('*')
               if f.is_file())
    print(f'{source}_to_{target}: {size / 2**20:.1f} MB')
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures['serving_default']
    with cpp_loader.load(path) as server:
      functions = {
          'in-process tf.function': lambda x: in_process(x).numpy(),
          'export, tf.saved_model.load':
              lambda x: signature(image=x)['image'].numpy(),
          'export, C++ loader': lambda x: server.run({'image': x})['image'],
      }
      print('| batch | what | p50 ms | p99 ms | images/s |')
      print('|---|---|---|---|---|')
      for batch in map(int, _BATCHES.value):
        images = np.random.RandomState(0).uniform(
            size=(batch, *model.event_shape)).astype(np.float32)
        tensor = tf.constant(images)
        times = {name: [] for name in functions}
        for name, function in functions.items():
          for _ in range(3):
            function(images if 'C++' in name else tensor)
        end = time.perf_counter() + _SECONDS.value
        while time.perf_counter() < end:
          for name, function in functions.items():
            x = images if 'C++' in name else tensor
            begin = time.perf_counter()
            function(x)
            times[name].append(time.perf_counter() - begin)
        for name, values in times.items():
          p50, p99 = np.percentile(values, [50, 99])
          print(f'| {batch} | {name} | {1e3 * p50:.2f} | {1e3 * p99:.2f} | '
                f'{batch / np.mean(values):.0f} |')


if __name__ == '__main__':
  app.run(main)

"""python -m alignflow_tf.evaluate: how it ends."""

import os
import subprocess
import sys

# Calls in one process, for importing TensorFlow takes seconds.
_CALLS = """
from absl import flags
import tensorflow as tf
from alignflow_tf.evaluate import __main__ as program

def interrupt(*unused):
  raise KeyboardInterrupt

flags.FLAGS(['evaluate', '--run=r'])
program.evaluation.evaluate = interrupt
try:
  program.main(['evaluate'])
except SystemExit as e:
  print(e.code, flush=True)
def lost(*unused):
  dataset = tf.data.Dataset.range(1).map(lambda i: tf.io.decode_png(b'cut'))
  return list(dataset)

program.evaluation.evaluate = lost
try:
  program.main(['evaluate'])
except SystemExit as e:
  print(e.code, flush=True)
for argument in ('--seed=4294967296', '--seed=-1', '--limit=1'):
  try:
    flags.FLAGS(['evaluate', argument])
  except flags.IllegalFlagValueError as e:
    print(e, flush=True)
"""


def test_ends_without_a_traceback(tmp_path, repo_root):
  done = subprocess.run(
      [sys.executable, '-c', _CALLS], cwd=tmp_path, text=True,
      capture_output=True, check=False,
      env=os.environ | {'PYTHONPATH': str(repo_root)})
  code, lost, *refused = done.stdout.splitlines()
  assert code == '130', done.stderr
  assert 'Traceback' not in done.stderr
  assert lost.startswith(
      'alignflow_tf.evaluate: images cannot be read any more: '), lost
  assert 'Bring the data back' in lost
  assert 'alignflow_tf.evaluate: stopped; the same command' in done.stderr
  assert ['flag --' in line for line in refused] == [True] * 3, refused

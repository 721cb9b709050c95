"""python -m alignflow_tf.adapt."""

import os
import subprocess
import sys

COMMAND = [sys.executable, '-m', 'alignflow_tf.adapt']


def _run(*flags, cwd):
  root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
  return subprocess.run(
      [*COMMAND, *flags], cwd=cwd, text=True, capture_output=True, check=False,
      env=os.environ | {'PYTHONPATH': root})


def test_two_methods_and_seeds_and_what_is_refused(tmp_path):
  flags = ('--dataset=digits', '--method=source_only,adda', '--seeds=3,4',
           '--network=strided', '--classifier_steps=3', '--feature_steps=2')
  done = _run(*flags, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  rows = [line.split() for line in done.stdout.splitlines()]
  assert [r[0] for r in rows if r[3:4] == ['3:']] == ['source_only', 'adda']
  assert (tmp_path / 'runs/adapt/optical_mnist/seed_4/adda').is_dir()
  refused = _run('--task=mnist_usps', *flags, cwd=tmp_path)
  assert refused.returncode == 1
  assert 'Give one of `task` and `dataset`' in refused.stderr
  assert 'Traceback' not in refused.stderr

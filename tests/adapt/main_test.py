"""python -m alignflow_tf.adapt."""

import json
import os
import re
import subprocess
import sys


def _python(*arguments, cwd):
  root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
  return subprocess.run(
      [sys.executable, *arguments], cwd=cwd, text=True, capture_output=True,
      check=False, env=os.environ | {'PYTHONPATH': root})


def test_two_methods_and_seeds(tmp_path):
  flags = ('--dataset=digits', '--method=source_only,adda', '--seeds=3,4',
           '--network=strided', '--classifier_steps=3', '--feature_steps=2')
  done = _python('-m', 'alignflow_tf.adapt', *flags, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  rows = [line.split() for line in done.stdout.splitlines()]
  assert [r[0] for r in rows if r[3:4] == ['3:']] == ['source_only', 'adda']
  assert (tmp_path / 'runs/adapt/optical_mnist/seed_4/adda').is_dir()


# Calls of `main` in one process, for importing TensorFlow takes seconds.
_CALLS = """
import json, signal, sys
from absl import flags
from alignflow_tf.adapt import __main__ as program
from alignflow_tf.train import loop

def stop(*args):
  raise loop.Stopped('python -m alignflow_tf.train', signal.SIGINT)

flags.FLAGS(['adapt'])
for arguments in json.loads(sys.argv[1]):
  flags.FLAGS.unparse_flags()
  for name in ('task', 'dataset', 'method', 'seeds', 'skip', 'output'):
    flags.FLAGS[name].unparse()
  flags.FLAGS(['adapt', *(a for a in arguments if a != 'stop')])
  if 'stop' in arguments:
    program.pipeline.adapt = stop
  try:
    program.main(['adapt'])
  except SystemExit as e:
    print(e.code, flush=True)
"""
REFUSED = (
    (['--task=mnist_usps', '--dataset=digits'], 'Give one of `task` and'),
    (['--dataset=digits', '--method=adda,alignflo'], "`method`.*'alignflo'"),
    (['--dataset=digits', '--method='], r'`method`.*\[\]'),
    (['--dataset=digits', '--seeds=0,-1'], '`seed`.*-1'),
    (['--dataset=digits', '--seeds='], r'`seeds`.*\[\]'),
    (['--dataset=digits', '--seeds=x'], '`seeds`.*x'),
    (['--dataset=digits', '--skip=critic'], "`skip`.*'critic'"),
    (['--dataset=digits', '--method=adda', '--output=/dev/null'],
     "`output` '/dev/null'.*the same command"),
    (['--dataset=digits', 'stop'], 'Stopped.*The same command goes on'),
)


def test_what_is_refused_and_what_a_stop_says(tmp_path):
  done = _python(
      '-c', _CALLS, json.dumps([call for call, _ in REFUSED]), cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines.pop() == '130'
  assert len(lines) == len(REFUSED), done.stdout
  for line, (_, match) in zip(lines, REFUSED, strict=True):
    assert re.search(match, line), line
    assert 'alignflow_tf.train' not in line
  assert not os.listdir(tmp_path)

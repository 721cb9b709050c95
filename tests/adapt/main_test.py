"""python -m alignflow_tf.adapt."""

import json
import os
import re
import subprocess
import sys

from tests.data import fakes


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
  for name in ('task', 'dataset', 'domain', 'method', 'seeds', 'skip',
               'output', 'fit'):
    flags.FLAGS[name].unparse()
  flags.FLAGS(['adapt', *(a for a in arguments if a.startswith('--'))])
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
    (['--dataset=digits', '--fit=pad'], '`fit`.*digits'),
    (['--dataset=digits', 'stop'], 'Stopped.*The same command goes on'),
    (['--dataset=folders', '--domain=drawn:DRAWN', '--domain=photo:PHOTO',
      'stop'], 'Stopped'),
)


def test_what_is_refused_and_what_a_stop_says(tmp_path, tmp_path_factory):
  mine = tmp_path_factory.mktemp('mine')
  for name in ('DRAWN/cat', 'DRAWN/dog', 'PHOTO'):
    fakes.fill_folder(mine / name, 12)
  calls = [[a.replace('DRAWN', f'{mine}/DRAWN').replace(
      'PHOTO', f'{mine}/PHOTO') for a in call] for call, _ in REFUSED]
  done = _python('-c', _CALLS, json.dumps(calls), cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert [line for line in lines if line == '130'] == ['130'] * 2
  begun = [line for line in lines if ': preset ' in line]
  assert [line.split(')')[-1] for line in begun] == [
      ', 16x16x1: preset cpu, classifier lenet'] * 2 + [
          ', 32x32x3: preset cpu_pictures, classifier strided']
  assert begun[-1].startswith('drawn (')
  lines = [line for line in lines if line != '130' and line not in begun]
  assert len(lines) == len(REFUSED), done.stdout
  for line, (_, match) in zip(lines, REFUSED, strict=True):
    assert re.search(match, line), line
    assert 'alignflow_tf.train' not in line
  assert not os.listdir(tmp_path)

"""python -m alignflow_tf.adapt."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.data import fakes

# Calls of `main` in one process, for importing TensorFlow takes seconds. The
# last one goes well.
_CALLS = """
import json, os, runpy, signal, sys, types
from absl import app
from absl import flags
from alignflow_tf.train import loop

# As `python -m` runs it, up to what it hands to absl.
handed = []
app.run = handed.append
program = types.SimpleNamespace(
    **runpy.run_module('alignflow_tf.adapt', run_name='__main__'))
assert handed == [program.main]
adapt = program.pipeline.adapt

def stop(*args):
  raise loop.Stopped('python -m alignflow_tf.train', signal.SIGINT)

flags.FLAGS(['adapt'])
*refused, good = json.loads(sys.argv[1])
for arguments in [*refused, good]:
  if arguments is good:
    print('left behind:', os.listdir(), flush=True)
  flags.FLAGS.unparse_flags()
  for name in ('task', 'dataset', 'domain', 'data_dir', 'method', 'seeds',
               'skip', 'output', 'fit'):
    flags.FLAGS[name].unparse()
  flags.FLAGS(['adapt', *(a for a in arguments if a.startswith('--'))])
  program.pipeline.adapt = stop if 'stop' in arguments else adapt
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
    (['--dataset=folders', '--domain=a:tfds:mnist', '--domain=b:tfds:kmnist',
      '--data_dir=TFDS', 'stop'], 'Stopped'),
    (['--dataset=folders', '--domain=drawn:DRAWN', '--domain=photo:PHOTO',
      'stop'], 'Stopped'),
)


GOOD = ['--dataset=digits', '--method=source_only,adda', '--seeds=3,4',
        '--network=strided', '--classifier_steps=3', '--feature_steps=2']


@pytest.fixture(scope='module')
def called(tmp_path_factory, repo_root):
  """Lines of the calls that are refused, of the good one, and its directory."""
  mine, work = (tmp_path_factory.mktemp(name) for name in ('mine', 'work'))
  for name in ('DRAWN/cat', 'DRAWN/dog', 'PHOTO'):
    fakes.fill_folder(mine / name, 12)
  for name in ('mnist', 'kmnist'):
    fakes.write_records(mine / 'TFDS', name, '3.0.1', (28, 28, 1),
                        {'train': 40, 'test': 10})
  calls = [[re.sub('DRAWN|PHOTO|TFDS', rf'{mine}/\g<0>', a) for a in call]
           for call, _ in REFUSED]
  done = subprocess.run(
      [sys.executable, '-c', _CALLS, json.dumps([*calls, GOOD])], cwd=work,
      text=True, capture_output=True, check=False,
      env=os.environ | {'PYTHONPATH': str(repo_root)})
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  end = lines.index('left behind: []')
  return lines[:end], lines[end + 1:], work


def test_two_methods_and_seeds(called):
  _, lines, work = called
  rows = [line.split() for line in lines]
  assert [r[0] for r in rows if r[3:4] == ['3:']] == ['source_only', 'adda']
  assert (work / 'runs/adapt/optical_mnist/seed_4/adda').is_dir()


def test_what_is_refused_and_what_a_stop_says(called):
  lines, _, _ = called
  assert [line for line in lines if line == '130'] == ['130'] * 3
  begun = [line for line in lines if ': preset ' in line]
  assert [line.split(')')[-1] for line in begun] == [
      ', 16x16x1: preset cpu, classifier lenet'] * 2 + [
          f', 32x32x{channels}: preset cpu_pictures, classifier strided'
          for channels in (1, 3)]
  assert begun[-1].startswith('drawn (')
  lines = [line for line in lines if line != '130' and line not in begun]
  assert len(lines) == len(REFUSED), lines
  for line, (_, match) in zip(lines, REFUSED, strict=True):
    assert re.search(match, line), line
    assert 'alignflow_tf.train' not in line

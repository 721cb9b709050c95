"""Mutation testing: does a test fail when a line of the code is wrong?

  pip install cosmic-ray
  python -m tools.mutants --directory=/tmp/mutants [--sample=0.2] [MODULE ...]

Cosmic Ray (https://cosmic-ray.readthedocs.io) changes one operator, number or
condition at a time in a copy of the tree, and the module's tests must fail. A
mutant would cost ten seconds of TensorFlow's import: a server that has loaded
it forks a process for each instead. What is left out, and never counted:
annotations, which nothing evaluates, and all but one of the operators that
would take an operator's place. Of the rest, `--sample` is drawn.

Can be stopped, and goes on where it was when started again. `--report` shows
what there is.
"""

from __future__ import annotations

import argparse
import ast
import collections
import json
import os
import pathlib
import random
import resource
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# A mutant may loop for ever. Of the clock, as much as a busy machine may take.
_CPU_SECONDS = 600
_TIMEOUT = 3600.

_BIJECTORS = 'alignflow_tf/bijectors'
_TRAIN = 'alignflow_tf/train'
_TRAINER = 'tests/train/trainer_test.py'


def _bijector(entries: str, *files: str) -> tuple[str, ...]:
  """Own tests, of chains, of bad input, and invariants of some entries."""
  files = tuple(f'tests/bijectors/{name}_test.py' for name in files)
  own = ' or '.join(
      ['image_chain_test', 'test_bijectors', entries,
       *(os.path.basename(name).removesuffix('.py') for name in files)])
  return (*files, 'tests/bijectors/image_chain_test.py',
          'tests/bad_input/bijectors_test.py',
          'tests/bijectors/round_trips_test.py',
          'tests/bijectors/invariants_test.py',
          '-k', f'({own}) and not xla')


# The quickest tests come first: the first that fails is the last that runs.
TESTS: dict[str, tuple[str, ...]] = {
    f'{_BIJECTORS}/{module}.py': _bijector(entries, *files)
    for module, entries, *files in (
        ('act_norm', '[act_norm]', 'act_norm'),
        ('coupling', 'coupling', 'coupling'),
        ('factor_out', 'factor_out'),
        ('framing', '[framing]', 'framing'),
        ('image_preprocess', 'image_preprocess', 'image_preprocess'),
        ('invertible_conv', 'invertible_conv', 'act_norm'),
        ('image_bijector', 'act_norm or coupling_channel'),
        ('image_chain', 'chain'),
        ('masks', 'coupling_ch', 'masks'),
        ('reorder', 'reorder', 'squeeze'),
        ('squeeze', 'squeeze', 'squeeze'),
        ('transforms', 'coupling_spline or coupling_mixture', 'coupling'))
} | {
    'alignflow_tf/objectives.py': (
        'tests/objectives_test.py', 'tests/theory_test.py',
        f'{_TRAINER}::test_loss_is_equation_7_and_the_penalty'),
    'alignflow_tf/baselines/alignflow.py': (
        f'{_TRAINER}::test_loss_is_equation_7_and_the_penalty',
        f'{_TRAINER}::test_mle_has_no_critics_and_learns',
        f'{_TRAINER}::test_adversarial_training_leaves_the_likelihood_out',
        'tests/train/trunk_test.py::'
        'test_trunk_steps_train_the_trunk_and_later_ones_the_adapters',
        'tests/train/trunk_test.py::'
        'test_adapters_start_in_the_colours_of_their_target',
        'tests/baselines/cyclegan_test.py'),
    f'{_TRAIN}/checkpoints.py': (
        'tests/train/checkpoints_test.py', 'tests/train/golden_test.py'),
}


def serve(path: str) -> None:
  """Runs pytest in a fork of this process for each connection to a socket.

  A line of JSON with its arguments comes in; its output and, at the end, a line
  with its exit code go out. The fork ends with the connection.
  """
  # Nothing that is mutated, and nothing that starts TensorFlow's threads.
  import keras  # noqa: F401
  import pytest
  import tensorflow_probability as tfp
  dir(tfp.bijectors)  # Loaded at its first use.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
  with socket.socket(socket.AF_UNIX) as server:
    server.bind(path)
    server.listen()
    while True:
      connection, _ = server.accept()
      with connection, connection.makefile('r', encoding='utf-8') as f:
        line = f.readline()
        pid = os.fork()
        if not pid:
          os.setsid()
          signal.signal(signal.SIGTERM, signal.SIG_DFL)
          resource.setrlimit(
              resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS + 5))
          for descriptor in (1, 2):
            os.dup2(connection.fileno(), descriptor)
          code = 70
          try:
            code = int(pytest.main(json.loads(line)))
          finally:
            print(f'\n{code}', flush=True)
            os._exit(code)
        descriptor = os.pidfd_open(pid)
        try:
          # Until the fork ends, who asked has gone, or this is ended.
          select.select([descriptor, connection], [], [])
        finally:
          os.kill(pid, signal.SIGKILL)
          os.waitpid(pid, 0)
          os.close(descriptor)


def ask(path: str, arguments: list[str]) -> int:
  """Has a server run pytest; shows its output and returns its exit code."""
  with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(path)
    connection.sendall((json.dumps(arguments) + '\n').encode())
    with connection.makefile('r', encoding='utf-8', errors='replace') as f:
      last = ''
      for last in f:
        print(last, end='')
  # A fork that crashed says nothing at its end.
  return int(last) if last.strip().isdecimal() else 70


def _annotated(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
  """Begin and end (line, column) of each annotation."""
  found = []
  for node in ast.walk(ast.parse(source)):
    for field in ('annotation', 'returns'):
      part = getattr(node, field, None)
      if part is not None:
        found.append(((part.lineno, part.col_offset),
                      (part.end_lineno, part.end_col_offset)))
  return found


def _draw(session: str, source: str, sample: float, seed: int) -> None:
  """Marks as skipped what is left out of a session."""
  from cosmic_ray import work_db
  from cosmic_ray import work_item

  random_ = random.Random(seed)
  annotated = _annotated(source)
  kinds = collections.defaultdict(list)
  skipped = []
  with work_db.use_db(session, work_db.WorkDB.Mode.open) as db:
    for item in sorted(db.work_items, key=_key):
      (mutation,) = item.mutations
      if any(a <= mutation.start_pos and mutation.end_pos <= b
             for a, b in annotated):
        skipped.append(item.job_id)
      else:
        # 'core/ReplaceBinaryOperator_Add_Sub' and its like, at one place.
        kind, *_ = mutation.operator_name.split('_')
        place = (kind, mutation.start_pos) if kind.startswith(
            'core/Replace') else _key(item)
        kinds[place].append(item.job_id)
    for jobs in kinds.values():
      kept = random_.choice(jobs) if random_.random() < sample else None
      skipped += [job for job in jobs if job != kept]
    db.set_multiple_results(skipped, work_item.WorkResult(
        worker_outcome=work_item.WorkerOutcome.SKIPPED))


def _key(item) -> tuple:
  (mutation,) = item.mutations
  return (mutation.start_pos, mutation.operator_name, mutation.occurrence)


def _session(directory: str, module: str) -> str:
  return os.path.join(directory, module.replace('/', '.') + '.sqlite')


def _test(directory: str, module: str, path: str, sample: float,
          seed: int) -> None:
  """Tests the mutants of a module, or those that have not been yet."""
  session = _session(directory, module)
  tree = os.path.join(directory, 'tree')
  settings = os.path.join(directory, 'settings.toml')
  command = shlex.join([
      sys.executable, os.path.join(tree, 'tools', 'mutants.py'),
      f'--ask={path}', '-xq', '-pno:cacheprovider', '-pno:randomly',
      '--tb=line', *TESTS[module]])
  with open(settings, 'w', encoding='utf-8') as f:
    f.write('[cosmic-ray]\n'
            f'module-path = {json.dumps(module)}\n'
            f'timeout = {_TIMEOUT}\n'
            f'test-command = {json.dumps(command)}\n'
            'excluded-modules = []\n'
            '[cosmic-ray.distributor]\nname = "local"\n')

  def run(*arguments: str) -> None:
    subprocess.run([sys.executable, '-m', 'cosmic_ray.cli', *arguments],
                   cwd=tree, check=True)

  # A mutant that is in the tree, since this was killed before, is undone.
  shutil.copy(_ROOT / module, os.path.join(tree, module))
  if not os.path.exists(session):
    run('baseline', settings)
    partial = session + '.partial'
    run('init', '--force', settings, partial)
    _draw(partial, (_ROOT / module).read_text(encoding='utf-8'), sample, seed)
    os.rename(partial, session)
  run('exec', settings, session)


def _report(directory: str) -> None:
  """Prints the score of each module, and its survivors."""
  from cosmic_ray import work_db
  from cosmic_ray import work_item

  survivors, counts = [], collections.Counter()
  for module in TESTS:
    if not os.path.exists(_session(directory, module)):
      continue
    found = collections.Counter()
    with work_db.use_db(_session(directory, module),
                        work_db.WorkDB.Mode.open) as db:
      found['all'] = db.num_work_items
      for _, result in db.results:
        if result.worker_outcome == work_item.WorkerOutcome.SKIPPED:
          continue
        found[result.test_outcome.value] += 1
        if not result.is_killed:
          survivors.append(result.diff)
    counts += found
    print(_line(module, found))
  print(_line('all', counts), *survivors, sep='\n')


def _line(name: str, found: collections.Counter) -> str:
  tested = found['killed'] + found['survived']
  return (f'{name}: {found["killed"]} of {tested} killed '
          f'({100 * found["killed"] / max(1, tested):.0f} %), '
          f'{found["incompetent"]} failed to run, of {found["all"]} in all')


def main() -> None:
  """Parses the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--directory', help='of sessions; made if missing')
  parser.add_argument('--sample', type=float, default=1.)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--report', action='store_true')
  parser.add_argument('--serve', help=argparse.SUPPRESS)
  parser.add_argument('--ask', help=argparse.SUPPRESS)
  parser.add_argument('modules', nargs='*')
  arguments, others = parser.parse_known_args()
  if arguments.serve:
    serve(arguments.serve)
  if arguments.ask:
    sys.exit(ask(arguments.ask, sys.argv[2:]))
  if others or not arguments.directory:
    parser.error(f'--directory is missing, or not known: {others}')
  directory = os.path.abspath(arguments.directory)
  if not arguments.report:
    tree = os.path.join(directory, 'tree')
    if not os.path.exists(tree):
      for name in ('alignflow_tf', 'tests', 'tools'):
        shutil.copytree(_ROOT / name, os.path.join(tree, name))
      shutil.copy(_ROOT / 'pyproject.toml', tree)
    path = os.path.join(directory, 'socket')
    if os.path.exists(path):
      os.remove(path)
    server = subprocess.Popen(
        [sys.executable, os.path.join(tree, 'tools', 'mutants.py'),
         f'--serve={path}'], cwd=tree,
        env=os.environ | {'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONPATH': tree})
    try:
      while not os.path.exists(path):
        if server.poll() is not None:
          sys.exit('The server of forks has ended.')
        time.sleep(0.1)
      for module in arguments.modules or TESTS:
        _test(directory, module, path, arguments.sample, arguments.seed)
    finally:
      server.terminate()
      server.wait()
  _report(directory)


if __name__ == '__main__':
  main()

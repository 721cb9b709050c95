"""Commands and flags that the pages name are ones that the programs know."""

import pathlib
import re
import runpy
import shlex

from absl import app
from absl import flags
from absl.testing import flagsaver
import pytest

from alignflow_tf.train import config as config_lib
from alignflow_tf.train import flags as flags_lib

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# Pages about earlier versions, whose commands may be gone.
_OLD = ('CHANGELOG.md', 'history.md', 'performance_log.md')
_PAGES = [
    page for page in sorted([*_ROOT.glob('*.md'), *_ROOT.glob('docs/**/*.md'),
                             *_ROOT.glob('examples/*.md')])
    if page.name not in _OLD]

# Each command of a page begins as one of these. Programs that tests run, as a
# process or by the function that does the work, on small data:
_RUN = {
    'python -m alignflow_tf.train': 'export/stablehlo/kit_test.py',
    'python -m alignflow_tf.evaluate': 'evaluate/main_test.py',
    'python -m alignflow_tf.evaluate.score': 'evaluate/score_test.py',
    'python -m alignflow_tf.evaluate.table1': 'evaluate/tables_test.py',
    'python -m alignflow_tf.evaluate.table3': 'evaluate/tables_test.py',
    'python -m alignflow_tf.translate': 'translate/translate_test.py',
    'python -m alignflow_tf.export': 'export/serving_test.py',
    'python -m alignflow_tf.export.stablehlo': 'export/stablehlo/kit_test.py',
    'python kit/run.py': 'export/stablehlo/kit_test.py',
    'python -m alignflow_tf.adapt': 'adapt/main_test.py',
    'python -m alignflow_tf.demo': 'demo/demo_test.py',
    'python -m tests.train.kills': 'train/kills_test.py',
    'python examples/train_by_hand.py': 'examples_test.py',
    'python examples/serving_rest.py': 'export/serving_test.py',
    'python examples/serving_grpc.py': 'export/serving_test.py',
}
# Those that no test runs, with the reason:
_NOT_RUN = {
    'python benchmarks/': 'hours; benchmarks_test.py runs most on little',
    'python -m tools.mutants': 'hours',
    'python tools/': 'needs a run, or data',
    'python -m pytest': 'the tests themselves',
    'python -m build': '.ci/run builds no wheel',
    'python -c': 'needs a GPU',
    'python3 -m venv': 'make does, in .ci/run',
    '. .venv/bin/activate': 'make does, in .ci/run',
    'pip ': 'network',
    'pip-audit ': 'network',
    'git clone': 'network',
    'cd ': 'goes on from a clone',
    'bash .ci/run': 'runs the tests',
    'make ': 'installs; .ci/run runs test, lint, types and docs',
    'docker run': 'needs a server',
    'curl ': 'needs a server',
    'export TF_CONFIG': 'train/processes_test.py sets it',
    'tensorboard ': 'does not end',
    'saved_model_cli ': "TensorFlow's own",
}
# In the place of what the reader fills in, and of a system that a page adds.
_FILLED_IN = {
    'S': '0', 'TASK': 'usps_mnist', '...': 'there', 'colours': 'cyclegan'}
# Flags in the text of pages that are other programs' (in addition to XLA's).
_OTHER_FLAGS = {
    '--all', '--allow_version_labels_for_unavailable_models', '--dir',
    '--enable_batching', '--flagfile', '--help', '--logdir',
    '--no-deps', '--reuid', '--strict', '--upgrade',
}


def _blocks(text):
  """Blocks of shell in a page."""
  return [code.replace('\\\n', ' ') for language, code in re.findall(
      r'^```(\w*)\n(.*?)^```$', text, re.M | re.S) if language in ('', 'sh')]


def _inline(text):
  """Pieces of code within the lines of a page."""
  prose = re.sub(r'^```.*?^```$', '', text, flags=re.M | re.S)
  return [' '.join(code.split()) for code in re.findall(r'`([^`]+)`', prose)]


def _split(line):
  """The commands of a line, each a list of words."""
  lexer = shlex.shlex(line, posix=True, punctuation_chars=';&')
  lexer.whitespace_split = True
  commands = [[]]
  try:
    for word in lexer:
      if set(word) <= set(';&'):
        commands.append([])
      else:
        commands[-1].append(word)
  except ValueError:  # An apostrophe: what a program says, and no command.
    return []
  return [words for words in commands if words]


def _program(words):
  """The part of a command up to the program's name."""
  return ' '.join(words[:3 if words[1:2] == ['-m'] else 2])


def _known(words):
  name = _program(words)
  return name in _RUN or any(f'{name} '.startswith(s) for s in _NOT_RUN)


def _commands(page):
  """The commands of a page, each a list of words."""
  text = page.read_text()
  found = []
  for block in _blocks(text):
    lines = [words for line in block.splitlines() for words in _split(line)]
    # Other blocks are output, or a picture made of text.
    if any(map(_known, lines)) or lines[0][0] in ('python', 'pip', 'make'):
      found += lines
  for code in _inline(text):
    found += [words for words in _split(code)
              if words[0] in ('python', 'pip', 'make') or _known(words)]
  return found


@pytest.mark.parametrize('page', _PAGES, ids=lambda page: page.name)
def test_commands_are_run_or_named(page):
  for words in _commands(page):
    assert _known(words), words


def test_the_tests_that_run_them_are_there():
  for test in _RUN.values():
    assert (_ROOT / 'tests' / test).is_file()


@pytest.fixture(name='programs', scope='module')
def _programs():
  """For each program with absl's flags, a parser of its command lines.

  A program defines its flags when it is run; here it does so in a place of its
  own, and stops before it works.
  """
  values = flags.FLAGS
  kept = dict(values.__dict__)
  found = {}
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(app, 'run', lambda main: None)
    for name in _RUN:
      if 'alignflow_tf' in name:
        values.__dict__.update(flags.FlagValues().__dict__)
        path = _ROOT / name.split()[-1].replace('.', '/')
        path = path / '__main__.py' if path.is_dir() else f'{path}.py'
        runpy.run_path(str(path), run_name='__main__')
        found[name] = dict(values.__dict__)
    yield found
  values.__dict__.update(kept)


def _options(path):
  """Options that the source of a program defines, without running it."""
  return {'--' + name for name in re.findall(
      r"(?:add_argument|addoption|DEFINE_\w+)\(\s*'(?:--)?([\w-]+)'",
      path.read_text())}


def _source(name):
  """The file of a program, for those that are no part of the package."""
  word = name.split()[-1]
  if word == 'kit/run.py':
    return _ROOT / 'alignflow_tf/export/stablehlo/runner/command.py'
  return _ROOT / (word if '/' in word else word.replace('.', '/') + '.py')


def _parse(program, words):
  """Parses a command line; of training, resolves the settings too."""
  flags.FLAGS.__dict__.update(program)
  with flagsaver.flagsaver():
    flags.FLAGS(words)
    if words[0].endswith('.train'):
      given = flags_lib.given(config_lib.Config, flags.FLAGS)
      config_lib.resolve(given.pop('preset', None), **given)


def _check(words, programs):
  name = _program(words)
  arguments = []
  for word in words[len(name.split()):]:
    flag, equals, value = word.partition('=')
    arguments.append(flag + equals + _FILLED_IN.get(value, value))
  if name in programs:
    if arguments:
      _parse(programs[name], [name, *arguments])
  elif words[0] == 'make':
    targets = re.findall(r'^([\w-]+):', (_ROOT / 'Makefile').read_text(), re.M)
    assert {a for a in arguments if '=' not in a} <= set(targets), words
  elif '...' not in name and re.match(
      'python.* (benchmarks|examples|kit|tests|tools)[/.]', name):
    given = {a.split('=')[0] for a in arguments if a.startswith('--')}
    assert given <= _options(_source(name)), words


@pytest.mark.parametrize('page', _PAGES, ids=lambda page: page.name)
def test_commands_parse(page, programs):
  for words in _commands(page):
    _check(words, programs)


@pytest.mark.parametrize('page', _PAGES, ids=lambda page: page.name)
def test_flags_in_the_text_are_known(page, programs):
  known = {f'--{f}' for program in programs.values()
           for f in program['__flags']}
  sources = [*_ROOT.glob('benchmarks/*.py'), *_ROOT.glob('tools/*.py'),
             *_ROOT.glob('examples/*.py'), _ROOT / 'tests/train/kills.py',
             _ROOT / 'tests/conftest.py', _source('python kit/run.py')]
  for source in sources:
    known |= _options(source)
  for code in _inline(page.read_text()):
    for flag in re.findall(r'(?:^| )(--(?!xla_)[\w-]+)', code):
      off = f'--{flag[4:]}' if flag.startswith('--no') else flag
      assert {flag, off} & (known | _OTHER_FLAGS), flag

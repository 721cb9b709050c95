"""Imports run one way, from programs down to bijectors, in functions too."""

import ast
import pathlib

_ROOT = pathlib.Path(__file__).parent.parent / 'alignflow_tf'
# A module may import from its own level and from those above it here.
_LEVELS = (
    ('bijectors', 'networks', 'images', 'data', 'objectives', 'protocols',
     'pretrained', 'realism'),
    ('flows',),
    ('model', 'baselines', 'one_to_many'),
    ('inference', 'sheets', 'classification'),
    ('train',),
    ('evaluate', 'adapt', 'export', 'translate'),
    ('demo',),
)
# Rooms of one level that may not import from each other.
_APART = ('evaluate', 'adapt', 'export', 'translate')
_LEVEL = {room: i for i, rooms in enumerate(_LEVELS) for room in rooms}


def _level(room):
  """Place in the order; private helpers of the package are below all rooms."""
  return -1 if room.startswith('_') else _LEVEL[room]


def _imported(path):
  """Names of modules of the package that a file imports, in functions too."""
  for node in ast.walk(ast.parse(path.read_text('utf-8'))):
    if isinstance(node, ast.ImportFrom) and node.module:
      yield from (f'{node.module}.{alias.name}' for alias in node.names)
    elif isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)


def test_imports_run_one_way():
  wrong = set()
  for path in sorted(_ROOT.rglob('*.py')):
    module = '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
    room, *inner = module.split('.')
    # Programs call one another, and the package's own names come from all.
    if inner[-1:] == ['__main__'] or room == '__init__':
      continue
    for name in _imported(path):
      if name.startswith('alignflow_tf.'):
        other = name.split('.')[1]
        if _level(other) > _level(room) or (
            other != room and {other, room} <= set(_APART)):
          wrong.add((module, name.removeprefix('alignflow_tf.')))
  assert not wrong

"""The code of docs/tfp_guide.md, run as it stands."""

import pathlib
import re

_GUIDE = pathlib.Path(__file__).parent.parent.parent / 'docs/tfp_guide.md'
_RUN = "'runs/digits'"


def test_blocks_run_in_order(exported):
  text = _GUIDE.read_text()
  blocks = list(re.finditer(r'^```python\n(.*?)^```', text, re.M | re.S))
  assert len(blocks) == 13
  assert text.count(_RUN) == 1
  names = {}
  for block in blocks:
    # The lines before keep their numbers in a traceback.
    above = '\n' * text.count('\n', 0, block.start(1))
    code = above + block.group(1).replace(_RUN, repr(exported.run.directory))
    exec(compile(code, str(_GUIDE), 'exec'), names)
  assert names['model'].domains == exported.model.domains
  assert names['edited'].shape == names['x'].shape
  assert names['mixed'].event_shape == (8, 8, 1)

"""What a run writes of its figures."""

import json

from alignflow_tf.train import loop
from tests.train import tiny


def test_what_is_past_the_checkpoint_is_cut_off(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  with loop.monitor_lib.Monitor(str(tmp_path), 9, 8) as monitor:
    for step in (1, 2, 3):
      monitor.scalars(step, {'loss': 1.})
  with open(path, 'a') as f:
    f.write('{"ste')
  events, = (tmp_path / 'summaries').iterdir()
  with open(events, 'ab') as f:
    f.write(b'half a record')
  with loop.monitor_lib.Monitor(str(tmp_path), 9, 8, step=2) as monitor:
    monitor.scalars(3, {'loss': 1.5})
  assert [json.loads(line) for line in path.read_text().splitlines()] == [
      {'step': 1, 'loss': 1.}, {'step': 2, 'loss': 1.},
      {'step': 3, 'loss': 1.5}]
  assert [step for step, _, _ in tiny.events(tmp_path)] == [1, 2, 3]

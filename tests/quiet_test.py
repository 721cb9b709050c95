"""What programs write to a terminal, apart from what they have to say."""

import os
import pty
import subprocess
import sys

from alignflow_tf import _progress

_PROGRAM = """
import os
from alignflow_tf.{} import __main__
import tensorflow as tf
tf.constant(1.) + 1.
tf.config.list_logical_devices()
os.write(2, b'E0000 of our own\\n')
"""


def test_tensorflow_starts_without_a_word(repo_root):
  environment = {k: v for k, v in os.environ.items()
                 if k != 'TF_CPP_MIN_LOG_LEVEL'}
  done = subprocess.run(
      [sys.executable, '-c', _PROGRAM.format('export')], cwd=repo_root,
      env=environment, capture_output=True, text=True)
  assert done.stderr == 'E0000 of our own\n'
  assert done.returncode == 0


def _seen_on_a_terminal(monkeypatch, work):
  parent, child = pty.openpty()
  with os.fdopen(child, 'w') as terminal:
    monkeypatch.setattr(sys, 'stdout', terminal)
    work()
    terminal.flush()
    text = os.read(parent, 10000).decode()
  os.close(parent)
  return text


def _work():
  progress = _progress.Progress(40, 'pictures')
  progress.say('first')
  progress.update(5)
  progress._shown -= 60.
  progress.update(10)
  progress.say('a note')
  progress.update(40)
  progress.close()


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(
    monkeypatch, capsys):
  _work()
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == 'first'
  assert lines[1].startswith('10/40 pictures  ')
  assert lines[1].endswith(' left')
  assert lines[2] == 'a note'
  assert lines[3].startswith('40/40 pictures  ')
  assert len(lines) == 4
  text = _seen_on_a_terminal(monkeypatch, _work)
  assert '\r[#####...............] 10/40 pictures  ' in text
  assert '\ra note\x1b[K\r\n' in text
  assert '\r[####################] 40/40 pictures  ' in text

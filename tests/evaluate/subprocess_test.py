"""Programs that a program runs: what signals do to both."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from alignflow_tf.evaluate import _subprocess

# As training does: a first signal ends it in order, a second one at once.
_CHILD = """
import os, signal, sys, time
stop = []
def handle(signum, frame):
  stop.append(signum)
  for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, signal.SIG_DFL)
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
  signal.signal(each, handle)
print('ready', os.getpid(), flush=True)
while not stop:
  time.sleep(0.01)
time.sleep(0.4)
print('saved', flush=True)
sys.exit(128 + stop[0])
"""
# The module alone: importing the package takes seconds.
# `nohup`, or a shell's `&`, may have these tests ignore some signals.
_PARENT = """
import importlib.util, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
  signal.signal(each, signal.SIG_DFL)
spec = importlib.util.spec_from_file_location('_subprocess', sys.argv[1])
_subprocess = importlib.util.module_from_spec(spec)
spec.loader.exec_module(_subprocess)
try:
  print('ended with', _subprocess.call([sys.executable, '-c', sys.argv[2]]))
except _subprocess.Stopped as e:
  print(e)
  sys.exit(128 + e.signum)
"""


@pytest.fixture
def pair():
  """A process that runs `call`, and the id of what that runs."""
  parent = subprocess.Popen(
      [sys.executable, '-c', _PARENT, _subprocess.__file__, _CHILD], text=True,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
  ready, child = parent.stdout.readline().split()
  assert ready == 'ready'
  yield parent, int(child)
  if parent.poll() is None:
    for pid in (int(child), parent.pid):
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
  parent.communicate()


def _state(pid):
  try:
    with open(f'/proc/{pid}/stat') as f:
      return f.read().rsplit(')', 1)[1].split()[0]
  except FileNotFoundError:
    return None


@pytest.mark.parametrize('signum', [
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_what_the_program_saves(signum, pair):
  parent, child = pair
  # To the group, as a terminal does; and once more at once, as `timeout` does.
  os.killpg(parent.pid, signum)
  os.kill(parent.pid, signum)
  text, _ = parent.communicate(timeout=30)
  assert text.splitlines() == [
      'saved', f'Stopped by {signum.name}; the same command goes on from here.']
  assert parent.returncode == 128 + signum
  assert _state(child) is None


def test_without_a_signal():
  assert _subprocess.call(
      [sys.executable, '-c', 'import sys; sys.exit(3)']) == 3
  before = signal.getsignal(signal.SIGTERM)
  assert _subprocess.call(['true']) == 0
  assert signal.getsignal(signal.SIGTERM) is before

"""What building and tracing are spared."""

import gc
import threading

import pytest

from alignflow_tf.train import tracing


@pytest.mark.parametrize('enabled', [True, False])
def test_the_collector_is_as_it_was(enabled):
  seen = []

  @tracing.uncollected()
  def fail():
    seen.append(gc.isenabled())
    raise KeyError

  if not enabled:
    gc.disable()
  try:
    for _ in range(2):  # A decorator serves each call.
      with pytest.raises(KeyError):
        fail()
    assert gc.isenabled() == enabled
  finally:
    gc.enable()
  assert seen == [False, False]


def test_the_collector_stays_off_until_the_last_one_is_out():
  inside, leave = threading.Event(), threading.Event()

  def first():
    with tracing.uncollected():
      inside.set()
      leave.wait(60.)

  thread = threading.Thread(target=first)
  thread.start()
  assert inside.wait(60.)
  with tracing.uncollected():
    leave.set()
    thread.join()
    assert not gc.isenabled()
  assert gc.isenabled()

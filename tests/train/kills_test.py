"""Real processes, killed."""

import pytest

from tests.train import kills


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path):
  counts, number, differences = kills.run(
      str(tmp_path), kills=20, limit=7200.)
  assert counts.get('done before', 0) == 0
  assert number > 100
  assert not differences

"""What the tests of adaptation have in common."""

import pytest

from alignflow_tf import data


@pytest.fixture(scope='session')
def domains():
  return data.load('digits')

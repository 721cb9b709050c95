"""What the tests of adaptation have in common."""

import pytest

from alignflow_tf import adapt
from alignflow_tf import data
from tests.adapt import small


@pytest.fixture(scope='session')
def domains():
  return data.load('digits')


@pytest.fixture(scope='session')
def done(domains, tmp_path_factory):
  """Results of two methods in one directory, which have stages in common."""
  output = str(tmp_path_factory.mktemp('adapt') / 'seed_0')
  results = {
      method: adapt.adapt(
          domains, 'mnist', 'optical', method, output, small.warped())
      for method in ('alignflow', 'alignflow+')}
  return output, results

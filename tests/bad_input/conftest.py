"""Every test of bad input is in an empty folder, which must stay empty."""

import os

import pytest


@pytest.fixture(scope='module', autouse=True)
def _folder(tmp_path_factory):
  """An empty folder to be in, which stays empty."""
  before = os.getcwd()
  path = tmp_path_factory.mktemp('empty')
  os.chdir(path)
  yield path
  os.chdir(before)


@pytest.fixture(autouse=True)
def _nothing_left(_folder):
  yield
  assert not os.listdir(_folder)

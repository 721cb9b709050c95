"""Tests of what comes out: SavedModels, tables, criteria."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import classification
from alignflow_tf import images as images_lib
from alignflow_tf.adapt import criteria
from alignflow_tf.adapt import report
from alignflow_tf.adapt import savedmodel
from alignflow_tf.adapt import stages
from tests import cpp_loader
from tests.adapt import small
from tests.data import fakes


@pytest.fixture
def named(tmp_path):
  """A result with names of classes, where the documentation has one."""
  inner = stages.build((8, 10, 3), 2, small.settings(), 0)
  model = savedmodel.public(inner)
  path = tmp_path / 'runs/adapt/drawn_photo/seed_0/alignflow'
  path.mkdir(parents=True)
  model.save(path / 'model.keras')
  savedmodel.save(model, str(path / 'saved_model/1'), ['cat', 'dog'])
  (path / 'result.json').write_text(json.dumps({'classes': ['cat', 'dog']}))
  return path, inner


def test_names_of_classes_are_served(named):
  path, inner = named
  images = np.random.RandomState(0).randint(0, 256, (3, 8, 10, 3), np.uint8)
  want = classification.predict(inner, images)
  with cpp_loader.load(str(path / 'saved_model/1')) as served:
    none = served.run({'image': np.zeros([0, 8, 10, 3], np.float32)})
    assert {k: v.shape for k, v in none.items()} == {
        'label': (0,), 'probabilities': (0, 2), 'classes': (0, 2)}
    got = served.run({'image': images_lib.from_uint8(
        tf.constant(images)).numpy()}, signature='classify')
  np.testing.assert_allclose(got['probabilities'], want, atol=1e-5)
  assert got['classes'].tolist() == [[b'cat', b'dog']] * 3


def test_the_documentations_example_runs(named, repo_root, monkeypatch):
  path, inner = named
  text = (repo_root / 'docs/adaptation.md').read_text()
  block, = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  monkeypatch.chdir(path.parents[4])
  fakes.write_picture('photo.jpg', fakes.colour())
  names = {}
  exec(block, names)  # Our own documentation.
  want = classification.predict(inner, names['levels'].astype(np.uint8))
  np.testing.assert_allclose(names['probabilities'], want, atol=1e-5)
  assert names['name'] == ['cat', 'dog'][want[0].argmax()]
  assert names['served_name'] == names['name']


def test_table_has_mean_spread_and_the_papers_row():
  runs = [{'accuracy': a, 'seed': i, 'skip': [], 'criteria': {'entropy': 0.1}}
          for i, a in enumerate((0.9, 0.92))]
  text = report.table({'alignflow': runs}, 'mnist_usps')
  assert '91.00' in text
  assert '1.41' in text
  assert '96.2 +- 0.2' in text
  assert '0: 90.00 1: 92.00' in text


def test_table_has_shots_row_and_none_where_stages_are_left_out():
  def row(method, skip, **arguments):
    runs = [{'accuracy': 0.9, 'seed': 0, 'skip': skip, 'criteria': {}}]
    return report.table({method: runs}, 'usps_mnist', **arguments)

  assert '(SHOT 98.0)' in row('alignflow+', [])
  assert '96.7' in row('alignflow', [])
  # A stage that the method does not have changes nothing.
  assert '90.1' in row('adda', ['translator'])
  for method, stage in (('alignflow+', 'target'), ('alignflow', 'semantic'),
                        ('adda', 'feature')):
    text = row(method, [stage])
    assert 'SHOT' not in text
    assert '+-' not in text
  assert '+-' not in row('alignflow', [], published=False)


def test_published_rows_are_of_no_label_of_the_target():
  run = {'accuracy': 0.9, 'seed': 0, 'skip': [], 'criteria': {}}
  for few, shown in ((0, True), (20, False)):
    text = report.table({'alignflow': [run | {'few_labels': few}]},
                        'usps_mnist')
    assert ('96.7 +- 0.1' in text) == shown


def test_table_of_criteria_that_differ_and_are_not_finite():
  adda, flow = ([{'accuracy': None, 'seed': 0, 'skip': [], 'criteria': c}]
                for c in ({'entropy': None}, {'entropy': 0.1, 'rarest': 0.2}))
  text = report.table({'adda': adda, 'alignflow': flow, 'cycada': []}, 'a_b')
  rows = [line.split() for line in text.splitlines()]
  assert ['method', 'seed', 'entropy', 'rarest'] in rows
  assert ['adda', '0', '-', '-'] in rows
  assert ['alignflow', '0', '0.1000', '0.2000'] in rows


def test_criteria():
  sure = np.eye(4)
  got = criteria.unsupervised(sure)
  assert got['information'] == pytest.approx(np.log(4.))
  assert got['entropy'] == pytest.approx(0., abs=1e-6)
  flat = criteria.unsupervised(np.full((6, 4), 0.25))
  assert flat['information'] == pytest.approx(0.)
  assert flat['sure'] == 0.
  one = criteria.unsupervised(np.eye(4)[[0, 0, 0]])
  assert one['spread'] == pytest.approx(0., abs=1e-6)
  assert one['rarest'] == 0.

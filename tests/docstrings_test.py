"""Examples in docstrings: there, and with the output that they name."""

import doctest
import inspect

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import alignflow_tf
from alignflow_tf import bijectors
from alignflow_tf import flows
from alignflow_tf import images
from alignflow_tf import inference
from alignflow_tf import networks
from alignflow_tf import one_to_many

NAMES = {
    'alignflow_tf': alignflow_tf, 'bijectors': bijectors, 'flows': flows,
    'images': images, 'inference': inference, 'networks': networks,
    'np': np, 'one_to_many': one_to_many, 'tf': tf, 'tfp': tfp}
PUBLIC = {
    f'{module.__name__}.{name}': getattr(module, name)
    for module, names in (
        (alignflow_tf, alignflow_tf.__all__), (bijectors, bijectors.__all__),
        (flows, flows.__all__), (inference, ['Evaluator']),
        (one_to_many, one_to_many.__all__),
        (bijectors.transforms, bijectors.transforms.__all__),
        (images, ['bits_per_dim', 'dequantize', 'from_uint8']))
    for name in names
    if callable(getattr(module, name)) and (
        not inspect.isabstract(getattr(module, name)))}


@pytest.mark.parametrize('name', PUBLIC)
def test_a_public_object_has_an_example_that_runs(name):
  text = inspect.getdoc(PUBLIC[name])
  examples = doctest.DocTestParser().get_doctest(text, dict(NAMES), name, '', 0)
  # `ImageBijector` shows a whole subclass; docs/extending.md has one run.
  assert examples.examples or '```python\n' in text
  report = []
  runner = doctest.DocTestRunner(verbose=False)
  runner.run(examples, out=report.append)
  assert not runner.failures, ''.join(report)

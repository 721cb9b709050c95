"""Models, images and metrics."""

import numpy as np
import pytest

import alignflow_tf as af
from alignflow_tf import inference
from alignflow_tf import sheets
from alignflow_tf.evaluate import probes
from tests.bad_input import bad

B = af.bijectors
SHAPE, COUNTS, NAN = bad.SHAPE, bad.COUNTS, bad.NAN


def _identity(shape):
  del shape
  return B.ImagePreprocess()


@pytest.fixture(scope='module')
def model():
  return af.AlignFlow(('a', 'b'), SHAPE, adapter=_identity)


GREY = np.full([2, *SHAPE], 0.5, np.float32)
MODEL = [
    *[('domains', v, lambda m, v=v: af.AlignFlow(v, SHAPE, adapter=_identity))
      for v in ('ab', (), ('a',), ('a', 'a'), ('a', ''), ('a', 3), 5)],
    *[('event_shape', v,
       lambda m, v=v: af.AlignFlow(('a', 'b'), v, adapter=_identity))
      for v in ((8, 8), (8, 8, 0), (None, 8, 1), 32)],
    ('adapter', bad.Shown("('a',)"),
     lambda m: af.AlignFlow(('a', 'b'), SHAPE, adapter={'a': B.Squeeze()})),
    ('adapter', bad.Shown("'x'"),
     lambda m: af.AlignFlow(('a', 'b'), SHAPE, adapter=lambda shape: 'x')),
    ('adapter', bad.Shown('(8, 8, 4)'),
     lambda m: af.AlignFlow(('a', 'b'), SHAPE, adapter=lambda _: B.Squeeze())),
    ('domain', 'c', lambda m: m['c']),
    ('domain', 'c', lambda m: m.flow('c')),
    ('source', 'c', lambda m: m.translator('c', 'a')),
    ('target', None, lambda m: m.translator('a', None)),
    ('domain', 'c', lambda m: m.bits_per_dim(GREY, 'c')),
    ('images', bad.Shown("('a',)"), lambda m: m.initialize({'a': GREY})),
    ("images['a']", bad.Shown('int64'),
     lambda m: m.initialize({'a': np.ones([2, *SHAPE], np.int64), 'b': GREY})),
    ("images['b']", bad.Shown('[2, 16, 16]'),
     lambda m: m.initialize({'a': GREY, 'b': GREY[..., 0]})),
    ("images['b']", bad.Shown('NaN'),
     lambda m: m.initialize({'a': GREY, 'b': GREY * NAN})),
    ("images['b']", bad.Shown('127.5'),
     lambda m: m.initialize({'a': GREY, 'b': 255 * GREY})),
    ("images['b']", bad.Shown('none'),
     lambda m: m.initialize({'a': GREY, 'b': GREY[:0]})),
    *[('num', v, lambda m, v=v: m.interpolate(GREY, GREY, 'a', v))
      for v in (1, 0, -2, 2.5, '3', None, True)],
    ('source', 'c', lambda m: m.interpolate(GREY, GREY, 'c')),
    ('x0', bad.Shown('[16, 16, 1]'),
     lambda m: m.interpolate(GREY[0], GREY, 'a')),
    ('x1', bad.Shown('[2, 8, 8, 1]'),
     lambda m: m.interpolate(GREY, GREY[:, ::2, ::2], 'a')),
    ('x0', bad.Shown('(1, 16, 16, 1)'),
     lambda m: m.interpolate(GREY[:1], GREY, 'a')),
    *[('width', v, lambda m, v=v: af.images.dequantize(
        np.zeros([1, *SHAPE], np.uint8), (0, 1), v)) for v in (0.5, -1., NAN)],
    ('images', bad.Shown('float32'),
     lambda m: af.images.dequantize(GREY, (0, 1))),
    ('images', bad.Shown('float32'), lambda m: af.images.from_uint8(GREY)),
    *[('batch_size', v, lambda m, v=v: inference.Evaluator(m, v))
      for v in COUNTS],
    ('images', bad.Shown('[2, 16, 16]'),
     lambda m: inference.Evaluator(m).translate(GREY[..., 0], 'a', 'b')),
    *[('images', bad.Shown(d), lambda m, d=d: inference.Evaluator(m).translate(
        GREY.astype(d), 'a', 'b')) for d in ('uint8', 'int64')],
    ('images', bad.Shown('[0, 16, 16, 1]'),
     lambda m: inference.Evaluator(m).round_trip(GREY[:0], 'a', 'b')),
    ('source', 'c', lambda m: inference.Evaluator(m).translate(GREY, 'c', 'b')),
    ('levels', bad.Shown('float32'),
     lambda m: inference.Evaluator(m).bits_per_dim(GREY, 'a')),
    ('scale', 0, lambda m: sheets.grid([GREY], scale=0)),
    ('gap', -1, lambda m: sheets.grid([GREY], gap=-1)),
    ('rows', [], lambda m: sheets.grid([])),
    ('labels', bad.Shown('[3]'), lambda m: probes.train_classifier(
        GREY, np.zeros([3], np.int64), 10)),
    *[('steps', v, lambda m, v=v: probes.train_classifier(
        GREY, np.zeros([2], np.int64), 10, steps=v)) for v in (0, -1, 1.5)],
]


@pytest.mark.parametrize(('name', 'value', 'call'), MODEL)
def test_model_images_and_metrics(name, value, call, model):
  bad.fails(name, value, lambda: call(model))

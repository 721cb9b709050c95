"""The serving kit, its clients and its documentation."""

from concurrent import futures
import importlib.util
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from alignflow_tf import images as images_lib
from alignflow_tf import train
from alignflow_tf.data import recipe
from alignflow_tf.export import codec
from alignflow_tf.export import export
from alignflow_tf.export import kit
from tests import cpp_loader
from tests.export import rest

_ROOT = pathlib.Path(__file__).parent.parent.parent
_BODIES = re.findall(
    r'^```\nPOST (\S+)\n(.*?)^```$', (_ROOT / 'docs/serving.md').read_text(),
    re.MULTILINE | re.DOTALL)


def _example(name):
  spec = importlib.util.spec_from_file_location(
      name, _ROOT / 'examples' / f'{name}.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='module', name='models')
def _models(exported):
  models = {name: cpp_loader.load(exported.paths[name])
            for name in ('ink_to_chalk', 'ink')}
  yield models
  for model in models.values():
    model.close()


@pytest.fixture(name='picture')
def _picture(tmp_path):
  levels = np.random.RandomState(0).randint(0, 256, (8, 8, 1)).astype(np.uint8)
  path = tmp_path / 'in.png'
  path.write_bytes(tf.io.encode_png(levels).numpy())
  return path


def test_without_a_server(exported):
  block, = re.findall(
      r'^```python\n(.*?)^```$', (_ROOT / 'docs/serving.md').read_text(),
      re.MULTILINE | re.DOTALL)
  names = {}
  exec(block.replace(
      'serving/ink_to_chalk/1', exported.paths['ink_to_chalk']), names)
  np.testing.assert_allclose(
      names['translated'], exported.model.translator('ink', 'chalk').forward(
          names['images']), atol=1e-5)


def _assert_translated(exported, picture, answer):
  x = images_lib.from_uint8(tf.io.decode_png(picture.read_bytes()))
  y = exported.model.translator('ink', 'chalk').forward(x[tf.newaxis])
  expected = images_lib.to_uint8(y)[0].numpy().astype(int)
  got = tf.io.decode_png(answer).numpy().astype(int)
  assert np.abs(got - expected).max() <= 1


def test_models_config_and_batching_parse_as_the_servers(exported):
  config = pytest.importorskip(
      'tensorflow_serving.config.model_server_config_pb2',
      reason='needs tensorflow-serving-api')
  from google.protobuf import text_format
  parsed = text_format.Parse(
      (exported.base / 'models.config').read_text(), config.ModelServerConfig())
  found = {c.name: c for c in parsed.model_config_list.config}
  assert set(found) == set(exported.paths)
  for name, one in found.items():
    assert one.base_path == f'/models/{name}'
    assert list(one.model_version_policy.specific.versions) == [1]
    assert dict(one.version_labels) == {'latest': 1}
  batching = (exported.base / 'batching.config').read_text()
  sizes = [int(n) for n in re.findall(r'allowed_batch_sizes: (\d+)', batching)]
  # A server does not start otherwise.
  assert f'max_batch_size {{ value: {sizes[-1]} }}' in batching
  assert sizes == sorted(sizes)


@pytest.mark.parametrize('name', [
    'ink', pytest.param('ink_to_chalk', marks=pytest.mark.slow)])
def test_warmup_requests_parse_and_run(exported, models, name):
  log = pytest.importorskip(
      'tensorflow_serving.apis.prediction_log_pb2',
      reason='needs tensorflow-serving-api')
  path = f'{exported.paths[name]}/assets.extra/tf_serving_warmup_requests'
  seen = set()
  for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
    request = log.PredictionLog.FromString(record).predict_log.request
    assert request.model_spec.name == name
    seen.add(request.model_spec.signature_name)
    models[name].run(
        {k: tf.make_ndarray(v) for k, v in request.inputs.items()},
        request.model_spec.signature_name)
  assert seen == set(models[name].signatures)


@pytest.mark.parametrize(('path', 'body'), _BODIES)
def test_rest_bodies_of_the_documentation(models, path, body):
  status, answer = rest.handle(models, 'POST', path, body)
  assert status == 200, answer
  assert set(answer) in ({'predictions'}, {'outputs'})


def test_the_documentation_has_rest_bodies():
  assert len(_BODIES) == 4


def test_rest_refuses_with_the_graphs_reason(models):
  image = np.full([2, 8, 8, 1], 0.5)
  for value, reason in ((200., 'row 1'), (float('nan'), 'must be finite')):
    image[1, 0, 0, 0] = value
    status, answer = rest.handle(
        models, 'POST', '/v1/models/ink:predict',
        json.dumps({'inputs': image.tolist()}))
    assert status == 400
    assert reason in answer['error']


def test_rest_example(exported, models, picture, tmp_path, capsys):
  client = _example('serving_rest')
  with rest.Server(models) as server:
    arguments = ['--url', server.url, '--servable', 'ink_to_chalk']
    assert client.main([*arguments, '--health']) == 0
    assert client.main([*arguments[:3], 'nothing', '--health']) == 1
    out = tmp_path / 'out.png'
    assert client.main([*arguments, str(picture), str(out)]) == 0
    _assert_translated(exported, picture, out.read_bytes())
    picture.write_bytes(b'no picture')
    assert client.main([*arguments, str(picture), str(out)]) == 1
    assert 'must hold PNG or JPEG' in capsys.readouterr().err
  assert client.main([*arguments, '--health']) == 1


def test_grpc_example(exported, models, picture, tmp_path, capsys):
  reason = 'needs tensorflow-serving-api'
  service = pytest.importorskip(
      'tensorflow_serving.apis.prediction_service_pb2_grpc', reason=reason)
  status_service = pytest.importorskip(
      'tensorflow_serving.apis.model_service_pb2_grpc', reason=reason)
  import grpc
  from tensorflow_serving.apis import get_model_status_pb2
  from tensorflow_serving.apis import predict_pb2
  client = _example('serving_grpc')

  class Predictions(service.PredictionServiceServicer):

    def Predict(self, request, context):  # noqa: N802
      answer = predict_pb2.PredictResponse()
      try:
        outputs = models[request.model_spec.name].run(
            {k: tf.make_ndarray(v) for k, v in request.inputs.items()},
            request.model_spec.signature_name)
      except cpp_loader.CppLoaderError as e:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, e.message)
      for name, value in outputs.items():
        answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
      return answer

  class Status(status_service.ModelServiceServicer):

    def GetModelStatus(self, request, context):  # noqa: N802
      if request.model_spec.name not in models:
        context.abort(grpc.StatusCode.NOT_FOUND, 'no such model')
      answer = get_model_status_pb2.GetModelStatusResponse()
      answer.model_version_status.add(version=1, state=30)
      return answer

  server = grpc.server(futures.ThreadPoolExecutor(1))
  service.add_PredictionServiceServicer_to_server(Predictions(), server)
  status_service.add_ModelServiceServicer_to_server(Status(), server)
  port = server.add_insecure_port('127.0.0.1:0')
  server.start()
  try:
    address, out = f'127.0.0.1:{port}', tmp_path / 'out.png'
    with grpc.insecure_channel(address) as channel:
      assert client.is_available(channel, 'ink_to_chalk')
      assert not client.is_available(channel, 'nothing')
    arguments = ['--address', address, '--servable', 'ink_to_chalk']
    assert client.main([*arguments, str(picture), str(out)]) == 0
    _assert_translated(exported, picture, out.read_bytes())
    picture.write_bytes(b'no picture')
    assert client.main([*arguments, str(picture), str(out)]) == 1
    assert 'must hold PNG or JPEG' in capsys.readouterr().err
  finally:
    server.stop(None).wait()


def test_readme_has_the_docker_line_and_all_servables(exported):
  text = (exported.base / 'README.md').read_text()
  assert f'-v "{exported.base}:/models:ro" tensorflow/serving' in text
  for name in exported.paths:
    assert f'| `{name}` | 1 |' in text


def test_no_partial_directories_are_left(exported):
  assert {p.name for p in exported.base.iterdir()} == {
      *exported.paths, 'models.config', 'batching.config', 'README.md'}


def test_versions_go_on_and_are_labelled(exported, tmp_path):
  for name in exported.paths:
    for version in ('1', '2', '10', '.partial-3', '007', 'notes'):
      (tmp_path / name / version).mkdir(parents=True)
      (tmp_path / name / version / 'saved_model.pb').touch()
  assert kit.versions(tmp_path / 'ink') == [1, 2, 10]
  assert export._version(str(tmp_path), list(exported.paths), None) == 11
  assert export._version(str(tmp_path), list(exported.paths), 5) == 5
  # One servable is behind: the next version is still one for all.
  shutil.rmtree(tmp_path / 'ink' / '10')
  assert export._version(str(tmp_path), list(exported.paths), None) == 11
  kit.write(str(tmp_path))
  text = (tmp_path / 'models.config').read_text()
  assert "key: 'latest' value: 10" in text
  assert "key: 'previous' value: 2" in text


@pytest.mark.parametrize('version', [1, 0, -3, True, 1.5])
def test_versions_that_are_refused(exported, version):
  with pytest.raises(export.ExportError, match='`version`'):
    export.export_model(exported.model, str(exported.base), version)


@pytest.mark.parametrize(('name', 'value'), [
    ('max_batch', 0), ('max_pixels', -1), ('max_batch', 1.5),
    ('many', {'ink': 0}), ('many', {'ink': 1.5}), ('many', {'wood': 2})])
def test_limits_that_are_refused(exported, tmp_path, name, value):
  with pytest.raises(export.ExportError, match=f'`{name}`'):
    export.export_model(exported.model, str(tmp_path), **{name: value})


@pytest.mark.parametrize('domains', [
    ('a', 'b/c'), ('a', '.b'), ('a', 'b', 'a_to_b')])
def test_domains_that_are_no_names_of_servables_are_refused(domains):
  with pytest.raises(export.ExportError, match='`domains`'):
    export._names(domains)


def test_a_run_that_is_none_is_refused(tmp_path):
  with pytest.raises(train.RunError, match='`run`'):
    export.export_run(str(tmp_path), str(tmp_path / 'out'))
  assert not (tmp_path / 'out').exists()


def test_pictures_are_prepared_by_the_rule_of_the_run():
  facts = {'domains': {
      **{fit: {'resizing': recipe.Recipe((8, 8), 1, fit).rule()}
         for fit in recipe.FITS},
      'optical': {'resizing': "bicubic, 8x8 to the set's size"},
      'mnist': {'resizing': 'bilinear with antialiasing, 28x28 to ...'}}}
  for fit in recipe.FITS:
    assert codec.Preparation.of(facts, fit, 12) == codec.Preparation(
        fit, 'bilinear', 12)
  assert codec.Preparation.of(facts, 'mnist') == codec.Preparation('stretch')
  assert codec.Preparation.of(facts, 'optical') == codec.Preparation(
      'stretch', 'bicubic')
  assert codec.Preparation.of({}, 'a') == codec.Preparation('crop')


@pytest.mark.parametrize('preparation', [
    codec.Preparation('stretch', 'bicubic'), codec.Preparation('pad'),
    codec.Preparation('crop', load_size=11), codec.Preparation('stretch')])
def test_any_size_becomes_the_models(preparation):
  for shape in ((1, 1, 1), (30, 7, 3), (5, 9, 4)):
    image = tf.fill(shape, tf.constant(255, tf.uint8))
    for channels in (1, 3):
      out = preparation.apply(image, tf.constant(1), (8, 8, channels))
      assert out.shape == (8, 8, channels)
      assert out[4, 4, 0] == 255

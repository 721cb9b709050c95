"""Translates a picture through TF Serving's gRPC interface.

pip install grpcio && pip install --no-deps tensorflow-serving-api
python examples/serving_grpc.py --servable=optical_to_mnist in.png out.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc


def is_available(channel: grpc.Channel, servable: str) -> bool:
  """Whether the server has a version of a servable that takes requests."""
  request = get_model_status_pb2.GetModelStatusRequest()
  request.model_spec.name = servable
  try:
    answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
        request, timeout=5.)
  except grpc.RpcError:
    return False
  available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
  return any(v.state == available for v in answer.model_version_status)


def predict(channel: grpc.Channel, servable: str, signature: str,
            **inputs: np.ndarray) -> dict[str, np.ndarray]:
  """Runs a signature on arrays and gives arrays."""
  request = predict_pb2.PredictRequest()
  request.model_spec.name = servable
  request.model_spec.signature_name = signature
  for name, value in inputs.items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
  stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
  answer = stub.Predict(request, timeout=30.)
  return {k: tf.make_ndarray(v) for k, v in answer.outputs.items()}


def main(argv: Sequence[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--address', default='localhost:8500')
  parser.add_argument('--servable', required=True)
  parser.add_argument('source')
  parser.add_argument('target')
  args = parser.parse_args(argv)
  with open(args.source, 'rb') as f:
    picture = f.read()
  with grpc.insecure_channel(args.address) as channel:
    try:
      answer = predict(channel, args.servable, 'translate_encoded',
                       image_bytes=np.array([picture], object))
    except grpc.RpcError as e:
      print(f'{args.address}: {e.details()}', file=sys.stderr)
      return 1
  with open(args.target, 'wb') as f:
    f.write(answer['image_bytes'][0])
  return 0


if __name__ == '__main__':
  sys.exit(main())

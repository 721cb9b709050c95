"""Translate, log_prob and sample beside their convolutions and other libraries.

  python benchmarks/flow_passes.py [--seconds=10] [--torch_python=PYTHON]

Ours is the paper's architecture. The floor of a pass runs exactly the
convolutions that are in its graph. `tfb.Glow` of TFP has no Real NVP on images
of several scales; its row is a Glow of three scales with its own networks,
beside ours of as many steps. `normflows` (PyTorch) runs in a process of another
Python, named by --torch_python, which has torch and normflows; its row is a
Glow of the same numbers of scales, steps and channels, eager as it comes. Its
networks are smaller than ours, so a third Glow is ours with networks like its.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
import os
import subprocess
from typing import Any

import _common

_SHAPE = (32, 32, 3)
# Of the Glows: scales, steps a scale, hidden channels.
_GLOW = (3, 4, 64)

# Run by another Python: figures of the same passes, in seconds.
_TORCH = """
import json, statistics, sys, time
import torch
import normflows as nf
scales, steps, channels, batch, seconds = json.loads(sys.argv[1])
torch.manual_seed(0)
q0, merges, flows = [], [], []
shape = (3, 32, 32)
for i in range(scales):
  blocks = [nf.flows.GlowBlock(
      3 * 2**(scales + 1 - i), channels, split_mode='channel', scale=True)
            for _ in range(steps)]
  flows.append(blocks + [nf.flows.Squeeze()])
  if i > 0:
    merges.append(nf.flows.Merge())
    latent = (3 * 2**(scales - i), 32 // 2**(scales - i), 32 // 2**(scales - i))
  else:
    latent = (3 * 2**(scales + 1), 32 // 2**scales, 32 // 2**scales)
  q0.append(nf.distributions.DiagGaussian(latent, trainable=False))
model = nf.MultiscaleFlow(q0, flows, merges)
x = torch.rand(batch, *shape)
flops = []
hooks = [m.register_forward_hook(
    lambda m, _, y: flops.append(2 * y.numel() * m.weight[0].numel()))
         for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
with torch.no_grad():
  model.log_prob(x, None)
for hook in hooks:
  hook.remove()
passes = {'log_prob': lambda: model.log_prob(x, None),
          'sample': lambda: model.sample(batch)}
result = {}
with torch.no_grad():
  for name, run in passes.items():
    run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
      begin = time.perf_counter()
      run()
      times.append(time.perf_counter() - begin)
    result[name] = [statistics.median(times), min(times)]
result['parameters'] = sum(p.numel() for p in model.parameters())
result['convolutions'], result['flops'] = len(flops), sum(flops)
print(json.dumps(result))
"""


def _passes(distribution: Any, batch: int, flow: Any = None
           ) -> dict[str, Any]:
  """Concrete functions of the passes of a distribution."""
  import tensorflow as tf

  from alignflow_tf import networks

  image = tf.TensorSpec([batch, *_SHAPE])

  def trace(function: Callable[..., Any], *specs: tf.TensorSpec) -> Any:
    return tf.function(
        function, autograph=False).get_concrete_function(*specs)

  traced = {
      'log_prob': trace(lambda x: distribution.log_prob(x), image),
      'sample': trace(lambda seed: distribution.sample(batch, seed=seed),
                      tf.TensorSpec([2], tf.int32))}
  if flow is not None:

    def both_ways(x: tf.Tensor) -> tf.Tensor:
      return tf.stack([flow.forward(x), flow.inverse(x)])

    traced['translate'] = trace(lambda x: flow.forward(x), image)
    traced['translate both ways'] = trace(both_ways, image)
    with networks.fold_weight_norm(flow):
      traced['translate, as exported'] = trace(
          lambda x: flow.forward(x), image)
      traced['translate both ways, as exported'] = trace(both_ways, image)
  return traced


def _measure(title: str, traced: dict[str, Any], batch: int,
             seconds: float) -> None:
  import tensorflow as tf

  inputs = {'sample': tf.constant([0, 1])}
  x = tf.random.uniform([batch, *_SHAPE])
  for name, function in traced.items():
    argument = inputs.get(name, x)
    counts = _common.convolutions(function)
    print(f'\n{title}, {name}, batch {batch}: {sum(counts.values())} '
          f'convolutions, {_common.flops(counts) / 1e9:.2f} GFLOP')
    _common.print_turns(_common.measure_in_turns({
        name: lambda f=function, a=argument: f(a).numpy(),
        'floor': _common.floor(counts)}, seconds), 'floor', batch)


def _glow_of_plain_networks() -> Any:
  """Our Glow with the networks of `normflows`: convolutions of 3, 1 and 3."""
  import keras
  import tensorflow_probability as tfp

  from alignflow_tf import bijectors

  scales, steps, width = _GLOW

  def network(outputs: int) -> keras.Sequential:
    convolution = keras.layers.Conv2D
    return keras.Sequential([
        convolution(width, 3, padding='same', activation='relu'),
        convolution(width, 1, activation='relu'),
        convolution(outputs, 3, padding='same', kernel_initializer='zeros')])

  def scale(index: int, channels: int) -> Any:
    layers: list[Any] = []
    for step in range(steps):
      mask = bijectors.ChannelMask(reverse=bool(step % 2))
      layers += [
          bijectors.ActNorm(channels),
          bijectors.InvertibleConv1x1(channels, seed=steps * index + step),
          bijectors.Coupling(channels, mask, network)]
    if index < scales - 1:
      layers.append(bijectors.FactorOut(scale(index + 1, 2 * channels)))
    squeeze = bijectors.Squeeze('channel')
    return bijectors.ImageChain([
        tfp.bijectors.Invert(squeeze), *layers, squeeze])

  return bijectors.ImageChain([
      bijectors.ImagePreprocess(), scale(0, 4 * _SHAPE[-1])])


def _tfp_glow(batch: int, seconds: float) -> None:
  import tensorflow_probability as tfp

  scales, steps, channels = _GLOW
  try:
    glow = tfp.bijectors.Glow(
        output_shape=_SHAPE, num_glow_blocks=scales, num_steps_per_block=steps,
        coupling_bijector_fn=tfp.bijectors.GlowDefaultNetwork,
        exit_bijector_fn=tfp.bijectors.GlowDefaultExitNetwork)
    distribution = tfp.distributions.TransformedDistribution(
        tfp.distributions.Sample(
            tfp.distributions.Normal(0., 1.),
            [_SHAPE[0] * _SHAPE[1] * _SHAPE[2]]), glow)
    traced = _passes(distribution, batch)
  except Exception as e:  # What TFP raises here varies with its versions.
    print(f'\ntfb.Glow does not run here: {type(e).__name__}: {str(e)[:200]}')
    return
  _measure('tfb.Glow of TFP', traced, batch, seconds)


def _normflows(python: str, batch: int, seconds: float) -> None:
  if not os.path.exists(python):
    print(f'\nnormflows is left out: there is no {python} (--torch_python).')
    return
  result = subprocess.run(
      [python, '-c', _TORCH, json.dumps([*_GLOW, batch, seconds])], text=True,
      capture_output=True, check=False)
  if result.returncode:
    lines = result.stderr.strip().splitlines() or ['no message']
    print(f'\nnormflows is left out: {lines[-1][:200]}')
    return
  values = json.loads(result.stdout.splitlines()[-1])
  print(f'\nnormflows, Glow, batch {batch}: {values.pop("parameters"):,} '
        f'parameters, {values.pop("convolutions")} convolutions, '
        f'{values.pop("flops") / 1e9:.2f} GFLOP')
  _common.print_table(['', 'median ms', 'fastest ms', 'images/s'], [
      [name, f'{1e3 * median:.1f}', f'{1e3 * fastest:.1f}',
       f'{batch / median:.1f}'] for name, (median, fastest) in values.items()])


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--seconds', type=float, default=10.)
  parser.add_argument('--torch_python', default='/opt/torch/bin/python')
  args = parser.parse_args()
  _common.print_machine()

  import tensorflow_probability as tfp

  import alignflow_tf as af

  with _common.training():
    model = af.AlignFlow(('a', 'b'), _SHAPE)
    _measure("ours, the paper's architecture", _passes(
        model['a'], args.batch, model.translator('a', 'b')), args.batch,
             args.seconds)
    scales, steps, channels = _GLOW
    for title, flow in (
        ('ours, Glow', af.flows.glow(_SHAPE, scales, channels, 1, steps)),
        ("ours, Glow with normflows' networks", _glow_of_plain_networks())):
      _measure(title, _passes(tfp.distributions.TransformedDistribution(
          tfp.distributions.Sample(
              tfp.distributions.Normal(0., 1.), list(_SHAPE)), flow),
          args.batch), args.batch, args.seconds)
    _tfp_glow(args.batch, args.seconds)
  _normflows(args.torch_python, args.batch, args.seconds)


if __name__ == '__main__':
  main()

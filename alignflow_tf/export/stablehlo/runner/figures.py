"""Figures and pictures of translations."""

from __future__ import annotations

from concurrent import futures
import json
import os
import struct
from typing import Any
import zlib

import jax
from jax import numpy as jnp
import numpy as np

from . import programs


class Model:
  """The programs of the moving average of the weights."""

  def __init__(self, kit: programs.Kit, names: list[str] | None = None):
    """Compiles programs, in threads of their own.

    Args:
      kit: The kit.
      names: Names of programs; all but training's steps by default.
    """
    self._kit = kit
    names = names or [
        name for name in kit.manifest['programs']
        if not name.endswith('_step')]
    pool = futures.ThreadPoolExecutor(len(names))
    self._compiled = {n: pool.submit(self._compile, n) for n in names}

  def _compile(self, name: str) -> Any:
    function = self._kit.program(name)
    facts, entries = (
        self._kit.manifest['programs'][name], self._kit.manifest['state'])

    def spec(entry: dict[str, Any]) -> jax.ShapeDtypeStruct:
      return jax.ShapeDtypeStruct(tuple(entry['shape']), entry['dtype'])

    def call(x: Any, parts: Any) -> Any:
      results, _ = function([x], dict(zip(facts['state'], parts, strict=True)))
      return results['']

    return jax.jit(call).lower(
        spec(facts['arguments'][0]),
        [spec(entries[i]) for i in facts['state']]).compile()

  def wait(self) -> None:
    """Returns when all programs are compiled."""
    for compiled in self._compiled.values():
      compiled.result()

  def __call__(self, name: str, images: np.ndarray,
               state: programs.State) -> np.ndarray:
    """Applies a program to images `[N, H, W, C]`, a batch at a time."""
    size, parts = self._kit.batch_size, []
    numbers = self._kit.manifest['programs'][name]['state']
    state = [jnp.asarray(state[i]) for i in numbers]
    compiled = self._compiled[name].result()
    for i in range(0, len(images), size):
      batch = np.asarray(images[i:i + size], np.float32)
      full = np.concatenate(
          [batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
      parts.append(np.asarray(compiled(full, state))[:len(batch)])
    return np.concatenate(parts)


def to_levels(images: np.ndarray) -> np.ndarray:
  """Images as uint8 levels, clipped to [0, 1]."""
  return np.clip(np.floor(images * 256.), 0, 255).astype(np.uint8)


def from_levels(levels: np.ndarray) -> np.ndarray:
  """uint8 levels `k` as `(k + 0.5) / 256`, the middles of their bins."""
  return ((levels + 0.5) / 256.).astype(np.float32)


def round_trip(
    model: Model, state: programs.State, images: np.ndarray, source: str,
    target: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Translations of images, their way back, and the way back from 8 bits."""
  there = model(f'translate_{source}_to_{target}', images, state)
  back = f'translate_{target}_to_{source}'
  return (there, model(back, there, state),
          model(back, from_levels(to_levels(there)), state))


def errors(images: np.ndarray, there: np.ndarray, back: np.ndarray,
           from_8_bits: np.ndarray) -> dict[str, float]:
  """Figures of a round trip, in units of [0, 1]."""
  found = {
      'round_trip_max': np.max(np.abs(back - images)),
      'round_trip_mean': np.mean(np.abs(back - images)),
      'round_trip_8_bit_max': np.max(np.abs(from_8_bits - images)),
      'round_trip_8_bit_mean': np.mean(np.abs(from_8_bits - images)),
      'outside': np.mean((there < 0) | (there > 1)),
      'not_finite': np.mean(~np.isfinite(there)),
  }
  return {k: float(v) for k, v in found.items()}


def against_partners(
    translated: np.ndarray, partners: np.ndarray) -> dict[str, float]:
  """Figures of paired images, as `alignflow_tf.evaluate.score` defines them.

  Args:
    translated: Translations `[N, H, W, C]` in [0, 1].
    partners: Image i is the true partner of translation i.
  """
  x, y = (np.asarray(images, np.float64).reshape(len(images), -1)
          for images in (translated, partners))
  # On (-1, 1), as in the paper.
  found = {'mse': 4. * np.mean(np.square(x - y))}
  distances = (np.square(x).sum(1)[:, None] + np.square(y).sum(1) -
               2. * x @ y.T)
  found['partner_nearest'] = np.mean(distances.argmin(1) == np.arange(len(x)))
  x, y = x - x.mean(0), y - y.mean(0)
  found['correlation'] = np.sum(x * y) / max(
      np.sqrt(np.square(x).sum() * np.square(y).sum()), 1e-30)
  return {k: float(v) for k, v in found.items()}


def evaluate(kit: programs.Kit, model: Model, state: programs.State,
             output: str, split: str) -> dict[str, dict[str, float]]:
  """Translates a split; writes pictures, translations and figures.

  Args:
    kit: The kit.
    model: Its `Model`.
    state: The state whose averaged weights are used.
    output: Directory of the files.
    split: Name of the split.

  Returns:
    The figures, which `figures.json` holds.
  """
  levels = kit.data(split)
  if not levels:
    raise SystemExit(f'This kit has no {split} split.')
  images = {d: from_levels(x) for d, x in levels.items()}
  figures, sheets, translations = {}, {}, {}
  for s, t in kit.directions():
    there, back, from_8_bits = round_trip(model, state, images[s], s, t)
    found = errors(images[s], there, back, from_8_bits)
    rows = [images[s][:12], there[:12], from_8_bits[:12]]
    if kit.manifest['paired']:
      found |= against_partners(np.clip(there, 0, 1), images[t])
      rows.insert(2, images[t][:12])
    name = f'{s}_to_{t}'
    figures[name], sheets[name] = found, rows
    translations[name] = to_levels(there)
  if kit.has(f'log_prob_{kit.domains[0]}'):
    draws = np.random.Generator(np.random.Philox(0))
    for d, x in levels.items():
      noisy = (x + draws.random(x.shape)) / 256.
      nats = model(f'log_prob_{d}', noisy, state)
      figures[d] = {'bits_per_dim': float(np.mean(
          8. - nats / (np.log(2.) * np.prod(kit.event_shape))))}
    z = draws.standard_normal((12, *kit.event_shape)).astype(np.float32)
    sheets['samples'] = [model(f'decode_{d}', z, state) for d in kit.domains]
  os.makedirs(output, exist_ok=True)
  for name, column in sheets.items():
    png(os.path.join(output, f'{name}.png'), np.concatenate(
        [np.concatenate(list(to_levels(row)), axis=1) for row in column]))
  for name, values in translations.items():
    np.savez_compressed(
        os.path.join(output, f'{name}.npz'), values, allow_pickle=False)
  dump(os.path.join(output, 'figures.json'), figures)
  return figures


def dump(path: str, values: Any) -> None:
  """Writes JSON aside, then renames."""
  with open(f'{path}.partial', 'w', encoding='utf-8') as f:
    json.dump(values, f, indent=1)
  os.replace(f'{path}.partial', path)


def png(path: str, levels: np.ndarray) -> None:
  """Writes uint8 `[H, W, 1 or 3]` as PNG."""
  height, width, channels = levels.shape

  def chunk(kind: bytes, body: bytes) -> bytes:
    return (struct.pack('>I', len(body)) + kind + body +
            struct.pack('>I', zlib.crc32(kind + body)))

  lines = np.concatenate(
      [np.zeros([height, 1], np.uint8), levels.reshape(height, -1)], axis=1)
  header = struct.pack(
      '>IIBBBBB', width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
  with open(path, 'wb') as f:
    f.write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) +
            chunk(b'IDAT', zlib.compress(lines.tobytes())) +
            chunk(b'IEND', b''))

"""Trains and translates with a kit, on whatever device JAX has.

  python run.py --output=OUT                     trains to the end
  python run.py --output=OUT --minutes=8         trains for so long, and saves
  python run.py --output=OUT --report            measures all precisions
  python run.py --output=OUT --report --minutes=9 --precision=tf32
                                                 measures, trains for the rest

Needs Python 3.10, NumPy and JAX 0.7 or later, and nothing else: this file is
copied into kits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import dataclasses
import fcntl
import gzip
import json
import os
import struct
import subprocess
import sys
import time
from typing import Any
import zlib

# Several processes compile side by side.
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')

import jax
from jax import numpy as jnp
import numpy as np

# The step's counters are int64.
jax.config.update('jax_enable_x64', True)

Arrays = dict[str, np.ndarray]
State = list[Any]


class Kit:
  """What a kit's directory holds.

  Attributes:
    directory: Its path.
    manifest: Its manifest.
    precision: The precision of the programs that `program` gives.
  """

  def __init__(self, directory: str, precision: str):
    self.directory = directory
    with open(os.path.join(directory, 'manifest.json'), encoding='utf-8') as f:
      self.manifest = json.load(f)
    if self.manifest['format'] != 1:
      raise SystemExit(
          f'This runner reads kits of format 1, got {self.manifest["format"]}.')
    if precision not in self.manifest['precisions']:
      raise SystemExit(
          f'--precision must be one of {self.manifest["precisions"]}, got '
          f'{precision!r}.')
    self.precision = precision
    self.domains = self.manifest['domains']
    self.event_shape = tuple(self.manifest['event_shape'])
    self.batch_size = self.manifest['batch_size']

  def data(self, split: str) -> Arrays:
    """uint8 images by domain."""
    with np.load(os.path.join(self.directory, 'data.npz'),
                 allow_pickle=False) as f:
      return {d: f[f'{split}/{d}'] for d in self.domains
              if f'{split}/{d}' in f.files}

  def directions(self) -> list[tuple[str, str]]:
    """All (source, target)."""
    return [(s, t) for s in self.domains for t in self.domains if s != t]

  def has(self, name: str) -> bool:
    """Whether there is a program of that name."""
    return name in self.manifest['programs']

  def initial_state(self) -> State:
    """The state to start from, a list of arrays."""
    state: State = []
    with np.load(os.path.join(self.directory, 'state.npz'),
                 allow_pickle=False) as stored:
      for i, entry in enumerate(self.manifest['state']):
        shape, dtype = tuple(entry['shape']), entry['dtype']
        if 'constant' in entry:
          value = np.full(shape, entry['constant'], dtype)
        elif 'same_as' in entry:
          value = state[entry['same_as']]
        elif 'normal' in entry:
          draws = np.random.Generator(
              np.random.Philox(entry['normal']['seed']))
          value = (draws.standard_normal(shape, np.float32) *
                   np.float32(entry['normal']['stddev'])).astype(dtype)
        else:
          value = stored[str(i)]
        state.append(value)
    return state

  def program(self, name: str) -> Callable[..., Any]:
    """A function of the arguments and the state.

    Returns the results, then the new values of what it updates, by number.
    """
    facts, entries = self.manifest['programs'][name], self.manifest['state']
    path = os.path.join(
        self.directory, 'programs', f'{name}.{self.precision}.mlirbc.gz')
    with gzip.open(path, 'rb') as f:
      artifact = f.read()
    updates = {int(output): i for output, i in facts['updates'].items()}
    # Results come first, then the new values of the state.
    outputs = facts['results'] + [entries[updates[i]] for i in sorted(updates)]
    call = exported(
        artifact, name,
        [*facts['arguments'], *(entries[i] for i in facts['state'])], outputs)
    names = [result['name'] for result in facts['results']]

    def function(arguments: Any, state: Any) -> Any:
      values = call(*arguments, *(state[i] for i in facts['state']))
      return (dict(zip(names, values, strict=False)),
              {number: values[output] for output, number in updates.items()})

    return function


def exported(
    artifact: bytes, name: str, inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]]) -> Callable[..., Any]:
  """A StableHLO artifact as a function that `jax.jit` takes.

  Args:
    artifact: The artifact.
    name: Its name.
    inputs: `shape` and `dtype` of each input.
    outputs: The same of each output.

  Returns:
    A function of all inputs, which returns a tuple of all outputs.
  """
  in_avals, out_avals = (
      tuple(jax.core.ShapedArray(tuple(x['shape']), np.dtype(x['dtype']))
            for x in group) for group in (inputs, outputs))
  tree = jax.tree_util.tree_structure
  known = {
      'fun_name': name,
      'in_tree': tree((tuple(range(len(in_avals))), {})),
      'in_avals': in_avals,
      'out_tree': tree(tuple(range(len(out_avals)))),
      'out_avals': out_avals,
      '_has_named_shardings': False,
      '_in_named_shardings': (None,) * len(in_avals),
      '_out_named_shardings': (None,) * len(out_avals),
      'in_shardings_hlo': (None,) * len(in_avals),
      'out_shardings_hlo': (None,) * len(out_avals),
      'nr_devices': 1,
      'platforms': (jax.default_backend().replace('gpu', 'cuda'),),
      'ordered_effects': (), 'unordered_effects': (),
      'disabled_safety_checks': (),
      'mlir_module_serialized': artifact,
      'calling_convention_version':
          jax.export.maximum_supported_calling_convention_version,
      'module_kept_var_idx': tuple(range(len(in_avals))),
      'uses_global_constants': False,
      '_get_vjp': None,
  }
  fields = [f.name for f in dataclasses.fields(jax.export.Exported)]
  return jax.export.Exported(**{f: known[f] for f in fields}).call


def rows(
    seed: int, domain: int, number: int, size: int, start: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Rows of images for `count` steps, and which are flipped; `[count, B]`.

  The image at position p of a domain's stream is row `p % n` of a permutation
  of its own for each epoch `p // n`, so any step is reached at once.
  """
  positions = np.arange(start * size, (start + count) * size)
  found = np.empty(len(positions), np.int32)
  for epoch in np.unique(positions // number):
    where = positions // number == epoch
    key = np.random.SeedSequence([seed, domain, int(epoch)])
    order = np.random.Generator(np.random.Philox(key)).permutation(number)
    found[where] = order[positions[where] % number]
  flips = np.empty(len(positions), bool)
  for step in range(start, start + count):
    key = np.random.SeedSequence([seed, domain, step, 1])
    flips[(step - start) * size:(step - start + 1) * size] = (
        np.random.Generator(np.random.Philox(key)).random(size) < 0.5)
  return found.reshape(count, size), flips.reshape(count, size)


class Training:
  """The compiled loop, and where it stands.

  Attributes:
    state: The state, a list of device arrays.
    step: Steps done.
    compile_seconds: What compiling took.
  """

  def __init__(self, kit: Kit, chunk: int, state: State | None = None,
               step: int = 0):
    """Compiles a loop of `chunk` steps, and places data and state."""
    self.kit, self.chunk, self.step = kit, chunk, step
    config = kit.manifest['config']
    self.steps = config['steps']
    self.seed, self.flip = config['seed'], config['flip']
    self.size = kit.manifest['images_per_step']
    images = kit.data('train')
    self._numbers = {d: len(x) for d, x in images.items()}
    self._images = {d: jax.device_put(x) for d, x in images.items()}
    self.state = [jax.device_put(x) for x in state or kit.initial_state()]
    function = kit.program('train_step')
    names = [a['name'] for a in kit.manifest['programs']['train_step'][
        'arguments']]

    def one(state: Any, images: Any, rows: Any, flips: Any) -> Any:
      batch = []
      for d in names:
        x = images[d][rows[d]]
        batch.append(jnp.where(
            flips[d][:, None, None, None], x[:, :, ::-1], x))
      results, updates = function(batch, state)
      return [updates.get(i, x) for i, x in enumerate(state)], results

    def loop(state: Any, images: Any, rows: Any, flips: Any) -> Any:
      return jax.lax.scan(
          lambda state, xs: one(state, images, *xs), state, (rows, flips))

    start = time.time()
    lowered = jax.jit(loop, donate_argnums=0).lower(
        self.state, self._images, *self._batches())
    self.lower_seconds = time.time() - start
    self._compiled = lowered.compile()
    self.compile_seconds = time.time() - start - self.lower_seconds

  def _batches(self) -> tuple[Arrays, Arrays]:
    found: tuple[Arrays, Arrays] = {}, {}
    for i, d in enumerate(self.kit.domains):
      found[0][d], found[1][d] = rows(
          self.seed, i, self._numbers[d], self.size, self.step,
          self.chunk)
      if not self.flip:
        found[1][d][:] = False
    return found

  def memory(self) -> dict[str, int]:
    """Bytes by kind, as the compiler plans them."""
    m = self._compiled.memory_analysis()
    return {'arguments': m.argument_size_in_bytes,
            'temporaries': m.temp_size_in_bytes,
            'code': m.generated_code_size_in_bytes}

  def run(self) -> Arrays:
    """`chunk` steps; returns scalars by name, `[chunk]` each."""
    self.state, results = self._compiled(
        self.state, self._images, *self._batches())
    self.step += self.chunk
    return {k: np.asarray(v) for k, v in results.items()}

  def time(self, chunks: int = 3) -> float:
    """Seconds a step: the least of `chunks` timed calls."""
    self.run()
    taken = []
    for _ in range(chunks):
      start = time.time()
      self.run()
      taken.append((time.time() - start) / self.chunk)
    return min(taken)


class Model:
  """The programs of the moving average of the weights."""

  def __init__(self, kit: Kit, names: list[str] | None = None):
    """Compiles programs, in threads of their own.

    Args:
      kit: The kit.
      names: Names of programs; all but the training step by default.
    """
    self._kit = kit
    names = names or [
        name for name in kit.manifest['programs'] if name != 'train_step']
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
               state: State) -> np.ndarray:
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
  """Images in [0, 1] as uint8 levels; clips what is outside."""
  return np.clip(np.floor(images * 256.), 0, 255).astype(np.uint8)


def from_levels(levels: np.ndarray) -> np.ndarray:
  """uint8 levels `k` as `(k + 0.5) / 256`, the middles of their bins."""
  return ((levels + 0.5) / 256.).astype(np.float32)


def round_trip(
    model: Model, state: State, images: np.ndarray, source: str, target: str
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


def evaluate(kit: Kit, model: Model, state: State,
             output: str) -> dict[str, dict[str, float]]:
  """Translates the test split; writes pictures, translations and figures.

  Args:
    kit: The kit.
    model: Its `Model`.
    state: The state whose averaged weights are used.
    output: Directory of what is written.

  Returns:
    The figures, which `figures.json` holds.
  """
  levels = kit.data('test')
  images = {d: from_levels(x) for d, x in levels.items()}
  figures, sheets, translations = {}, {}, {}
  for s, t in kit.directions():
    there, back, from_8_bits = round_trip(model, state, images[s], s, t)
    found = errors(images[s], there, back, from_8_bits)
    rows = [images[s][:12], there[:12], from_8_bits[:12]]
    if kit.manifest['paired']:
      # On (-1, 1), as in the paper.
      found['mse'] = float(
          4. * np.mean(np.square(np.clip(there, 0, 1) - images[t])))
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


def train(kit: Kit, output: str, saved: str, minutes: float,
          steps: int | None, chunk: int) -> None:
  """Trains, or goes on; logs, saves, and evaluates at the end.

  Args:
    kit: The kit.
    output: Directory of `metrics.jsonl`, figures, pictures and translations.
    saved: Path of the state, from which training goes on where it is there.
    minutes: Minutes after which training stops, compiling included.
    steps: Steps after which it stops; those of the configuration if None.
    chunk: Steps of one call of the compiled loop.
  """
  began = time.time()
  state, step = None, 0
  if os.path.exists(saved):
    with np.load(saved, allow_pickle=False) as f:
      step = int(f['step'])
      state = [f[str(i)] for i in range(len(kit.manifest['state']))]
  training = Training(kit, chunk, state, step)
  print(f'Compiled in {training.lower_seconds:.0f} + '
        f'{training.compile_seconds:.0f} s; on from step {step}.', flush=True)
  # Compiles while training runs.
  model = Model(kit)
  end = min(steps or training.steps, training.steps)
  with open(os.path.join(output, 'metrics.jsonl'), 'a',
            encoding='utf-8') as log:
    while training.step < end and time.time() - began < 60. * minutes:
      start = time.time()
      values = training.run()
      line = {'step': training.step,
              'ms': 1000. * (time.time() - start) / chunk,
              **{k: float(v.mean()) for k, v in values.items()}}
      log.write(json.dumps(line) + '\n')
      log.flush()
      if training.step % (20 * chunk) == 0:
        print({k: round(v, 4) for k, v in line.items()}, flush=True)
      if not np.isfinite(line.get('loss', 0.)):
        print('The loss is not finite: stopping.', flush=True)
        break
  print(f'Trained to step {training.step} in '
        f'{(time.time() - began) / 60:.1f} minutes.', flush=True)
  figures = evaluate(kit, model, training.state, output)
  print(json.dumps(figures, indent=1), flush=True)
  partial = f'{saved}.partial.npz'
  arrays: dict[str, Any] = {
      str(i): np.asarray(x) for i, x in enumerate(training.state)}
  np.savez(partial, step=training.step, allow_pickle=False, **arrays)
  os.replace(partial, saved)


def bench(kit: Kit, output: str, chunk: int) -> None:
  """Measures a kit's training step and round trip in one precision.

  The figures are written to `bench.PRECISION.json`.

  Of several processes, each compiles beside the others and measures alone.
  """
  with turn(output, fcntl.LOCK_SH):
    training = Training(kit, chunk)
    model = Model(kit, [f'translate_{s}_to_{t}' for s, t in kit.directions()])
    images = {d: from_levels(x[:2 * kit.batch_size])
              for d, x in kit.data('test').items()}
    model.wait()
  device = jax.devices()[0]
  row = {'precision': kit.precision, 'device': device.device_kind,
         'jax': jax.__version__, 'xla_flags': os.environ.get('XLA_FLAGS', ''),
         'lower_seconds': training.lower_seconds,
         'compile_seconds': training.compile_seconds,
         'memory': training.memory()}
  with turn(output, fcntl.LOCK_EX):
    row['step_ms'] = 1000. * training.time()
    row['kernels'] = kernels(
        training, os.path.join(output, f'trace.{kit.precision}'))
  row['images_per_second'] = (
      1000. * training.size * len(kit.domains) / row['step_ms'])
  row['peak_bytes'] = (device.memory_stats() or {}).get('peak_bytes_in_use')
  row['steps_before_round_trips'] = training.step
  row['round_trips'] = {
      f'{s}_to_{t}': errors(images[s], *round_trip(
          model, training.state, images[s], s, t))
      for s, t in kit.directions()}
  dump(os.path.join(output, f'bench.{kit.precision}.json'), row)


@contextlib.contextmanager
def turn(output: str, kind: int) -> Iterator[None]:
  """Holds the lock of an output directory."""
  with open(os.path.join(output, 'lock'), 'w', encoding='utf-8') as f:
    fcntl.flock(f, kind)
    yield


def report(kit: Kit, output: str, arguments: argparse.Namespace) -> None:
  """Measures all precisions of a kit, a process each; prints a table."""
  running = {}
  for name in kit.manifest['precisions']:
    with open(os.path.join(output, f'bench.{name}.log'), 'wb') as log:
      running[name] = subprocess.Popen(
          [sys.executable, os.path.abspath(__file__), f'--kit={kit.directory}',
           f'--output={output}', f'--precision={name}', '--bench',
           f'--chunk={arguments.chunk}', f'--cache={arguments.cache or ""}'],
          stdout=log, stderr=subprocess.STDOUT)
  columns = ('step ms', 'images/s', 'kernels ms', 'conv ms', 'launches',
             'temp GB', 'peak GB', 'lower s', 'compile s', 'trip max',
             'trip mean')
  print(' | '.join(('program', *columns)), flush=True)
  for name, process in running.items():
    process.wait()
    try:
      with open(os.path.join(output, f'bench.{name}.json'),
                encoding='utf-8') as f:
        row = json.load(f)
    except OSError:
      with open(os.path.join(output, f'bench.{name}.log'), 'rb') as f:
        text = f.read()[-1500:].decode(errors='replace')
      print(f'{name} failed: {text}', flush=True)
      continue
    ms = dict(row['kernels'].get('ms', {}))
    launches = ms.pop('launches', 0.)
    trips = list(row['round_trips'].values())
    print(' | '.join([name, *(f'{value:.4g}' for value in (
        row['step_ms'], row['images_per_second'], sum(ms.values()),
        ms.get('convolutions', 0.), launches,
        row['memory']['temporaries'] / 1e9, (row['peak_bytes'] or 0) / 1e9,
        row['lower_seconds'], row['compile_seconds'],
        max(t['round_trip_max'] for t in trips),
        max(t['round_trip_mean'] for t in trips)))]), flush=True)


def kernels(training: Training, folder: str) -> dict[str, Any]:
  """Milliseconds a step of device time, by kind of kernel, by the profiler."""
  try:
    with jax.profiler.trace(folder):
      training.run()
    path = next(os.path.join(root, name) for root, _, names in os.walk(folder)
                for name in names if name.endswith('.xplane.pb'))
    found: dict[str, float] = {}
    longest: dict[str, float] = {}
    for plane in jax.profiler.ProfileData.from_file(path).planes:
      if not plane.name.startswith('/device:GPU'):
        continue
      for line in plane.lines:
        if not line.name.startswith('Stream'):
          continue
        for event in line.events:
          ms = event.duration_ns / 1e6 / training.chunk
          kind = kind_of(event.name)
          found[kind] = found.get(kind, 0.) + ms
          found['launches'] = found.get('launches', 0.) + 1. / training.chunk
          longest[event.name] = longest.get(event.name, 0.) + ms
    top = sorted(longest.items(), key=lambda item: -item[1])[:25]
    return {'ms': found, 'longest': dict(top)}
  except Exception as e:  # The figures beside it are worth having without it.
    return {'failed': repr(e)}


def kind_of(kernel: str) -> str:
  """The kind of a GPU kernel by its name."""
  name = kernel.lower()
  if 'memcpy' in name or 'memset' in name:
    return 'copies'
  if any(part in name for part in (
      'conv', 'fprop', 'dgrad', 'wgrad', 'cudnn', 'implicit', 'xmma',
      'winograd', 'nchwto', 'nhwcto', 'cutlass', 'gemm', 'cublas', 'sm80',
      'sm90')):
    return 'convolutions'
  return 'others'


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


def main() -> None:
  """Runs the command line."""
  began = time.time()
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--kit', default=os.path.dirname(
      os.path.abspath(__file__)))
  parser.add_argument('--output', required=True)
  parser.add_argument('--precision', default='float32')
  parser.add_argument('--minutes', type=float,
                      help='minutes after which training stops')
  parser.add_argument('--steps', type=int,
                      help='step after which training stops')
  parser.add_argument('--state', help='path of the state; OUTPUT/state.npz')
  parser.add_argument('--chunk', type=int, default=25,
                      help='steps of one call of the compiled loop')
  parser.add_argument('--cache', help='directory of compiled programs')
  parser.add_argument('--report', action='store_true',
                      help='measure all precisions; with --minutes, train for '
                      'the rest of them')
  parser.add_argument('--bench', action='store_true',
                      help='measure one precision, without a table')
  arguments = parser.parse_args()
  if arguments.cache:
    jax.config.update('jax_compilation_cache_dir', arguments.cache)
  output = arguments.output
  os.makedirs(output, exist_ok=True)
  kit = Kit(arguments.kit, arguments.precision)
  if arguments.bench:
    bench(kit, output, arguments.chunk)
    return
  if arguments.report:
    report(kit, output, arguments)
  if not arguments.report or arguments.minutes:
    saved = arguments.state or os.path.join(output, 'state.npz')
    left = (arguments.minutes or 1e9) - (time.time() - began) / 60.
    train(kit, output, saved, left, arguments.steps, arguments.chunk)


if __name__ == '__main__':
  main()

"""The training loop of a kit."""

from __future__ import annotations

from concurrent import futures
import contextlib
import json
import os
import time
from typing import Any

import jax
from jax import numpy as jnp
import numpy as np

from . import figures
from . import programs


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


def remaining(kinds: list[dict[str, Any]], step: int,
              chunk: int) -> list[dict[str, Any]]:
  """Kinds of steps that are still to be done after `step`; at least the last.

  Raises:
    SystemExit: If a chunk of steps would be of two kinds.
  """
  found = [kind for kind in kinds if step < kind['until']] or kinds[-1:]
  for kind in found[:-1]:
    if (kind['until'] - step) % chunk:
      raise SystemExit(
          f'--chunk must divide the {kind["until"] - step} steps of '
          f'{kind["program"]}, got {chunk}.')
  return found


class Training:
  """The compiled loops, one for each kind of step, and where they stand.

  Attributes:
    state: The state, a list of device arrays.
    step: Steps done.
    steps: Steps of the configuration.
    compile_seconds: Seconds of compiling.
  """

  def __init__(self, kit: programs.Kit, chunk: int,
               state: programs.State | None = None, step: int | None = None):
    """Compiles loops of `chunk` steps, and places data and state.

    Args:
      kit: The kit.
      chunk: Steps of one call of a loop.
      state: The state to go on from; the kit's if None.
      step: Its step.
    """
    step = kit.manifest['step'] if step is None else step
    self.kit, self.chunk, self.step = kit, chunk, step
    config = kit.manifest['config']
    self.steps = config['steps']
    kinds = remaining(kit.manifest['steps'], step, chunk)
    self.seed, self.flip = config['seed'], config['flip']
    self.size = kit.manifest['images_per_step']
    images = kit.data('train')
    self._numbers = {d: len(x) for d, x in images.items()}
    self._images = {d: jax.device_put(x) for d, x in images.items()}
    self.state = [jax.device_put(x) for x in state or kit.initial_state()]
    start = time.time()
    lowered = [self._lower(entry['program']) for entry in kinds]
    self.lower_seconds = time.time() - start
    with futures.ThreadPoolExecutor(len(kinds)) as pool:
      self._loops = list(zip(
          (entry['until'] for entry in kinds),
          pool.map(lambda each: each.compile(), lowered), strict=True))
    self.compile_seconds = time.time() - start - self.lower_seconds

  def _lower(self, program: str) -> Any:
    function = self.kit.program(program)
    names = [a['name'] for a in self.kit.manifest['programs'][program][
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

    return jax.jit(loop, donate_argnums=0).lower(
        self.state, self._images, *self._batches())

  def _batches(self) -> tuple[programs.Arrays, programs.Arrays]:
    found: tuple[programs.Arrays, programs.Arrays] = {}, {}
    for i, d in enumerate(self.kit.domains):
      found[0][d], found[1][d] = rows(
          self.seed, i, self._numbers[d], self.size, self.step,
          self.chunk)
      if not self.flip:
        found[1][d][:] = False
    return found

  def memory(self) -> dict[str, int]:
    """Bytes by kind, as the compiler plans them for the last kind of step."""
    m = self._loops[-1][1].memory_analysis()
    return {'arguments': m.argument_size_in_bytes,
            'temporaries': m.temp_size_in_bytes,
            'code': m.generated_code_size_in_bytes}

  def run(self) -> programs.Arrays:
    """`chunk` steps; returns scalars by name, `[chunk]` each."""
    while len(self._loops) > 1 and self.step >= self._loops[0][0]:
      del self._loops[0]
    self.state, results = self._loops[0][1](
        self.state, self._images, *self._batches())
    self.step += self.chunk
    return {k: np.asarray(v) for k, v in results.items()}

  def time(self, chunks: int = 3) -> float:
    """Seconds a step of the last kind: the least of `chunks` timed calls."""
    del self._loops[:-1]
    self.run()
    taken = []
    for _ in range(chunks):
      start = time.time()
      self.run()
      taken.append((time.time() - start) / self.chunk)
    return min(taken)


def train(kit: programs.Kit, output: str, saved: str, minutes: float,
          steps: int | None, chunk: int,
          turn: contextlib.AbstractContextManager[None],
          validation: bool) -> None:
  """Trains, or goes on; logs, saves, and evaluates at the end.

  Args:
    kit: The kit.
    output: Directory of `metrics.jsonl`, figures, pictures and translations.
    saved: Path of the state, from which training goes on where it is there.
    minutes: Minutes after which training stops, compiling included.
    steps: Steps after which it stops; those of the configuration if None.
    chunk: Steps of one call of the compiled loop.
    turn: Entered when all is compiled, left when all is done.
    validation: Whether the validation split is evaluated as well.
  """
  began = time.time()
  state, step = None, None
  if os.path.exists(saved):
    with np.load(saved, allow_pickle=False) as f:
      step = int(f['step'])
      state = [f[str(i)] for i in range(len(kit.manifest['state']))]
  training = Training(kit, chunk, state, step)
  print(f'Compiled in {training.lower_seconds:.0f} + '
        f'{training.compile_seconds:.0f} s; on from step '
        f'{training.step}.', flush=True)
  # Compiles while training runs.
  model = figures.Model(kit)
  end = min(steps or training.steps, training.steps)
  with turn:
    entered = time.time()
    _advance(training, output, end, began + 60. * minutes)
    print(f'Trained to step {training.step} in {time.time() - entered:.1f} s, '
          f'{(time.time() - began) / 60:.1f} minutes with compiling.',
          flush=True)
    for split in ('validation', 'test')[not validation:]:
      folder = output if split == 'test' else os.path.join(output, split)
      found = figures.evaluate(kit, model, training.state, folder, split)
      print(json.dumps({split: found}, indent=1), flush=True)
  partial = f'{saved}.partial.npz'
  arrays: dict[str, Any] = {
      str(i): np.asarray(x) for i, x in enumerate(training.state)}
  np.savez(partial, step=training.step, allow_pickle=False, **arrays)
  os.replace(partial, saved)


def _advance(training: Training, output: str, end: int,
             deadline: float) -> None:
  """Trains to a step, or to a time, and logs."""
  chunk = training.chunk
  with open(os.path.join(output, 'metrics.jsonl'), 'a',
            encoding='utf-8') as log:
    while training.step < end and time.time() < deadline:
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

"""Export of models as SavedModels in the layout that TF Serving reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import itertools
import os
import re

from absl import logging
import tensorflow as tf

from alignflow_tf import _errors
from alignflow_tf import _io
from alignflow_tf import bijectors
from alignflow_tf import model as model_lib
from alignflow_tf import networks
from alignflow_tf.export import codec
from alignflow_tf.export import convert
from alignflow_tf.export import kit
from alignflow_tf.export import servables as servables_lib
from alignflow_tf.train import runs


class ExportError(_errors.UserError, ValueError):
  """An export that cannot be made; names the argument and the reason."""


def export_run(
    run_dir: str,
    output: str,
    version: int | None = None,
    average: bool = True,
    max_batch: int = servables_lib.MAX_BATCH,
    max_pixels: int = codec.MAX_PIXELS,
    runtimes: Sequence[str] = (),
    checkpoint: str = 'newest',
) -> list[str]:
  """Exports the model of a run; see `export_model`.

  Pictures are brought to the model's size by the rule that the run's
  `data.json` states.

  Args:
    run_dir: The run directory of `python -m alignflow_tf.train`.
    output: Directory of the servables.
    version: Version number; the next free one by default.
    average: Whether to export the moving average of the weights, or the newest
      weights.
    max_batch: Largest number of rows of a request.
    max_pixels: Largest width * height of a picture that is decoded.
    runtimes: As in `export_model`.
    checkpoint: 'newest', 'best' on validation data, or a step.

  Returns:
    The directories written, `<output>/<name>/<version>`.

  Raises:
    RunError: If there is no run or no checkpoint, or its weights are not
      finite.
    ExportError: As in `export_model`.
  """
  run = runs.Run(run_dir)
  model = runs.load(run_dir, average, checkpoint)
  return export_model(
      model, output, version, max_batch, max_pixels, run.preparations(),
      runtimes, dict.fromkeys(run.config.many, run.config.many_every))


def export_model(
    model: model_lib.Translates,
    output: str,
    version: int | None = None,
    max_batch: int = servables_lib.MAX_BATCH,
    max_pixels: int = codec.MAX_PIXELS,
    preparations: dict[str, codec.Preparation] | None = None,
    runtimes: Sequence[str] = (),
    many: Mapping[str, int] | None = None,
) -> list[str]:
  """Exports a model: a servable for each direction and for each domain.

  A model that only translates (CycleGAN) has none for domains. Weight
  norms are folded into the kernels that are written
  (`networks.fold_weight_norm`), so no weight may change meanwhile.

  All servables get the same version, so that `a_to_b` and `b_to_a` of one
  version are each other's inverse. Each is written aside and then renamed: a
  server that watches the directory never sees a part of one. The files that a
  server is started with are written next to them; see `kit.write`.

  Args:
    model: The model.
    output: Directory of the servables; made where it is missing.
    version: Version number, which must not be there yet; by default one more
      than the largest that is.
    max_batch: Largest number of rows of a request.
    max_pixels: Largest width * height of a picture that is decoded.
    preparations: By domain, how pictures are brought to the model's size; the
      largest middle part of the right shape, resized, by default.
    runtimes: Names of `convert.RUNTIMES` that translators are converted for as
      well, to `assets.extra/model.*` of their versions; size and latency are
      printed.
    many: Domains whose translations may be drawn, and `every` of
      `one_to_many.redraw`: none by default.

  Returns:
    The directories written, `<output>/<name>/<version>`.

  Raises:
    ExportError: If an argument is out of range, a weight is not finite, the
      version is there already, or the names of the domains cannot be names of
      servables.
    ConvertError: If a translator cannot be converted.
  """
  output = os.path.abspath(os.path.expanduser(output))
  try:
    options = servables_lib.Options(
        max_batch, max_pixels, dict(preparations or {}), dict(many or {}))
  except ValueError as e:
    raise ExportError(str(e)) from e
  unknown = set(runtimes) - set(convert.RUNTIMES)
  if unknown:
    raise ExportError(
        f'`runtimes` must be of {tuple(convert.RUNTIMES)}, got '
        f'{sorted(unknown)}.')
  if not options.many.keys() <= set(model.domains):
    raise ExportError(
        f'`many` must name some of {model.domains}, got {list(options.many)}.')
  for variable in model.variables:
    if variable.dtype.is_floating and not bool(
        tf.reduce_all(tf.math.is_finite(variable))):
      raise ExportError(
          f'`model` must have finite weights, got NaN or infinity in '
          f'{variable.name}.')
  served = model.domains if isinstance(
      model, (model_lib.HasLatents, model_lib.HasDensity)) else ()
  names = _names(model.domains)
  version = _version(output, names, version)
  factory = servables_lib.Factory(model, options)
  made = [factory.translator(s, t)
          for s, t in itertools.permutations(model.domains, 2)]
  made += [factory.domain(d) for d in served]

  stack = contextlib.ExitStack()
  try:
    os.makedirs(output, exist_ok=True)
    partial = stack.enter_context(_io.temporary_folder(output, '.partial-'))
  except OSError as e:
    raise ExportError(
        f'`output` {output!r} cannot be written to ({e}). Name another folder, '
        'or make it writable.') from e
  try:
    for servable in made:
      path = os.path.join(partial, servable.name)
      with _quiet(), networks.fold_weight_norm(model):
        tf.saved_model.save(
            servable.module(), path, signatures={
                name: fn.get_concrete_function()
                for name, fn in servable.signatures.items()})
      kit.write_warmup(path, servable)
      kit.write_facts(path, {
          'domains': model.domains, 'event_shape': model.event_shape,
          'preparations': {
              d: dataclasses.asdict(options.preparations.get(
                  d, codec.Preparation())) for d in model.domains},
          'many': options.many})
    for source, target in itertools.permutations(model.domains, 2):
      for runtime in runtimes:
        name = f'{source}_to_{target}'
        with _quiet():
          content, line = convert.convert(model, source, target, runtime)
        print(f'{name} for {runtime}: {line}')
        file = f'model.{convert.RUNTIMES[runtime][0]}'
        with open(os.path.join(partial, name, 'assets.extra', file), 'wb') as f:
          f.write(content)
    paths = []
    for servable in made:
      path = os.path.join(output, servable.name, str(version))
      os.makedirs(os.path.dirname(path), exist_ok=True)
      try:
        os.rename(os.path.join(partial, servable.name), path)
      except OSError as e:
        raise ExportError(
            f'`version` {version} of {servable.name} was written by another '
            f'process meanwhile ({e}); export again.') from e
      paths.append(path)
    kit.write(output)
  except (OSError, tf.errors.OpError) as e:
    raise ExportError(
        f'`output` {output!r} cannot be written to ({type(e).__name__}: '
        f'{_io.first_line(e)}). Make room, or make it writable, and '
        'export again.') from e
  finally:
    stack.close()
    # A process that exports repeatedly would keep all graphs.
    bijectors.clear_cache()
  return paths


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Silences TensorFlow's long logs on captures and deprecations."""
  loggers = [tf.get_logger(), logging.get_absl_logger()]
  before = [logger.level for logger in loggers], logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  for logger in loggers:
    logger.setLevel('ERROR')
  try:
    yield
  finally:
    logging.set_verbosity(before[1])
    for logger, level in zip(loggers, before[0], strict=True):
      logger.setLevel(level)


def _names(domains: tuple[str, ...]) -> list[str]:
  """Names of all servables.

  Raises:
    ExportError: If one is no name of a model, or two are equal.
  """
  for domain in domains:
    # It is a part of a REST call's path and of a file name.
    if not re.fullmatch(r'[A-Za-z0-9_][A-Za-z0-9_.-]*', domain):
      raise ExportError(
          f'`domains`: {domain!r} cannot be the name of a servable; use '
          'letters, digits, "_", "-" and "."')
  names = [f'{s}_to_{t}' for s, t in itertools.permutations(domains, 2)]
  names += domains
  twice = sorted({n for n in names if names.count(n) > 1})
  if twice:
    raise ExportError(
        f'`domains` {domains} give two servables of the name {twice[0]!r}; '
        'rename a domain.')
  return names


def _version(output: str, names: list[str], version: int | None) -> int:
  """The version to write.

  Raises:
    ExportError: If the version asked for is there already, or no version.
  """
  found = {n: kit.versions(os.path.join(output, n)) for n in names}
  if version is None:
    return 1 + max((max(v) for v in found.values() if v), default=0)
  if not isinstance(version, int) or isinstance(version, bool) or not (
      1 <= version < 2**63):
    raise ExportError(
        f'`version` must be a positive integer, got {version!r}.')
  for name in names:
    if version in found[name]:
      raise ExportError(
          f'`version` {version} of {name} is in {output!r} already; leave it '
          'away to get the next free one.')
  return version

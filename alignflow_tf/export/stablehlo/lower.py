"""Lowers a `tf.function` to a portable StableHLO artifact."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import re
from typing import Any

from jax.extend import mlir as portable
from jax.interpreters import mlir
import tensorflow as tf

# Any reader of StableHLO 1.0 or later takes these artifacts.
_VERSION = '1.0.0'
_HIGHEST = '#stablehlo<precision HIGHEST>'
_DEFAULT = '#stablehlo<precision DEFAULT>'


@dataclasses.dataclass(frozen=True)
class Program:
  """A lowered function.

  Attributes:
    text: The module, StableHLO as text. Its inputs are the function's
      arguments, then `captures`; its outputs are the function's results, then
      the new values of the captured variables that it updates.
    captures: The tensors that the function captured: handles of variables
      (`tf.resource`), and constants.
    updates: For the number of each captured variable that is updated, the
      number of the output that holds its new value.
    results: Names and specs of the function's results; a nested structure is
      flattened.
  """
  text: str
  captures: list[tf.Tensor]
  updates: dict[int, int]
  results: list[tuple[str, tf.TensorSpec]]


def lower(function: Any, arguments: Sequence[Any]) -> Program:
  """Lowers a function that is compiled with XLA.

  Args:
    function: A `tf.function(jit_compile=True)` whose arguments, taken in the
      order in which `tf.nest` flattens them, are all tensors.
    arguments: Its arguments: `tf.TensorSpec`s of static shapes.

  Raises:
    ValueError: If it lowers to operations outside of StableHLO.
  """
  concrete = function.get_concrete_function(*arguments)
  # Lowering takes tensors, whose values do not count.
  arguments = tf.nest.map_structure(
      lambda spec: tf.zeros(spec.shape, spec.dtype), list(arguments))
  text = function.experimental_get_compiler_ir(*arguments)(stage='stablehlo')
  count = len(tf.nest.flatten(arguments))
  with mlir.make_ir_context():
    module = mlir.ir.Module.parse(text)
    updates = {
        parameter - count: output
        for parameter, output in _aliases(module).items()}
    text = _cleaned(module)
  outputs = concrete.structured_outputs
  results = list(zip(
      _names(outputs), tf.nest.flatten(outputs), strict=True))
  return Program(text, list(concrete.captured_inputs), updates, results)


def serialize(program: Program, tensor_float_32: bool) -> bytes:
  """The program as a portable artifact (VHLO bytecode).

  Args:
    program: The program.
    tensor_float_32: Whether float32 convolutions and products may round their
      operands to TF32 where the device has it.
  """
  lines = []
  for line in program.text.split('\n'):
    # A bfloat16 product has nothing to gain from a higher precision.
    if _HIGHEST in line and (tensor_float_32 or 'xbf16>' in line):
      line = line.replace(_HIGHEST, _DEFAULT)
    lines.append(line)
  return portable.serialize_portable_artifact('\n'.join(lines), _VERSION)


def _aliases(module: Any) -> dict[int, int]:
  """For each updated parameter, the output with its new value."""
  attributes = module.operation.attributes
  found: dict[int, int] = {}
  if 'mhlo.input_output_alias' in attributes:
    for item in re.finditer(
        r'parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>',
        str(attributes['mhlo.input_output_alias'])):
      found[int(item.group(1))] = int(item.group(2))
  return found


def _cleaned(module: Any) -> str:
  """The module as text, with StableHLO operations alone.

  TensorFlow leaves copies and bounds of sizes that are static; both are
  identities.
  """
  needless = []

  def visit(operation: Any) -> Any:
    for name in map(str, list(operation.attributes)):
      if name.startswith('mhlo.'):
        del operation.attributes[name]
    if operation.name == 'mhlo.copy' or (
        operation.name == 'stablehlo.set_dimension_size' and
        operation.operands[0].type == operation.results[0].type):
      needless.append(operation)
    return mlir.ir.WalkResult.ADVANCE

  module.operation.walk(visit)
  for operation in needless:
    operation.results[0].replace_all_uses_with(operation.operands[0])
    operation.operation.erase()
  text = str(module)
  rest = sorted(set(re.findall(r'\bmhlo\.\w+', text)))
  if rest:
    raise ValueError(
        f'The function lowers to operations outside of StableHLO: {rest}.')
  return text


def _names(structure: Any) -> list[str]:
  """Names of the leaves of a result, in the order of `tf.nest.flatten`."""
  if isinstance(structure, dict):
    return [
        key if not name else f'{key}/{name}' for key in sorted(structure)
        for name in _names(structure[key])]
  return ['']

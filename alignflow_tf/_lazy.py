"""Modules that are loaded when they are first used.

TensorFlow takes seconds to load. Flags, data folders and missing downloads are
checked before, so that a mistake is answered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import importlib
import types
from typing import Any, TYPE_CHECKING


class _LazyModule(types.ModuleType):
  """Stands for a module until one of its names is asked for."""

  def __getattr__(self, name: str) -> Any:
    return getattr(importlib.import_module(self.__name__), name)


if TYPE_CHECKING:
  import tensorflow
else:
  tensorflow = _LazyModule('tensorflow')


def attach(package: str, names: Mapping[str, str]
          ) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
  """`__getattr__`, `__dir__` (PEP 562) and `__all__` of a package.

  Args:
    package: Name of the package.
    names: For each public name, the submodule it comes from, relative to the
      package; '' where the name is a submodule itself.
  """

  def getattr_(name: str) -> Any:
    if name not in names:
      raise AttributeError(f'module {package!r} has no attribute {name!r}')
    path = f'{package}.{names[name] or name}'
    module = importlib.import_module(path)
    value = getattr(module, name) if names[name] else module
    setattr(importlib.import_module(package), name, value)
    return value

  return getattr_, lambda: sorted(names), sorted(names)

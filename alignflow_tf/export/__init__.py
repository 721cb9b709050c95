"""SavedModels of translators and domains, for TF Serving and other runtimes."""

from typing import TYPE_CHECKING

from alignflow_tf import _lazy

if TYPE_CHECKING:
  from alignflow_tf.export.export import export_model as export_model
  from alignflow_tf.export.export import export_run as export_run
  from alignflow_tf.export.export import ExportError as ExportError

__all__ = ['ExportError', 'export_model', 'export_run']

__getattr__ = _lazy.attach(__name__, dict.fromkeys(__all__, 'export'))


def __dir__() -> list[str]:
  return __all__

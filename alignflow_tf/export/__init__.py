"""SavedModels of translators and domains, for TF Serving and other runtimes."""

from typing import TYPE_CHECKING

from alignflow_tf import _lazy

if TYPE_CHECKING:
  from alignflow_tf.export.export import export_model as export_model
  from alignflow_tf.export.export import export_run as export_run
  from alignflow_tf.export.export import ExportError as ExportError

__getattr__, __dir__, __all__ = _lazy.attach(__name__, dict.fromkeys(
    ('ExportError', 'export_model', 'export_run'), 'export'))

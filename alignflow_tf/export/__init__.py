"""SavedModels of translators and domains, for TF Serving and other runtimes."""

from alignflow_tf.export.export import export_model
from alignflow_tf.export.export import export_run
from alignflow_tf.export.export import ExportError

__all__ = ['ExportError', 'export_model', 'export_run']

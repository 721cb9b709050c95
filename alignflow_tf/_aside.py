"""The old name of `_io.temporary_folder`, until nothing uses it."""

from alignflow_tf._io import temporary_folder as folder

__all__ = ['folder']

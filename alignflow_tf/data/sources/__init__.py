"""The data sets: a file each, found by name; see `registry.SOURCES`."""

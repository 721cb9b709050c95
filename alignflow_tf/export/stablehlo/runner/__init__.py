"""Trains and translates with a kit, on whatever device JAX has.

Needs Python 3.10, NumPy and JAX 0.7 or later, and nothing else: this folder is
copied into kits, next to a `run.py` that calls `command.main`. Its modules
therefore import each other by relative names.
"""

import os

# Several processes compile side by side.
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')

import jax  # noqa: E402

# The step's counters are int64.
jax.config.update('jax_enable_x64', True)

"""Benchmarks run, on little: their figures are not looked at."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('command', [
    'communication.py --preset=cpu --size=16 --channels=1 --batch=2',
    'export_latency.py --seconds=0.1 --batches=1',
    'flow_families.py --flows=glow --seconds=2',
    'flow_passes.py --seconds=0.05 --batch=1 --torch_python=none',
    'input_pipeline.py --datasets=digits --seconds=0.2',
    'leak.py --steps=8 --every=2 --noexport',
    'memory.py --preset=cpu --size=16 --batches=1 --steps=1',
    'train_step.py --presets=cpu --seconds=1 --repeats=1',
])
def test_a_benchmark_runs(command, repo_root, tmp_path):
  name, *arguments = command.split()
  done = subprocess.run(
      [sys.executable, str(repo_root / 'benchmarks' / name), *arguments],
      cwd=tmp_path, env=os.environ | {'PYTHONPATH': str(repo_root)},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
  assert done.returncode == 0, done.stdout

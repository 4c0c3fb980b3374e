from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import numba, torch
from pellucid.kernels import compiled
torch.set_num_threads({asked})
x = torch.randn(256, 576)
x.square().mean(-1)
rows = torch.randn(512, 64)
compiled.unit_rows(rows)
x.square().mean(-1)
compiled.unit_rows(rows)
print(torch.get_num_threads(), numba.get_num_threads())
"""


@pytest.mark.parametrize("asked", [1, 2])
def test_compiled_loops_keep_to_the_threads_of_pytorch(asked):
    """A numba loop takes all cores and sets the shared thread pool to that many, unless it is told otherwise."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "NUMBA_"))}
    command = [sys.executable, "-c", CODE.format(asked=asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=given | {"NUMBA_NUM_THREADS": "2"})
    assert done.stdout.split() == [str(asked), str(asked)]

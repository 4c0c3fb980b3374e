"""What several claims are read from, made once a session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).parent / "digits_toy.py"


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> list[dict[str, Any]]:
    """Scored dictionaries of the digits toy.

    They are trained in a process of their own: the checks of shapes that tests run under take six times as long as the
    ten thousand small steps.
    """
    run = tmp_path_factory.mktemp("digits") / "run"
    command = [sys.executable, str(TOY), str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads((run / "summary.json").read_text())["dictionaries"]

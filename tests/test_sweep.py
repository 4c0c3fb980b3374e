"""The reproduction's steps, in their smallest setting, on the real host."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "e2e_paper" / "sweep.py"


@pytest.mark.evidence
def test_the_sweep_runs_small_from_start_to_table(tmp_path):
    command = [sys.executable, str(SCRIPT), "--smallest", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert sorted(row["objective"] for row in results["rows"]) == ["e2e", "e2e+ds", "local"]
    for row in results["rows"]:
        assert math.isfinite(row["ce_increase"]) and row["kl"] > 0 and row["l0"] > 0 and 0 < row["alive"] <= 4608
        assert row["tokens"] == 512 and row["warm_start_tokens"] == 0
        assert list(row["downstream_mse"]) == [f"layers.{i}" for i in range(25, 30)]
    assert (tmp_path / "table.md").read_text().count("| layers.24 |") == 3

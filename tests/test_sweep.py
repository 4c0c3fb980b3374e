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
    results = json.loads((tmp_path / "results" / "layers.24" / "summary.json").read_text())
    assert results["command"].endswith("--smallest") and results["versions"]["torch"]
    assert sorted(row["objective"] for row in results["dictionaries"]) == ["e2e", "e2e+ds", "local"]
    for row in results["dictionaries"]:
        assert math.isfinite(row["ce_increase"]) and row["kl"] > 0 and row["l0"] > 0 and 0 < row["alive"] <= 4608
        assert row["tokens"] == 512 and row["warm_start_tokens"] == 0
        assert list(row["downstream_mse"]) == [f"layers.{i}" for i in range(25, 30)]
    table = (tmp_path / "results" / "table.md").read_text()
    assert table.startswith("## layers.24") and [table.count(f"| {kind} |") for kind in ("local", "e2e", "e2e+ds")] == [1, 1, 1]
    assert "ratios are to" in (tmp_path / "results" / "comparison.html").read_text()

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "scale_model.py"


def test_traffic_and_state_of_two_ranks_are_as_the_formulas_say():
    command = [sys.executable, str(SCRIPT), "--cases", "256x16x64", "--steps", "2", "--json"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["rows"]
    assert [row["shape"]["mode"] for row in rows] == ["data", "latents"]
    for row in rows:
        assert row["measured_over_predicted"]["payload"] == 1 == row["measured_over_predicted"]["state"]
        assert row["measured"]["seconds"] > 0 and row["measured"]["wire"] >= row["predicted"]["wire"]

"""The throughput benchmark: both of its forms train the same networks, and it says so as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "rnn_ensemble.py"


def test_both_forms_train_the_same_networks():
    flags = ["--json", "--members", "3", "--steps", "4", "--batch", "8", "--repeats", "1"]
    done = subprocess.run([sys.executable, str(BENCHMARK), *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["shapes"]
    assert len(rows) == 6
    for row in rows:
        assert 0 <= row["largest_difference"] < 1e-6 and row["ratio"] > 0

"""The benchmarks of many dictionaries and of growth in their smallest settings."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(script: str, *flags: str) -> dict:
    command = [sys.executable, str(BENCHMARKS / script), "--json", "--threads", "1", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.evidence
def test_the_sweep_measures_every_case_small():
    result = run("sweep.py", "--hosts", "llama-6x64", "--repeats", "1", "--shapes", "96x16x64x4")
    rows = result["hosts"][0]["rows"]
    assert [(row["case"], row["block"], row["dictionaries"]) for row in rows] == [
        ("local", 2, 8),
        ("e2e", 4, 6),
        ("stored", 5, 6),
    ]
    local, *spliced = rows
    parts = local["host_seconds"] + local["own_seconds"]
    assert local["x_parts"] == pytest.approx(local["pass_seconds"] / parts)
    for row in spliced:
        rate = row["dictionary_tokens_per_second"]
        assert rate == pytest.approx(6 * result["tokens"] / row["pass_seconds"])
        assert row["x_plain"] == pytest.approx(rate / row["plain_dictionary_tokens_per_second"])
        assert row["loss_difference"] < 1e-4, "the plain procedure and the sweep start from the same loss"
    (batched,) = result["batched"]
    assert batched["difference"] < 1e-6 and batched["speedup"] > 0


@pytest.mark.evidence
def test_growth_measures_points_in_processes_and_writes_its_page(tmp_path):
    flags = ["--axes", "latents", "--width", "32", "--repeats", "1", "--out", str(tmp_path)]
    result = run("growth.py", *flags, "--latents-sizes", "4096", "65536")
    (latents,) = result["curves"]
    assert [point["size"] for point in latents["points"]] == [4096, 65536]
    weights_gradients_moments = 4 * 4 * 65536 * 65  # a parameter takes four numbers
    assert latents["points"][1]["bytes"] > 0.7 * weights_gradients_moments
    assert all(point["seconds"] > 0 for curve in result["curves"] for point in curve["points"])
    assert json.loads((tmp_path / "growth.json").read_text()) == result
    assert "| 65,536 |" in (tmp_path / "growth.md").read_text()


def test_growth_tells_a_line_from_a_square(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("growth", BENCHMARKS / "growth.py")
    growth = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(growth)
    sizes = [1, 2, 4, 8]
    assert growth.growth(sizes, [3.0, 6.0, 12.0, 24.0]) == pytest.approx({"exponent": 1, "last_doubling": 2, "off_line": 0})
    assert growth.growth(sizes, [5.0, 6.0, 8.0, 12.0])["off_line"] == pytest.approx(0, abs=1e-9)
    square = growth.growth(sizes, [1.0, 4.0, 16.0, 64.0])
    assert square["exponent"] == pytest.approx(2) and square["last_doubling"] == pytest.approx(4) and square["off_line"] > 0.2


@pytest.mark.parametrize(
    "flags", [["growth.py", "--repeats", "0"], ["growth.py", "--latents-sizes", "64"], ["sweep.py", "--repeats", "0"]]
)
def test_absurd_settings_are_refused(flags):
    done = subprocess.run([sys.executable, str(BENCHMARKS / flags[0]), *flags[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and ("at least 1" in done.stderr or "two sizes" in done.stderr)

"""The step and whole-job benchmarks at a tiny size, and what they say where a peer is missing."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TINY = ["--latents", "128", "256", "--batch", "64", "--width", "16", "--k", "4", "--repeats", "3", "--threads", "1"]


def run(script: str, *flags: str) -> tuple[dict, str]:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--json", *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def loaded():
    """dictionary_step.py and its client as modules."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import peers.client as client

        spec = importlib.util.spec_from_file_location("dictionary_step", BENCHMARKS / "dictionary_step.py")
        step = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(step)
        yield step, client
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def measured():
    """TopK and ReLU dictionaries of one size, every contender that needs no peer."""
    return run("dictionary_step.py", "--no-peers", "--architectures", "topk", "relu", *TINY, "--latents", "128")[0]


def test_without_peers_it_emits_a_row_for_each_contender_and_architecture(measured):
    found = [(row["contender"], row["architecture"]) for row in measured["rows"]]
    assert found == [(name, kind) for kind in ("topk", "relu") for name in ("product", "product_fresh", "plain", "pellucid")]
    assert measured["device"] == "cpu" and measured["ceiling_gflops"] > 0 and measured["versions"]["torch"]
    assert measured["skipped"] == []
    for row in measured["rows"]:
        assert row["latents"] == 128
        assert row["seconds"] > 0 and math.isfinite(row["peak_mb"]) and row["peak_mb"] >= 0
        low, high = row["x_floor_range"]
        assert 0 < low <= row["x_floor"] <= high
        assert (row["l0"] is None) == row["contender"].startswith("product")
        assert row["l0"] is None or row["architecture"] == "relu" or 0 < row["l0"] <= 4
    assert [row["x_floor"] for row in measured["rows"] if row["contender"] == "product"] == [1, 1]


def test_relu_starts_at_the_l0_asked_for(measured):
    sparsity = [row["l0"] for row in measured["rows"] if row["architecture"] == "relu" and row["l0"] is not None]
    assert len(sparsity) == 2 and all(l0 == pytest.approx(4, rel=0.3) for l0 in sparsity)


def test_x_floor_is_the_median_of_the_ratios_within_a_turn(loaded):
    step, _ = loaded
    seconds, floors = [4.0, 9.0, 40.0], [1.0, 3.0, 20.0]
    assert step.x_floor(seconds, floors) == 3.0
    assert step.x_floor([2.0, 9.0, 4.0], [1.0, 1.0, 4.0]) == 2.0  # 2, 9, 1; the ratio of medians would be 4


def test_a_peer_that_is_not_installed_is_named_with_the_way_to_install_it(loaded, tmp_path):
    _, client = loaded
    for contender, peer in client.PEERS.items():
        with pytest.raises(client.Missing, match=rf"{contender}: {peer} is not installed in .*; run `make peers`"):
            client.interpreter(contender, tmp_path)


def test_a_missing_peer_is_skipped_and_the_rest_measured(loaded, tmp_path, monkeypatch, capsys):
    step, client = loaded
    task_flags = ["dictionary_step.py", "--json", "--contenders", "sparsify", "plain", *TINY, "--latents", "128"]
    monkeypatch.setattr(sys, "argv", task_flags)
    start = client.Worker.__init__
    monkeypatch.setattr(client.Worker, "__init__", lambda self, name, threads, task: start(self, name, threads, task, tmp_path))
    step.main()
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert [row["contender"] for row in result["rows"]] == ["product", "plain"]
    assert [(line["contender"], line["latents"]) for line in result["skipped"]] == [("sparsify", 128)]
    assert "make peers" in result["skipped"][0]["reason"] and "sparsify is not installed" in err


def test_a_contender_that_fails_says_what_it_failed_at(loaded):
    _, client = loaded
    task = {"architecture": "topk", "latents": 8, "tokens": 16, "width": 4, "k": 9}
    with pytest.raises(client.Missing, match=r"(?s)pellucid: failed at 'prepare': .*k = 9"):
        client.Worker("pellucid", 1, task)


def test_an_architecture_the_library_does_not_have_is_said(loaded):
    _, client = loaded
    task = {"architecture": "unheard_of", "latents": 8, "tokens": 16, "width": 4, "k": 2}
    with pytest.raises(client.Missing, match="pellucid: pellucid has no unheard_of"):
        client.Worker("pellucid", 1, task)


def test_peers_are_measured_on_the_cpu_alone(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
    worker = importlib.import_module("worker").Worker("plain")
    monkeypatch.delattr(worker.steps, "ANY_DEVICE")  # as in the steps of a peer
    task = {"architecture": "topk", "latents": 64, "tokens": 16, "width": 4, "k": 2, "device": "cuda"}
    assert worker.prepare("plain", 1, task)["unknown"] == "plain is measured on the CPU alone"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_that_is_not_there_is_refused():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "dictionary_step.py"), "--no-peers", "--device", "cuda"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "--device cuda: PyTorch" in done.stderr and "use --device cpu" in done.stderr


def test_absurd_settings_are_refused():
    for flags in (["--latents", "8", "--k", "9"], ["--repeats", "0"]):
        done = subprocess.run(
            [sys.executable, str(BENCHMARKS / "dictionary_step.py"), "--no-peers", *flags],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2 and "must be at least 1" in done.stderr


@pytest.mark.evidence
def test_the_whole_job_runs_small_without_peers():
    small = ["--tokens", "4096", "--blocks", "2", "--width", "32", "--latents", "64", "--k", "4", "--repeats", "1"]
    result, _ = run("whole_job.py", "--no-peers", "--threads", "1", *small)
    products, ours = result["rows"]
    assert (products["contender"], ours["contender"]) == ("products", "pellucid") and result["skipped"] == []
    assert result["tokens"] == 4096
    assert ours["x_products"] == pytest.approx(ours["train_seconds"] / products["train_seconds"])
    assert ours["x_pellucid"] == 1 and 0 < ours["train_seconds"] < ours["process_seconds"]


def test_an_installer_without_its_index_names_the_peer_and_goes_on(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("install", BENCHMARKS / "peers" / "install.py")
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    monkeypatch.setattr(install, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(install, "install", lambda name: None if name == "sae_lens" else "no matching distribution")
    monkeypatch.setattr(install, "is_installed", lambda name: False)
    monkeypatch.setattr(sys, "argv", ["install.py", "sparsify", "sae_lens"])
    assert install.main() == 1
    out, err = capsys.readouterr()
    assert "sparsify: not installed. no matching distribution" in err and "run without sparsify" in err
    assert "sae_lens: installed" in out


def test_every_peer_is_pinned_to_the_same_pytorch():
    wanted = next(
        line for line in (BENCHMARKS.parent / "constraints.txt").read_text().splitlines() if line.startswith("torch==")
    )
    files = sorted((BENCHMARKS / "peers").glob("*.txt"))
    assert [file.stem for file in files] == ["dictionary_learning", "sae_lens", "sparsify"]
    for file in files:
        pins = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert wanted in pins and all("==" in line for line in pins)
        assert not any(line.startswith(("nvidia", "triton")) for line in pins)

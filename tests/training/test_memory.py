"""Memory is estimated, limited and watched: what does not fit is refused or stopped, and goes on with the same bytes."""

from __future__ import annotations

import json
import logging

import pytest

from pellucid.core import machine
from pellucid.core.errors import ConfigError, RunError
from pellucid.training import checkpoint, memory

MIB = 1 << 20


@pytest.fixture
def vectors(fitted, small):
    """vectors(name, **changes) -> run folder of a fit on a small network."""

    def run(name, **changes):
        config = {"dictionaries": {"d": small.VECTORS}, "tokens": 8 * small.ROWS, "checkpoint_seconds": 1e6, **changes}
        return fitted(name, host=small.mlp(), data=small.vectors(), **config)

    return run


@pytest.mark.parametrize("setting", [{"memory_limit_mb": 0}, {"memory_limit_mb": -5}, {"logits_mb": 0}, {"logits_mb": -1}])
def test_impossible_limits_are_refused(small, setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        small.config(**setting)


@pytest.mark.parametrize("limit", [1, 10**9])
def test_absurd_limits_are_refused_before_any_work(vectors, tmp_path, limit):
    with pytest.raises(ConfigError, match=rf"memory_limit_mb is {limit}, but this process holds [\d,]+ MiB before training"):
        vectors("run", memory_limit_mb=limit)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_dictionaries_that_cannot_fit_are_refused_before_they_are_made(vectors, small, tmp_path, monkeypatch):
    wide = {"site": "hidden", "architecture": {"kind": "topk", "n_latents": 1 << 28, "k": 4}}
    monkeypatch.setattr("pellucid.training.trainer.make_dictionary", None)
    with pytest.raises(
        ConfigError, match=r"would hold about [\d,]+ MiB \(held .*, weights and optimizer 101,\d+, gradient 33,\d+\)"
    ):
        vectors("run", dictionaries={"d": wide})
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_fit_estimated_above_the_limit_is_refused(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "estimate", lambda *_: {"held": 700 * MIB, "codes": 400 * MIB})
    monkeypatch.setattr(machine, "resident", lambda: 700 * MIB)
    message = r"would hold about 1,100 MiB \(held 700, codes 400\), more than the 1,000 MiB that memory_limit_mb allows"
    with pytest.raises(ConfigError, match=message):
        vectors("run", memory_limit_mb=1000)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_logits_are_made_in_smaller_pieces_where_that_is_enough(vectors, monkeypatch, caplog):
    monkeypatch.setattr(
        memory, "estimate", lambda host, learners, positions, mb, *_: {"held": 800 * MIB, "readout": 5 * mb * MIB}
    )
    monkeypatch.setattr(machine, "resident", lambda: 800 * MIB)
    with caplog.at_level(logging.WARNING, "pellucid"):
        run = vectors("run", memory_limit_mb=1000)
    assert json.loads((run / "provenance.json").read_text())["logits_mb"] == 24
    assert "logits are made in pieces of 24 MiB instead of 96" in caplog.text
    with pytest.raises(ConfigError, match=r"readout 30\), more than the 825 MiB"):
        vectors("other", memory_limit_mb=825, logits_mb=12, keep_checkpoints=1)


def test_a_fit_that_passes_its_limit_stops_and_goes_on_to_the_same_bytes(vectors, small, tmp_path, monkeypatch):
    whole = vectors("whole")
    monkeypatch.setattr(memory, "EVERY", 0.0)
    looks = iter(range(100))
    monkeypatch.setattr(memory, "estimate", lambda *_: {"held": 700 * MIB})
    monkeypatch.setattr(machine, "resident", lambda: (700 + 60 * next(looks)) * MIB)
    message = (
        r"holds 1,060 MiB, more than the 1,000 MiB that memory_limit_mb allows, after step 5 of 8\. A checkpoint was written"
    )
    with pytest.raises(RunError, match=message):
        vectors("run", memory_limit_mb=1000)
    assert checkpoint.latest(tmp_path / "run" / "checkpoint")[0] == 5
    monkeypatch.undo()
    run = vectors("run")
    assert small.weights(run) == small.weights(whole)
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_the_last_of_the_machines_memory_is_not_taken(vectors, monkeypatch):
    monkeypatch.setattr(memory, "EVERY", 0.0)
    left = iter([10_000 * MIB] * 3 + [MIB] * 100)
    monkeypatch.setattr(machine, "available", lambda: next(left))
    with pytest.raises(RunError, match=r"holds [\d,]+ MiB and only 1 MiB are left on this machine, after step 3 of 8"):
        vectors("run")


def test_the_room_of_a_cgroup_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    before = machine.available()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900\n")
    assert machine.available() == pytest.approx(before, rel=0.5)
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 50\n")
    assert machine.available() == 150
    assert 0 < machine.resident() < machine.total()


@pytest.mark.parametrize("kernels", ["plain", "stock"])
def test_the_estimate_is_what_a_fit_then_holds(fork_server, tmp_path, kernels):
    """Peak of memory held by a process of its own, against the estimate said before the first update."""
    topk = {"site": "hidden", "architecture": {"kind": "topk", "n_latents": 16_384, "k": 32}}
    config = {"dictionaries": {"d": topk}, "batch_rows": 1024, "tokens": 3 * 1024, "kernels": kernels, "dead_after": 10**9}
    figures = tmp_path / "figures"
    process = fork_server.fit(tmp_path / "run", config=config, host="mlp", data="vectors", measure=str(figures))
    assert process.wait() == 0, process.log
    found = json.loads(figures.read_text())
    assert 0.8 < found["estimate"] / found["peak"] < 1.25, found
    assert found["peak"] - found["held"] > 50 * MIB, "there was something to estimate"

"""A fit ended at any moment, by a kill that no program can answer, ends with the bytes of one that was not."""

from __future__ import annotations

import json
import random
import shutil
import time

import pytest

from pellucid.training import checkpoint

KILLS = 20
MOST = 5
"""Kills of one fit: a machine that has become slower than its first fit would never let another end."""
CONFIG = {"steps": 5}
"""checkpoint_seconds is 0 in this config: every step but the last writes a checkpoint."""


def _whole(fork_server, small, run, config, **order):
    """Weights, metrics and seconds of life of a fit that nobody ends."""
    started = time.monotonic()
    process = fork_server.fit(run, config=config, **order)
    assert process.wait() == 0, process.log
    return small.weights(run), (run / "metrics.jsonl").read_bytes(), time.monotonic() - started


def _check(run, small, whole):
    assert small.weights(run) == whole[0]
    assert (run / "metrics.jsonl").read_bytes() == whole[1]
    assert sorted(path.name for path in run.rglob(".*")) == [".lock"], "nothing half-written is left"
    for path in run.rglob("*.json"):
        json.loads(path.read_text())


def _killed(fork_server, small, tmp_path, number, seed, **fields):
    """Kill fits at random moments of their lives until `number` kills landed; return how many fits it took."""
    config = {**CONFIG, **fields}
    whole = _whole(fork_server, small, tmp_path / "whole", config)
    moments, life = random.Random(seed), whole[2]
    kills = fits = begun = 0
    while kills < number:
        run = tmp_path / f"run{fits}"
        fits += 1
        own = config if "store" not in config else {**config, "store": {"folder": str(tmp_path / f"store{fits}")}}
        status, last = None, min(kills + MOST, number)
        while status != 0:
            process, started = fork_server.fit(run, config=own), time.monotonic()
            status = process.wait(timeout=moments.uniform(0, 1.05 * life)) if kills < last else process.wait()
            if status is None:
                status = process.kill()
                kills += status == -9
                begun += status == -9 and (run / "checkpoint").exists()
            assert status in (0, -9), process.log
        life = max(life, time.monotonic() - started)
        _check(run, small, whole)
    assert kills == number
    assert begun > 0, "no kill found a fit that had a checkpoint"
    return fits


SAVING = {"host": "mlp", "data": "vectors"}
LARGE = {"site": "hidden", "architecture": {"kind": "topk", "n_latents": 4000, "k": 4}}
"""A dictionary of which a checkpoint takes longer than an update."""


def _seconds_of_a_checkpoint(run, scratch):
    tensors, state = checkpoint.load(run / "checkpoint")
    started = time.monotonic()
    for step in range(4):
        checkpoint.save(scratch, step, tensors, {key: state[key] for key in ("learners", "metrics_offset")})
    return (time.monotonic() - started) / 4


def _killed_saving(fork_server, small, tmp_path, number, seed):
    """Kill fits at random moments of writing a checkpoint; return how many fits it took, and the kills inside the writing."""
    config = {"tokens": 8 * small.ROWS, "dictionaries": {"d": LARGE}}
    whole = _whole(fork_server, small, tmp_path / "whole", config, **SAVING)
    longest = 1.5 * _seconds_of_a_checkpoint(tmp_path / "whole", tmp_path / "scratch")
    moments = random.Random(seed)
    kills = fits = inside = 0
    while kills < number:
        run = tmp_path / f"run{fits}"
        fits += 1
        status = None
        while status != 0:
            moment = {"die_saving": [moments.randint(1, 3), moments.uniform(0, longest)]} if kills < number else {}
            process = fork_server.fit(run, config=config, **SAVING, **moment)
            status = process.wait()
            assert status in (0, -9), process.log
            kills += status == -9
            inside += status == -9 and any(run.glob("checkpoint/.step-*"))
        _check(run, small, whole)
        shutil.rmtree(run)
    assert kills == number
    return fits, inside


def test_killed_at_random_moments_of_writing_a_checkpoint(fork_server, small, tmp_path):
    _, inside = _killed_saving(fork_server, small, tmp_path, 10, seed=3)
    assert inside > 0, "no kill found a checkpoint half-written"


@pytest.mark.evidence
def test_two_hundred_kills_inside_checkpoints_all_resume_to_the_same_bytes(fork_server, small, tmp_path, record_evidence):
    fits, inside = _killed_saving(fork_server, small, tmp_path, 200, seed=4)
    record_evidence("kills_checkpoint", kills=200, half_written=inside, fits=fits, seed=4, same_bytes=fits)


def test_killed_at_random_moments_of_its_life(fork_server, small, tmp_path):
    _killed(fork_server, small, tmp_path, KILLS, seed=0)


def test_killed_at_random_moments_while_it_fills_a_store(fork_server, small, tmp_path):
    local = {"local": small.dictionaries()["local"]}
    _killed(fork_server, small, tmp_path, KILLS // 2, seed=1, dictionaries=local, store={"folder": str(tmp_path / "store")})


@pytest.mark.evidence
@pytest.mark.parametrize("stored", [False, True], ids=["host", "store"])
def test_two_hundred_kills_all_resume_to_the_same_bytes(fork_server, small, tmp_path, record_evidence, stored):
    local = {"local": small.dictionaries()["local"]}
    fields = {"dictionaries": local, "store": {"folder": str(tmp_path / "store")}} if stored else {}
    fits = _killed(fork_server, small, tmp_path, 200, seed=2, **fields)
    record_evidence(f"kills_{'store' if stored else 'host'}", kills=200, fits=fits, seed=2, same_bytes=fits)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_around_every_name_it_gives_a_file(fork_server, small, tmp_path, before):
    config = {"steps": 3, "dictionaries": {"e2e": small.dictionaries()["e2e"]}}
    whole = _whole(fork_server, small, tmp_path / "whole", config)
    at, status = 0, None
    while status != 0:
        at += 1
        run = tmp_path / f"run{at}"
        process = fork_server.fit(run, config=config, die_at=at, before=before)
        status = process.wait()
        assert status in (0, -9), process.log
        if status == -9:
            process = fork_server.fit(run, "again", config=config)
            assert process.wait() == 0, process.log
        _check(run, small, whole)
    files = "provenance, config and timing; folders of two checkpoints; weights, config and folder of the dictionary"
    assert at - 1 == 3 + 2 + 3, files

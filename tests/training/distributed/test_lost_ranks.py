"""A rank that dies, hangs, fails or does not come: the others end soon, and their error names it."""

from __future__ import annotations

import re
import signal

import pytest

from pellucid.training import checkpoint

CONFIG = {"steps": 6, "rank_timeout": 3.0}
AT = 3
"""Step at which a rank is lost; a checkpoint is written after every step but the last."""


@pytest.mark.parametrize(
    ("mode", "number", "lost"),
    [
        ("data", signal.SIGKILL, 1),
        ("latents", signal.SIGKILL, 1),
        ("sites", signal.SIGKILL, 1),
        ("data", signal.SIGKILL, 0),
        pytest.param("data", signal.SIGSTOP, 1, marks=pytest.mark.evidence),
        ("latents", signal.SIGSTOP, 1),
        pytest.param("data", signal.SIGSTOP, 0, marks=pytest.mark.evidence),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else str(value),
)
def test_a_rank_lost_in_the_middle_is_named(start, tmp_path, mode, number, lost):
    ranks = start("run", 2, each={lost: {"signal_at": [AT, int(number)]}}, parallel=mode, **CONFIG)
    left = ranks[1 - lost]
    assert left.wait(timeout=60) == 1, left.log
    error = left.log.splitlines()[-1]
    assert error.startswith("pellucid.core.errors.RankError: "), left.log
    assert f"rank {lost}" in error and f"rank {1 - lost}" not in error, error
    assert "The last checkpoint is whole; run the same command again" in error
    if lost == 1:
        assert re.search(
            rf"rank 1 of 2 no longer answers: killed, suspended or cut off, last heard from in step [0-{AT}]\.", error
        )
    ranks[lost].kill()
    assert checkpoint.load(tmp_path / "run" / "checkpoint")[1]["step"] == AT


def test_going_on_after_a_kill_gives_the_bytes_of_a_fit_that_was_not_killed(start, tmp_path, small):
    left, _ = start("run", 2, each={1: {"signal_at": [AT, int(signal.SIGKILL)]}}, **CONFIG)
    assert left.wait(timeout=60) == 1, left.log
    assert not (tmp_path / "run" / "dictionaries").exists()
    start.whole("run", 2, log="again", **CONFIG)
    whole = start.whole("whole", 2, **CONFIG)
    assert small.weights(tmp_path / "run") == small.weights(whole)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


VECTORS = {"host": "mlp", "tokens": 6 * 4, "rank_timeout": 3.0}


@pytest.mark.parametrize("mode", ["data", "latents"])
def test_a_rank_that_fails_tells_the_others_why(start, small, mode):
    ranks = start("run", 2, data="spoilt", dictionaries={"main": small.VECTORS}, parallel=mode, **VECTORS)
    assert [rank.wait(timeout=60) for rank in ranks] == [1, 1]
    own = "pellucid.training.spikes.SpikeError: activations at site 'hidden' are not finite at step 3, position"
    told = f"pellucid.core.errors.RankError: rank 1 of 2 stopped at step 3: SpikeError: {own.split(': ')[1]}"
    last = [rank.log.splitlines()[-1] for rank in ranks]
    assert last[1].startswith(own)
    assert last[0].startswith(told if mode == "data" else own)


def test_a_rank_that_never_comes_is_named(start, fork_server):
    ranks = start("run", 3, each={1: {"signal_before": int(signal.SIGKILL)}}, **CONFIG)
    assert ranks[0].wait(timeout=60) == 1 and ranks[2].wait(timeout=60) == 1
    for rank in (0, 2):
        error = ranks[rank].log.splitlines()[-1]
        assert error == "pellucid.core.errors.RankError: rank 1 of 3 did not join within 3 s. Look at its log."


def test_a_rank_that_lives_but_hangs_is_named_by_all_others(start):
    ranks = start("run", 3, each={1: {"sleep_at": [AT, 60.0]}}, **CONFIG)
    for rank in (0, 2):
        assert ranks[rank].wait(timeout=60) == 1, ranks[rank].log
        assert re.search(r"rank 1 of 3 \(step 3\) hangs: it lives, but did not take part for 3 s", ranks[rank].log)


def test_ctrl_c_at_one_rank_stops_all_after_a_checkpoint(start, tmp_path):
    seldom = {"steps": 6, "rank_timeout": 5.0, "checkpoint_seconds": 1e6}
    ranks = start("run", 2, each={1: {"signal_at": [AT, int(signal.SIGINT)]}}, **seldom)
    assert [rank.wait(timeout=60) for rank in ranks] == [130, 130], ranks[0].log
    assert checkpoint.latest(tmp_path / "run" / "checkpoint")[0] == AT + 1

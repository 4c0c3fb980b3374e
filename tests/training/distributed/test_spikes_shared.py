"""Ranks drop the same updates, whichever of them finds the fault."""

from __future__ import annotations

import json
import signal

import pytest

STEPS = 12
KINDS = {
    "one": {"site": "hidden", "architecture": {"kind": "topk", "n_latents": 50, "k": 4}},
    "two": {"site": "hidden", "architecture": {"kind": "relu", "n_latents": 30}, "seed": 1, "lr": 1e-3},
}


def _order(action, mode, data):
    spikes = {"action": action, "factor": 10.0, "window": 4, "rewind_steps": 5}
    return {
        "host": "mlp", "data": data, "tokens": STEPS * 4, "dictionaries": KINDS, "spikes": spikes, "warmup": 0.0,
        "dead_after": 8, "parallel": mode, "rank_timeout": 30.0,
    }  # fmt: skip


def _events(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["dictionary"], line["event"], line["reason"]) for line in lines if "event" in line]


@pytest.mark.parametrize(
    ("action", "mode", "data"),
    [
        ("skip", "data", "spoilt"),
        ("rewind", "data", "jumping"),
        ("rewind", "latents", "jumping"),
        ("rewind", "sites", "jumping"),
    ],
)
def test_two_ranks_give_what_one_process_gives(start, small, action, mode, data):
    """The planted NaN is among the rows of rank 1 only."""
    order = _order(action, mode, data)
    one, two = start.whole("one", 1, **order), start.whole("two", 2, **order)
    reason = "activations" if data == "spoilt" else "loss"
    steps = (4,) if data == "spoilt" else (8, 9)
    assert _events(one) == [(step, name, action, reason) for step in steps for name in KINDS]
    assert _events(two) == _events(one)
    if mode == "sites":
        assert small.weights(two) == small.weights(one)
    mine, theirs = small.tensors(one), small.tensors(two)
    assert max(float((mine[key] - theirs[key]).abs().max()) for key in mine) < 1e-5


def test_stopped_after_a_fault_and_resumed_on_another_number(start, small):
    order = _order("rewind", "sites", "jumping")
    for process in start("run", 2, "first", each={0: {"signal_at": [9, int(signal.SIGINT)]}}, **order):
        assert process.wait() == 130, process.log
    run = start.whole("run", 1, log="second", **order)
    whole = start.whole("whole", 1, **order)
    assert small.weights(run) == small.weights(whole) and len(_events(run)) == 4

"""A fit over several processes gives the numbers of one process, also when it is resumed on another number of them."""

from __future__ import annotations

import json
import signal

import pytest

from pellucid.dictionaries import load_dictionary
from pellucid.training import checkpoint

TOLERANCE = 1e-5
STEPS = 10
AT = 4
VECTORS = {"host": "mlp", "data": "vectors", "tokens": STEPS * 4, "dead_after": 12}


def _equal(gap, small, mode, one, several):
    if mode == "sites":  # no number crosses ranks
        assert small.weights(several) == small.weights(one)
        assert (several / "metrics.jsonl").read_bytes() == (one / "metrics.jsonl").read_bytes()
    assert gap(one, several) < TOLERANCE


@pytest.mark.parametrize("mode", ["data", "latents", "sites"])
@pytest.mark.parametrize("size", [2, 3])
def test_every_objective_on_uneven_data(start, alone, small, gap, mode, size):
    one = alone(steps=STEPS, data="ragged")
    several = start.whole("several", size, steps=STEPS, data="ragged", parallel=mode, rank_timeout=30.0)
    _equal(gap, small, mode, one, several)
    lines = [json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()]
    assert any("auxiliary" in line for line in lines), "the auxiliary term took part"
    record = json.loads((several / "provenance.json").read_text())
    assert (record["ranks"], record["parallel"]) == (size, mode)


def test_in_that_data_ranks_have_unequal_shares_and_sometimes_none(small):
    data = small.Ragged()
    kept = [data.train_batch(step, small.ROWS).keep.sum(dim=1).tolist() for step in range(STEPS)]
    shares = [(sum(rows[:2]), sum(rows[2:])) for rows in kept]
    assert all(map(sum, shares)) and any(0 in share for share in shares), shares
    assert len({first / (first + second) for first, second in shares}) > 3


@pytest.mark.parametrize("mode", ["data", "latents", "sites"])
def test_a_host_that_is_no_language_model(start, alone, small, gap, mode):
    names = {"one": small.VECTORS, "two": {**small.VECTORS, "seed": 1, "architecture": {"kind": "relu", "n_latents": 33}}}
    one = alone(dictionaries=names, **VECTORS)
    several = start.whole("several", 2, dictionaries=names, parallel=mode, rank_timeout=30.0, **VECTORS)
    _equal(gap, small, mode, one, several)


@pytest.mark.parametrize("mode", ["data", "latents", "sites"])
@pytest.mark.parametrize("sizes", [(2, 1), (1, 2)], ids=["2 to 1", "1 to 2"])
def test_resumed_on_another_number_of_ranks(start, alone, small, gap, mode, sizes):
    config = {"steps": STEPS, "checkpoint_seconds": 1e6, "parallel": mode, "rank_timeout": 30.0}
    stop = {"signal_at": [AT, int(signal.SIGINT)]}
    for process in start("run", sizes[0], "first", each={0: stop}, **config):
        assert process.wait() == 130, process.log
    assert checkpoint.latest(start.where / "run" / "checkpoint")[0] == AT + 1
    run = start.whole("run", sizes[1], log="second", **config)
    _equal(gap, small, mode, alone(steps=STEPS), run)


def test_the_files_are_those_of_one_process(start, alone, small):
    """Same names, shapes and types of tensors in checkpoint and dictionaries, and any loader reads them."""
    one = alone(steps=STEPS, data="ragged")
    several = start.whole("several", 2, steps=STEPS, data="ragged", parallel="latents", rank_timeout=30.0)
    mine, theirs = (checkpoint.load(run / "checkpoint") for run in (one, several))
    assert {k: (v.shape, v.dtype) for k, v in mine[0].items()} == {k: (v.shape, v.dtype) for k, v in theirs[0].items()}
    assert mine[1]["learners"].keys() == theirs[1]["learners"].keys()
    for name in small.dictionaries():
        (left, header), (right, other) = (load_dictionary(run / "dictionaries" / name) for run in (one, several))
        assert type(left) is type(right) and left.config == right.config
        assert {k for k in header if header[k] != other[k]} <= {"provenance", "weights_sha256"}
    assert {path.name for path in one.iterdir()} == {path.name for path in several.iterdir()}

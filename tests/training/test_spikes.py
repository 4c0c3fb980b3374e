"""Updates with planted faults: stopped at, skipped or gone back from, and a resume that knows of it."""

from __future__ import annotations

import json
import logging
import signal

import pytest
import torch

from pellucid.core.errors import ConfigError, NumericsError
from pellucid.training import checkpoint, trainer

STEPS = 14
KINDS = {
    "topk": {"site": "hidden", "architecture": {"kind": "topk", "n_latents": 50, "k": 4}},
    "batch": {"site": "hidden", "architecture": {"kind": "batch_topk", "n_latents": 40, "k": 3}},
    "e2e": {"site": "hidden", "architecture": {"kind": "relu", "n_latents": 30}, "objective": {"kind": "e2e"}},
}


def _config(action, **changes):
    spikes = {"action": action, "factor": 10.0, "window": 4, "rewind_steps": 5, **changes.pop("spikes", {})}
    return {
        "steps": STEPS, "tokens": STEPS * 4, "dictionaries": KINDS, "spikes": spikes, "warmup": 0.0, "dead_after": 8, **changes
    }  # fmt: skip


@pytest.fixture
def spiked(fitted, small):
    """spiked(name, action, data, **changes) -> run folder."""

    def run(name, action, data="jumping", **changes):
        return fitted(name, host=small.mlp(), data=small.DATA[data](), **_config(action, **changes))

    return run


def _lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _events(run, name="topk"):
    found = [line for line in _lines(run) if line["dictionary"] == name and "event" in line]
    return [(line["step"], line["event"], line["reason"], line.get("back_to")) for line in found]


def _header(run, name):
    return json.loads((run / "dictionaries" / name / "config.json").read_text())


def _weights(run, step, name):
    """Everything of one dictionary that a checkpoint holds."""
    tensors, state = checkpoint.load_step(run / "checkpoint", step)
    plain = {key: value for key, value in state["learners"][name].items() if key not in ("seconds", "spikes")}
    return {key: value for key, value in tensors.items() if key.startswith(f"{name}/")}, plain


def _same(left, right):
    return (
        left[1] == right[1] and left[0].keys() == right[0].keys() and all(torch.equal(left[0][k], right[0][k]) for k in left[0])
    )


def test_a_skipped_update_leaves_no_trace(spiked, caplog):
    with caplog.at_level(logging.WARNING, "pellucid"):
        run = spiked("run", "skip", keep_checkpoints=100)
    for name in KINDS:
        assert _events(run, name) == [(8, "skip", "loss", None), (9, "skip", "loss", None)]
        assert _same(_weights(run, 7, name), _weights(run, 9, name)) and not _same(
            _weights(run, 6, name), _weights(run, 7, name)
        )
        assert not _same(_weights(run, 9, name), _weights(run, 10, name))
        assert _header(run, name)["tokens"] == (STEPS - 2) * 4
        assert _header(run, name)["provenance"]["skipped_updates"] == [[7, 7], [8, 8]]
        assert [line["step"] for line in _lines(run) if line["dictionary"] == name] == list(range(1, STEPS + 1))
    said = [record.getMessage() for record in caplog.records]
    assert sum("is skipped" in text for text in said) == 2 * len(KINDS)
    assert any("loss of dictionary 'topk' at site 'hidden' is" in text and "over 10 times the median" in text for text in said)


def test_rewinding_goes_back_and_drops_what_came_since(spiked):
    run = spiked("run", "rewind", keep_checkpoints=100)
    for name in KINDS:
        assert _events(run, name) == [(8, "rewind", "loss", 5), (9, "rewind", "loss", 5)]
        assert _same(_weights(run, 5, name), _weights(run, 9, name)) and not _same(
            _weights(run, 5, name), _weights(run, 7, name)
        )
        assert _header(run, name)["provenance"]["skipped_updates"] == [[5, 8]]
        assert _header(run, name)["tokens"] == (STEPS - 4) * 4


def test_only_the_checkpoints_that_may_be_needed_stay(spiked):
    run = spiked("run", "rewind", keep_checkpoints=1)
    assert [path.name for path in sorted((run / "checkpoint").iterdir())] == ["step-000000010", "step-000000013"]
    run = spiked("other", "skip", keep_checkpoints=3)
    assert [path.name for path in sorted((run / "checkpoint").iterdir())] == [f"step-0000000{n}" for n in (11, 12, 13)]


@pytest.mark.parametrize("action", ["skip", "rewind"])
@pytest.mark.parametrize("data", ["jumping", "spoilt"])
def test_stopped_at_any_step_it_goes_on_to_the_same_bytes(spiked, small, monkeypatch, action, data):
    whole = spiked("whole", action, data, log_every=3, checkpoint_seconds=1e6)
    assert _events(whole), "the faults that are planted were found"
    if data == "spoilt":  # not the dictionary's fault: skipped under rewind too
        assert _events(whole) == [(4, "skip", "activations", None)]
    once = trainer.Trainer._one_step
    for at in (4, 7, 8, 9, 11):

        def stopping(self, metrics, at=at):
            if self.step == at:
                raise KeyboardInterrupt
            return once(self, metrics)

        monkeypatch.setattr(trainer.Trainer, "_one_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            spiked("cut", action, data, log_every=3, checkpoint_seconds=0)
    monkeypatch.setattr(trainer.Trainer, "_one_step", once)
    cut = spiked("cut", action, data, log_every=3, checkpoint_seconds=0)
    assert small.weights(cut) == small.weights(whole)
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("action", ["skip", "rewind"])
def test_killed_after_a_fault_it_goes_on_to_the_same_bytes(fork_server, small, tmp_path, action):
    order = {"config": _config(action), "host": "mlp", "data": "jumping"}
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    assert fork_server.fit(cut, "first", signal_at=[9, int(signal.SIGKILL)], **order).wait() == -9
    for run in (cut, whole):
        process = fork_server.fit(run, **order)
        assert process.wait() == 0, process.log
    assert small.weights(cut) == small.weights(whole) and len(_events(cut)) == 2
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_the_default_stops_at_numbers_that_are_none_and_at_nothing_else(fitted, small):
    config = {key: value for key, value in _config("stop").items() if key != "spikes"}
    run = fitted("run", host=small.mlp(), data=small.Jumping(), **config)
    assert _events(run) == [] and _header(run, "topk")["tokens"] == STEPS * 4
    with pytest.raises(NumericsError, match=r"activations at site 'hidden' are not finite at step 3, position 3"):
        fitted("other", host=small.mlp(), data=small.Spoilt(), **config)


def test_a_spike_that_is_asked_for_stops_with_its_numbers(spiked):
    message = r"loss of dictionary 'topk' at site 'hidden' is \d.* at step 7, over 10 times the median .* of 4 updates: .*'mse'"
    with pytest.raises(NumericsError, match=message):
        spiked("run", "stop")
    with pytest.raises(NumericsError, match=r"gradient of dictionary 'topk' .* at step 7, over 10 times the median"):
        spiked("other", "stop", spikes={"factor": None, "norm_factor": 10.0})


@pytest.mark.parametrize(("action", "since"), [("skip", "in a row"), ("rewind", "since step 5")])
def test_too_many_faults_stop_the_fit(spiked, action, since):
    message = rf"loss of dictionary 'topk' at site 'hidden' is .* at step 8, .* It is fault 2 {since}, and spikes.tries is 1"
    with pytest.raises(NumericsError, match=message):
        spiked("run", action, spikes={"tries": 1})


def test_a_dictionary_that_fails_changes_no_other(spiked, small):
    wild = {"wild": {**KINDS["topk"], "lr": 1e30}, "tame": KINDS["topk"]}
    both = spiked("both", "skip", "vectors", dictionaries=wild, spikes={"tries": 100})
    alone = spiked("alone", "skip", "vectors", dictionaries={"tame": KINDS["topk"]})
    assert len(_events(both, "wild")) > 5 and _events(both, "tame") == []
    assert small.weights(both)["tame"] == small.weights(alone)["tame"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"action": "ignore"}, "spikes.action"),
        ({"factor": 1.0}, "spikes.factor"),
        ({"norm_factor": float("inf")}, "spikes.norm_factor"),
        ({"window": 1}, "spikes.window"),
        ({"tries": 0}, "spikes.tries"),
        ({"rewind_steps": -5}, "spikes.rewind_steps"),
    ],
)
def test_impossible_settings_are_refused(small, setting, message):
    with pytest.raises(ConfigError, match=message):
        small.config(spikes=setting)

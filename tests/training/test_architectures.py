"""Every architecture trains under every objective, and a fit cut short ends with the bytes of one that was not."""

from __future__ import annotations

import json

import pytest

from pellucid.dictionaries import ARCHITECTURES, load_dictionary
from pellucid.training import trainer

SMALL = {"n_latents": 40}
SETTINGS = {
    "topk": {"k": 3},
    "batch_topk": {"k": 3},
    "gated": {"l1": 1e-3},
    "jumprelu": {"target_l0": 3.0},
    "matryoshka": {"k": 3, "groups": (0.1, 0.3)},
    "p_anneal": {"l1": 1e-3},
    "gated_p_anneal": {"l1": 1e-3},
    "gba": {"n_groups": 2, "every": 2},
    "matching_pursuit": {"pursuit_steps": 3},
    "archetypal": {"k": 3},
    "threshold": {"target_l0": 3.0},
    "codebook": {"k": 3},
    "discrete": {"l1": 1e-3},
    "gradient": {"k": 3},
    "latent_quantization": {"n_values": 4, "hidden": (16,), "weight_decay": 0.01},
    "snmf": {"winners": 0.5, "iterations": 10},
    "transcoder": {"k": 3},
    "skip_transcoder": {"k": 3},
}
ACROSS = {"site": "layers.0", "target": "layers.1"}
PLACES = {"transcoder": ACROSS, "skip_transcoder": ACROSS}
"""Where they read and write; by default the output of block 1."""

LR = {"top_afa": 1e-3, "threshold": 1e-3, "archetypal": 1e-3, "codebook": 3e-4, "skip_transcoder": 1e-3, "gradient": 1e-3}
"""Of those that start near the data or whose every atom is in use."""


@pytest.fixture(params=list(ARCHITECTURES))
def dictionaries(request):
    architecture = {"kind": request.param, **SMALL, **SETTINGS.get(request.param, {})}
    kinds = ("local", "e2e", "e2e+ds") if ARCHITECTURES[request.param].by_gradient else ("local",)
    place = PLACES.get(request.param, {"site": "layers.1"})
    return {
        kind: {**place, "architecture": architecture, "objective": {"kind": kind}, "lr": LR.get(request.param, 1e-2)}
        for kind in kinds
    }


def test_it_learns_under_every_objective(fitted, dictionaries):
    run = fitted("run", steps=24, dictionaries=dictionaries, checkpoint_seconds=1e6, dead_after=10**6)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in dictionaries:
        terms = ("mse", "kl", "downstream")
        losses = [sum(line.get(term, 0.0) for term in terms) for line in lines if line["dictionary"] == name]
        assert len(losses) == 24 and sum(losses[-5:]) < sum(losses[:5]), name
        assert not load_dictionary(run / "dictionaries" / name)[0].training


def test_an_interrupted_fit_ends_with_the_same_bytes(fitted, small, dictionaries, monkeypatch):
    whole = fitted("whole", steps=5, dictionaries=dictionaries)
    once = trainer.Trainer._one_step

    def stopping(self, metrics):
        if self.step == 3:
            raise KeyboardInterrupt
        return once(self, metrics)

    monkeypatch.setattr(trainer.Trainer, "_one_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        fitted("cut", steps=5, dictionaries=dictionaries)
    monkeypatch.undo()
    cut = fitted("cut", steps=5, dictionaries=dictionaries)
    assert small.weights(cut) == small.weights(whole)
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()

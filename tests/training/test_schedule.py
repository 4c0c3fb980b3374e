"""What changes in the course of a fit: the learning rate, penalties, what architectures anneal."""

from __future__ import annotations

import itertools
import json
import math

import pytest

from pellucid.dictionaries import PAnnealDictionary, load_dictionary
from pellucid.training.schedule import learning_rate


def test_warm_up_is_a_straight_line_from_zero():
    rates = [learning_rate(step, peak=3.0, warmup=6, total=20) for step in range(7)]
    assert rates == pytest.approx([0.5 * step for step in range(7)])


def test_cosine_falls_to_the_final_share():
    rates = [learning_rate(step, peak=1.0, warmup=10, total=110, final=0.2) for step in range(10, 111)]
    assert rates == pytest.approx([0.2 + 0.8 * (1 + math.cos(math.pi * i / 100)) / 2 for i in range(101)])
    assert rates[0] == 1.0 and rates[50] == pytest.approx(0.6) and rates[-1] == pytest.approx(0.2)
    assert all(a > b for a, b in itertools.pairwise(rates))


def test_no_warm_up_and_no_fall_is_constant():
    assert {learning_rate(step, peak=1e-3, warmup=0, total=50, final=1.0) for step in range(51)} == {1e-3}


def test_a_fit_that_is_all_warm_up_divides_by_nothing():
    assert learning_rate(4, peak=1.0, warmup=4, total=4) == 1.0
    assert learning_rate(99, peak=1.0, warmup=0, total=10, final=0.1) == pytest.approx(0.1)


def test_logged_rates_are_the_schedule(fitted):
    run = fitted(steps=10)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines if line["dictionary"] == "local"]
    assert rates == [learning_rate(step, peak=2e-3, warmup=2, total=10) for step in range(10)]
    assert rates[0] == 0


def test_sparsity_penalties_rise_over_the_warm_up(fitted):
    dictionaries = {"relu": {"site": "layers.1", "architecture": {"kind": "relu", "n_latents": 8, "l1": 100.0}, "lr": 1e-9}}
    runs = [fitted(f"run{share}", steps=8, dictionaries=dictionaries, sparsity_warmup=share) for share in (0.0, 0.5)]
    full, warmed = ([json.loads(line)["sparsity"] for line in (run / "metrics.jsonl").read_text().splitlines()] for run in runs)
    shares = [low / high for low, high in zip(warmed, full, strict=True)]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1, 1], abs=1e-4)


def test_dictionaries_hear_how_far_the_training_is(fitted, monkeypatch):
    heard = []
    monkeypatch.setattr(PAnnealDictionary, "begin_step", lambda self, progress: heard.append(progress))
    dictionaries = {"p": {"site": "layers.1", "architecture": {"kind": "p_anneal", "n_latents": 8}}}
    fitted("run", steps=4, dictionaries=dictionaries)
    assert heard == [0, 0.25, 0.5, 0.75]


def test_p_falls_during_a_fit(fitted):
    architecture = {"kind": "p_anneal", "n_latents": 8, "l1": 1e-3, "anneal_updates": 3, "anneal_start": 0.25}
    run = fitted("run", steps=12, dictionaries={"p": {"site": "layers.1", "architecture": architecture}})
    dictionary, _ = load_dictionary(run / "dictionaries" / "p")
    assert dictionary.annealed.power() == pytest.approx(0.2)

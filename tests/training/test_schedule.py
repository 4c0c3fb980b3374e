"""The learning rate over a fit."""

from __future__ import annotations

import itertools
import json
import math

import pytest

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

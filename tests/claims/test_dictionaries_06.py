"""Matryoshka dictionaries; `planted` holds trained ones of setup S, `tree` those of a planted tree."""

from __future__ import annotations

import pytest
from tests.claims.tree_toy import FIRST_PREFIX


def test_dictionaries_06_1_longer_prefixes_leave_less_unexplained(planted):
    found = planted["matryoshka 3"]
    left = [found[f"prefix {number}"] for number in range(5)]
    assert left == sorted(left, reverse=True) and left[0] > left[-1] > found["fvu"]


def test_dictionaries_06_2_worse_fvu_than_batch_topk(planted):
    assert planted["matryoshka 3"]["fvu"] > 1.2 * planted["batch_topk 3"]["fvu"]
    assert planted["matryoshka 3"]["fvu"] == pytest.approx(0.225, rel=0.15)


def test_dictionaries_06_3_parents_are_latents_of_the_first_prefix(tree):
    assert sorted(tree["matryoshka"]["parent_latents"]) == list(range(FIRST_PREFIX))
    assert min(tree["matryoshka"]["parent_cosines"]) > 0.9


def test_dictionaries_06_3_children_hold_less_of_their_parent_than_those_of_relu(tree):
    held = {name: sum(tree[name]["with_parent"]) / 9 for name in ("matryoshka", "relu")}
    assert held["matryoshka"] < 0.60 - 0.1 and held["matryoshka"] < held["relu"] - 0.1

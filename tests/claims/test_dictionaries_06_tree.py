"""Matryoshka dictionaries on a planted tree; `tree` holds trained ones."""

from __future__ import annotations

from tests.claims.tree_toy import FIRST_PREFIX


def test_dictionaries_06_3_parents_are_latents_of_the_first_prefix(tree):
    assert sorted(tree["matryoshka"]["parent_latents"]) == list(range(FIRST_PREFIX))
    assert min(tree["matryoshka"]["parent_cosines"]) > 0.9


def test_dictionaries_06_3_children_hold_less_of_their_parent_than_those_of_relu(tree):
    held = {name: sum(tree[name]["with_parent"]) / 9 for name in ("matryoshka", "relu")}
    assert held["matryoshka"] < 0.60 - 0.1 and held["matryoshka"] < held["relu"] - 0.1

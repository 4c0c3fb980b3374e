"""Matryoshka dictionaries; `planted` holds trained ones of setup S. On a tree: `test_dictionaries_06_tree.py`."""

from __future__ import annotations

import pytest


def test_dictionaries_06_1_longer_prefixes_leave_less_unexplained(planted):
    found = planted["matryoshka 3"]
    left = [found[name] for name in sorted(found) if name.startswith("prefix")]
    assert len(left) == 4 and left == sorted(left, reverse=True) and left[0] > left[-1] > found["fvu"]


def test_dictionaries_06_2_worse_fvu_than_batch_topk(planted):
    assert planted["matryoshka 3"]["fvu"] > 1.2 * planted["batch_topk 3"]["fvu"]
    assert planted["matryoshka 3"]["fvu"] == pytest.approx(0.225, rel=0.15)

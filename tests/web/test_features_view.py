"""Features made ready to print."""

from __future__ import annotations

import json

import pytest

from pellucid.core.errors import FileFormatError
from pellucid.web.features_view import AFTER, BEFORE, SHADES, pieces, read_features


def test_shades_are_shares_of_the_greatest_activation():
    found = pieces(["a", "b", "c", "d"], [0.0, 5.0, 10.0, 0.001], 2, 10.0)
    assert [(p.text, p.shade, p.peak) for p in found] == [
        ("a", 0, False),
        ("b", 5, False),
        ("c", SHADES, True),
        ("d", 1, False),
    ]
    assert [p.value for p in found] == ["", "5", "10", "0.001"]


def test_an_activation_above_the_greatest_has_the_darkest_shade():
    assert [p.shade for p in pieces(["a", "b"], [31.0, 26.0], 0, 26.0)] == [9, 9]


def test_inactive_neighbours_become_one_piece():
    assert [p.text for p in pieces([" a", " b", "\n", " c"], [0.0, 0.0, 0.0, 1.0], 3, 1.0)] == [" a b\u21b5", " c"]


def test_long_examples_are_cut_round_the_peak():
    tokens = [f"{i}." for i in range(100)]
    activations = [0.0] * 100
    activations[50] = 1.0
    text = "".join(piece.text for piece in pieces(tokens, activations, 50, 1.0))
    assert text == "\u2026 " + "".join(tokens[50 - BEFORE : 50 + AFTER + 1]) + " \u2026"


@pytest.mark.parametrize(
    ("activations", "peak"), [([1.0], 0), ([1.0, 2.0, 3.0], 0), ([1.0, 2.0], 2), ([1.0, 2.0], -1), ([1.0, float("nan")], 0)]
)
def test_examples_that_do_not_fit_are_refused(activations, peak):
    with pytest.raises(ValueError):
        pieces(["a", "b"], activations, peak, 1.0)


def test_a_malformed_feature_is_named(run):
    (run / "features.json").write_text(json.dumps({"d": [{"latent": 1}]}))
    with pytest.raises(FileFormatError, match=r"feature 0 of 'd' has another form: KeyError\('examples'\)"):
        read_features(run)
    (run / "features.json").write_text("[]")
    with pytest.raises(FileFormatError, match="wanted an object of lists"):
        read_features(run)

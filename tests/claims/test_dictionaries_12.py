"""Archetypal dictionaries; `archetypes` holds trained ones of handwritten digits, beside TopK with free atoms."""

from __future__ import annotations

import json

import pytest
import torch
from tests.claims.archetypal_toy import DELTAS, POINTS, K, M, archetypal, digits_rows
from tests.claims.conftest import ARCHETYPAL, in_a_process

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import ArchetypalConfig, ArchetypalDictionary, make_dictionary

NAMES = [f"{delta:g}" for delta in DELTAS]


@pytest.fixture(scope="module")
def archetypes(tmp_path_factory):
    """Scores by delta, trained in a process of their own."""
    scores = tmp_path_factory.mktemp("archetypes") / "scores.json"
    in_a_process(ARCHETYPAL, scores)
    return json.loads(scores.read_text())


@pytest.mark.parametrize("delta", DELTAS)
def test_dictionaries_12_1_atoms_lie_within_delta_of_the_hull(archetypes, delta):
    found = archetypes[f"{delta:g}"]["distances"]
    assert max(found) <= delta + 1e-4
    assert max(found) > 0.2 * delta or delta > 1, "the room is used"


@pytest.mark.parametrize("delta", DELTAS)
def test_dictionaries_12_2_mixtures_are_shares(archetypes, delta):
    assert archetypes[f"{delta:g}"]["least_share"] >= 0 and archetypes[f"{delta:g}"]["sum_off"] <= 1e-6


def test_dictionaries_12_3_seeds_agree_more_than_with_free_atoms(archetypes):
    assert archetypes["0"]["stability"] > archetypes["free"]["stability"] + 0.1


def test_dictionaries_12_3_the_gap_in_r2_closes_as_delta_grows(archetypes):
    gaps = [archetypes["free"]["r2"] - archetypes[name]["r2"] for name in NAMES]
    assert gaps == sorted(gaps, reverse=True) and gaps[0] > 2 * gaps[-1] > 0


def test_dictionaries_12_3_a_large_delta_recovers_what_free_atoms_do_from_the_same_start(archetypes):
    assert archetypes[NAMES[-1]]["r2"] == pytest.approx(archetypes["free at points"]["r2"], abs=0.02)


@pytest.mark.xfail(
    reason="R2 0.730 at delta 100 against 0.782 of free atoms that start at random: free atoms that start at the same "
    "centroids reach 0.721, so it is the start that costs, not the constraint (2,000 steps: 0.788 against 0.832)"
)
def test_dictionaries_12_3_a_large_delta_recovers_what_free_atoms_do_from_anywhere(archetypes):
    assert archetypes["free"]["r2"] - archetypes[NAMES[-1]]["r2"] < 0.02


def test_dictionaries_12_4_every_atom_needs_a_point_of_its_own():
    with pytest.raises(ConfigError, match=f"n_points is {M - 1}, wanted at least n_latents = {M}"):
        build(ArchetypalConfig, {"n_latents": M, "k": K, "n_points": M - 1})
    with pytest.raises(ConfigError, match=f"{M} points need a sample of at least as many activations, got {M - 1}"):
        make_dictionary(ArchetypalConfig(n_latents=M, k=K), 64, torch.Generator(), digits_rows()[: M - 1])
    dictionary = make_dictionary(archetypal(0.1), 64, torch.Generator().manual_seed(0), digits_rows())
    assert isinstance(dictionary, ArchetypalDictionary)
    assert torch.equal(dictionary.mixture, torch.eye(M, POINTS))
    assert len(dictionary.decoder.unique(dim=0)) == M

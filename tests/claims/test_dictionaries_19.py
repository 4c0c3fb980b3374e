"""Latent quantisation (QLAE) and InfoMEC; `sprites` holds scores of trained autoencoders."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from pellucid.evaluation.infomec import explicitness, infomec

SOURCES = torch.randint(0, 5, (10_000, 3), generator=torch.Generator().manual_seed(0))


def test_dictionaries_19_1_permuted_sources_are_modular_and_compact():
    found = infomec(SOURCES[:2000], SOURCES[:2000, [2, 0, 1]] * 1.0)
    assert found.modularity > 0.98 and found.compactness > 0.98


def test_dictionaries_19_1_mixed_pairs_are_not():
    from pellucid.evaluation.infomec import entropy, gap, plug_in_information

    pairs = torch.stack([5 * SOURCES[:, i] + SOURCES[:, (i + 1) % 3] for i in range(3)])
    shares = torch.tensor([[plug_in_information(source, z) / entropy(source) for z in pairs] for source in SOURCES.T])
    assert gap(shares.double().T, 3) == pytest.approx(0.25, abs=0.01)
    assert gap(shares.double(), 3) == pytest.approx(0.25, abs=0.01)


def test_dictionaries_19_2_explicitness_of_copies_and_of_noise():
    rows = SOURCES[:2000]
    assert explicitness(rows[:, 0], one_hot(rows[:, 0]).float()) > 0.99
    noise = torch.randint(0, 5, (2000, 2), generator=torch.Generator().manual_seed(1))
    assert abs(explicitness(rows[:, 0], noise)) < 0.02


@pytest.mark.xfail(
    strict=True,
    reason="InfoM after 1,500 updates, seeds 0 and 1: 0.194 and 0.225; without weight decay 0.179 and 0.223, with one codebook "
    "0.197 and 0.218. The paper trains 200,000 updates, over which a decay of 0.1 at lr 1e-3 divides by e^20; here e^0.15",
)
@pytest.mark.parametrize("without", ["no decay", "shared"])
def test_dictionaries_19_3_decay_and_codebooks_of_their_own_make_it_modular(sprites, without):
    """By more than seeds differ."""
    assert sprites["qlae 0"]["modularity"] - sprites[f"{without} 0"]["modularity"] > 0.05


def test_dictionaries_19_4_a_dimension_takes_few_values(sprites):
    assert all(1 < scores["distinct"] <= 10 for scores in sprites.values())
    assert all(scores["active"] == 8 and scores["fvu"] < 0.1 for scores in sprites.values()), "they do reconstruct the images"

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

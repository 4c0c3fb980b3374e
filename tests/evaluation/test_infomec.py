from __future__ import annotations

import math

import pytest
import torch

from pellucid.core.errors import ConfigError
from pellucid.evaluation.infomec import entropy, explicitness, infomec, plug_in_information

DRAW = torch.Generator().manual_seed(0)
SOURCES = torch.stack([torch.randint(0, n, (600,), generator=DRAW) for n in (3, 4)], dim=1)


def test_plug_in_numbers_equal_a_naive_count():
    a, b = SOURCES[:, 0], (SOURCES[:, 0] + SOURCES[:, 1]) % 4
    n, found = len(a), 0.0
    for u in range(3):
        for v in range(4):
            joint = sum(1 for x, y in zip(a.tolist(), b.tolist(), strict=True) if (x, y) == (u, v)) / n
            parts = (a == u).double().mean().item(), (b == v).double().mean().item()
            found += joint * math.log(joint / (parts[0] * parts[1])) if joint else 0.0
    assert plug_in_information(a, b) == pytest.approx(found, abs=1e-12)
    assert entropy(torch.tensor([0.5, 0.5, 2.0, 2.0])) == pytest.approx(math.log(2))


def test_order_and_names_of_latents_change_nothing():
    latents = torch.stack([SOURCES[:, 1] * 0.1, -1.0 * SOURCES[:, 0], torch.zeros(600)], dim=1)
    found = infomec(SOURCES, latents)
    again = infomec(SOURCES, latents[:, [2, 1, 0]] * -3)
    assert found.active.tolist() == [True, True, False] and again.active.tolist() == [False, True, True]
    for name in ("modularity", "compactness", "explicitness"):
        assert getattr(found, name) == pytest.approx(getattr(again, name))
    assert found.information.shape == (2, 2) and found.modularity > 0.99


def test_continuous_latents_are_pruned_and_scored_by_neighbours():
    noise = 0.01 * torch.randn(600, 3, generator=DRAW)
    latents = noise + torch.stack([SOURCES[:, 0], SOURCES[:, 1], torch.zeros(600)], dim=1)
    found = infomec(SOURCES, latents, discrete=False)
    assert found.active.tolist() == [True, True, False]
    assert found.modularity > 0.97 and found.compactness > 0.97 and found.explicitness > 0.9


def test_edges_and_refusals():
    silent = infomec(SOURCES, torch.zeros(600, 2))
    assert (silent.modularity, silent.compactness, silent.explicitness) == (0, 0, 0)
    alone = infomec(SOURCES, SOURCES[:, :1] * 1.0)
    assert math.isnan(alone.compactness) and alone.modularity > 0.99
    assert explicitness(SOURCES[:, 0], SOURCES[:, :1] * 1.0) > 0.99
    with pytest.raises(ConfigError, match="there are 1 sources, wanted 2 or more"):
        infomec(SOURCES[:, :1], SOURCES * 1.0)
    with pytest.raises(ConfigError, match="source 1 never varies"):
        infomec(SOURCES * torch.tensor([1, 0]), SOURCES * 1.0)
    with pytest.raises(ConfigError, match="600 rows of sources, 5 of latents"):
        infomec(SOURCES, torch.zeros(5, 2))

from __future__ import annotations

import pytest
import torch

from pellucid.kernels import cofiring as module
from pellucid.kernels.cofiring import cofiring, plain_cofiring
from pellucid.kernels.entries import Entries

N, M, K = 60, 23, 4
FORMS = pytest.mark.parametrize("form", [cofiring, plain_cofiring])


def entries_of(fires: torch.Tensor) -> Entries:
    tokens, latents = fires.nonzero(as_tuple=True)
    starts = torch.searchsorted(tokens, torch.arange(len(fires) + 1))
    shuffled = torch.cat([latents[starts[t] : starts[t + 1]].flip(0) for t in range(len(fires))])
    return Entries(starts, shuffled, fires.shape[1])


def naive(fires: torch.Tensor, k: int) -> list[list[tuple[int, float]]]:
    sets = [set(fires[:, i].nonzero().flatten().tolist()) for i in range(fires.shape[1])]
    found = []
    for i, own in enumerate(sets):
        scores = [(len(own & other) / len(own | other), j) for j, other in enumerate(sets) if j != i and own & other]
        found.append([(j, score) for score, j in sorted(scores, key=lambda pair: (-pair[0], pair[1]))[:k]])
    return found


def as_lists(found: tuple[torch.Tensor, torch.Tensor]) -> list[list[tuple[int, float]]]:
    latents, scores = found
    return [
        [(j, score) for j, score in zip(row, values, strict=True) if j >= 0]
        for row, values in zip(latents.tolist(), scores.tolist(), strict=True)
    ]


@FORMS
@pytest.mark.parametrize("share", [0.02, 0.15, 0.7])
def test_neighbours_equal_a_comparison_of_all_sets(form, share, monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 50)
    fires = torch.rand(N, M, generator=torch.Generator().manual_seed(5)) < share
    fires[:, 7], fires[:, 11] = False, True  # one never fires, one always does
    fires[:, 3] = fires[:, 2]
    found, wanted = as_lists(form(entries_of(fires), K)), naive(fires, K)
    assert [[j for j, _ in row] for row in found] == [[j for j, _ in row] for row in wanted]
    for row, right in zip(found, wanted, strict=True):
        assert [score for _, score in row] == pytest.approx([score for _, score in right], rel=1e-6)
    assert found[7] == []


@FORMS
def test_silence_has_no_neighbours(form):
    latents, scores = form(Entries(torch.zeros(4, dtype=torch.int64), torch.empty(0, dtype=torch.int64), 2), K)
    assert torch.equal(latents, torch.full((2, K), -1)) and torch.equal(scores, torch.zeros(2, K))

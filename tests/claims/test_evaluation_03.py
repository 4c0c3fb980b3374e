"""Convergent learning: units of a network and of a permuted or rotated copy."""

from __future__ import annotations

import pytest
import torch

from pellucid.geometry import correlations, one_to_one, semi_matching, shared_subspaces, sparse_prediction

N, UNITS, BLOCK = 4000, 48, 4


def units(seed: int = 0) -> torch.Tensor:
    """Whitened activations, so that a rotated copy is one too."""
    x = torch.randn(N, UNITS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    x = x - x.mean(dim=0)
    values, vectors = torch.linalg.eigh(x.T @ x / N)
    return x @ vectors @ torch.diag(values.rsqrt()) @ vectors.T


def rotated(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Each run of four units turned by a random orthogonal matrix."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for part in x.split(BLOCK, dim=1):
        q, r = torch.linalg.qr(torch.randn(BLOCK, BLOCK, dtype=torch.float64, generator=generator))
        parts.append(part @ (q * r.diagonal().sign()))
    return torch.cat(parts, dim=1)


def test_evaluation_3_1_a_permuted_copy_is_matched_wholly():
    x = torch.randn(N, UNITS, generator=torch.Generator().manual_seed(3)).relu()  # any positive scale and offset
    order = torch.randperm(UNITS, generator=torch.Generator().manual_seed(1))
    table = correlations(x, 3 * x[:, order] + 2)
    found = one_to_one(table)
    assert torch.equal(order[found.units], torch.arange(UNITS))
    assert float((found.correlations - 1).abs().max()) < 1e-6
    assert torch.equal(semi_matching(table).units, found.units)


def test_evaluation_3_2_a_copy_rotated_in_blocks_of_four_has_no_partners():
    matched, semi, whole = [], [], []
    for seed in range(20):
        x = units(seed)
        table = correlations(x, rotated(x, 100 + seed))
        whole.append(one_to_one(table).mean)
        for start in range(0, UNITS, BLOCK):
            block = table[start : start + BLOCK, start : start + BLOCK]
            matched.append(one_to_one(block).mean)
            semi.append(semi_matching(block).mean)
    assert sum(matched) / len(matched) == pytest.approx(0.45, abs=0.03)
    assert sum(semi) / len(semi) == pytest.approx(0.55, abs=0.03)
    # Over the whole network units may go to a partner of another block, at correlation 0, rather than to a negative one.
    assert sum(matched) / len(matched) < sum(whole) / 20 < 0.6


def test_evaluation_3_2_four_units_predict_a_rotated_one_and_clustering_finds_the_blocks():
    x = units()
    copy = rotated(x, 100)
    weights, r2 = sparse_prediction(x, copy, n_units=BLOCK)
    assert ((weights != 0).sum(dim=1) <= BLOCK).all() and float((1 - r2).abs().max()) < 1e-6
    assert float(sparse_prediction(x, copy, n_units=1)[1].mean()) < 0.7
    blocks = torch.arange(UNITS) // BLOCK
    first, second = shared_subspaces(correlations(x, copy), UNITS // BLOCK)
    for labels in (first, second):
        assert len({(int(a), int(b)) for a, b in zip(labels, blocks, strict=True)}) == UNITS // BLOCK
    assert torch.equal(first, second)


def test_evaluation_3_3_matching_never_beats_semi_matching():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        a, b = torch.randn(60, 9, generator=generator), torch.randn(60, 12 - seed % 6, generator=generator)
        table = correlations(a, b)
        one, semi = one_to_one(table), semi_matching(table)
        has = one.units >= 0
        assert (one.correlations[has] <= semi.correlations[has]).all()
        if bool(has.all()):
            assert one.mean <= semi.mean

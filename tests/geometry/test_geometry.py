"""Matching between networks and merging of channels: definitions by naive loops, and refusals."""

from __future__ import annotations

import itertools
import sys

import pytest
import torch

from pellucid.core.errors import ConfigError, DataError
from pellucid.geometry import correlations, merge_features, one_to_one, shared_subspaces, sparse_prediction


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_correlations_are_those_of_torch_and_a_constant_unit_has_none():
    a, b = rows(50, 3), rows(50, 4, seed=1)
    table = correlations(a, b)
    for i, j in itertools.product(range(3), range(4)):
        assert float(table[i, j]) == pytest.approx(float(torch.corrcoef(torch.stack([a[:, i], b[:, j]]).double())[0, 1]))
    assert (correlations(torch.ones(50, 2), b) == 0).all()
    with pytest.raises(DataError, match="two rows or more, got 1"):
        correlations(a[:1], b[:1])
    with pytest.raises(DataError, match="not finite"):
        correlations(a / 0, b)


def test_the_assignment_is_the_best_of_all():
    table = rows(4, 5)
    best = max(sum(float(table[i, j]) for i, j in enumerate(p)) for p in itertools.permutations(range(5), 4))
    assert float(one_to_one(table).correlations.sum()) == pytest.approx(best, rel=1e-6)
    assert int((one_to_one(rows(5, 3)).units < 0).sum()) == 2


def test_a_penalty_makes_predictions_sparse_and_none_makes_them_exact():
    b = rows(300, 6)
    a = b @ rows(6, 2, seed=1)
    exact, r2 = sparse_prediction(a, b, penalty=0.0)
    assert float((1 - r2).abs().max()) < 1e-9 and (exact != 0).all()
    sparse, less = sparse_prediction(a, b, penalty=0.3)
    assert (sparse == 0).any() and (less < r2).all() and (less > 0).all()


def test_the_first_merge_is_that_of_a_loop():
    incoming, outgoing = rows(5, 3), rows(2, 5, seed=1)
    far = {
        (m, n): float((incoming[m] - incoming[n]).square().sum() + (outgoing[:, m] - outgoing[:, n]).square().sum())
        for m, n in itertools.combinations(range(5), 2)
    }
    a, b = min(far, key=far.__getitem__)
    found = merge_features(incoming, outgoing, beta=1.001 * far[a, b] / max(far.values()))
    assert found.n_channels == 4 and int(found.groups[a]) == int(found.groups[b])
    place = int(found.groups[a])
    torch.testing.assert_close(found.incoming[place], incoming[a] + incoming[b])
    torch.testing.assert_close(found.outgoing[:, place], (outgoing[:, a] + outgoing[:, b]) / 2)


def test_refusals(monkeypatch):
    for call, message in (
        (lambda: merge_features(rows(3, 2), rows(2, 4), 0.1), "3 channels with incoming weights and 4 with outgoing"),
        (lambda: merge_features(rows(3, 2), rows(2, 3), 1.5), "beta is 1.5, wanted 0 to 1"),
        (lambda: sparse_prediction(rows(9, 2), rows(9, 2)), "give either n_units or penalty"),
        (lambda: sparse_prediction(rows(9, 2), rows(9, 2), n_units=3), "n_units is 3, wanted 1 to 2"),
        (lambda: shared_subspaces(rows(3, 4), 4), "n_groups is 4, wanted 1 to 3"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigError, match=r"pip install 'pellucid\[geometry\]'"):
        one_to_one(rows(2, 2))

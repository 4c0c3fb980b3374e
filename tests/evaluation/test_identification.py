from __future__ import annotations

import math

import pytest
import torch

from pellucid.core.errors import ConfigError
from pellucid.dictionaries import atomic_metric
from pellucid.evaluation import identification
from pellucid.evaluation.identification import stability


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)]


def _by_search(products: list[float], active: list[int]) -> float:
    """q* by trying every q at which one of the two quantiles steps."""
    steps = {n / len(products) for n in range(1, len(products) + 1)} | {n / len(active) for n in range(1, len(active) + 1)}
    holds = [q for q in steps if (k := _quantile(active, q)) < 1 or _quantile(products, q) < 1 / (2 * k - 1)]
    return max(holds, default=0.0)


@pytest.mark.parametrize("most", [1, 2, 3, 6])
@pytest.mark.parametrize("euclidean", [True, False])
def test_it_is_the_largest_q_at_which_both_quantiles_allow_uniqueness(most, euclidean, monkeypatch):
    monkeypatch.setattr(identification, "CHUNK", 7)
    atoms, x = _normal(20, 8), _normal(60, 8, seed=1) * torch.arange(1, 9)
    metric = torch.eye(8, dtype=torch.float64) if euclidean else atomic_metric(x, 8)
    active = torch.randint(0, most + 1, (50,), generator=torch.Generator().manual_seed(2))
    unit = [row / (row @ metric @ row).sqrt() for row in atoms]
    products = [abs(float(unit[i] @ metric @ unit[j])) for i in range(20) for j in range(i + 1, 20)]
    found = stability(atoms, active, None if euclidean else metric)
    assert found.q == pytest.approx(_by_search(products, active.tolist()))
    assert found.active == 0 or found.bound == pytest.approx(1 / (2 * found.active - 1))


def test_orthogonal_atoms_are_stable_and_equal_ones_are_not():
    assert stability(torch.eye(6), torch.tensor([1, 4, 6])).q == 1
    assert stability(torch.ones(6, 3), torch.tensor([2, 2])).q == 0
    with pytest.raises(ConfigError, match="two atoms and one token at least, got 1 and 2"):
        stability(torch.ones(1, 3), torch.tensor([1, 2]))

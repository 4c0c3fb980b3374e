from __future__ import annotations

import itertools
import sys

import pytest
import torch

from pellucid.core.errors import ConfigError
from pellucid.evaluation.reconstruction import Reconstruction
from pellucid.evaluation.recovery import Matching, code_ratio, match


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize(("m", "f"), [(5, 5), (7, 4), (4, 6)])
def test_matching_is_the_best_of_all(m, f):
    atoms, truth = rows(m, 6, 1), rows(f, 6, 2)
    cosines = (truth @ atoms.T).double()
    if m >= f:
        best = max(sum(cosines[i, j] for i, j in enumerate(p)) for p in itertools.permutations(range(m), f))
    else:
        best = max(sum(cosines[i, j] for j, i in enumerate(p)) for p in itertools.permutations(range(f), m))
    found = match(atoms, truth)
    assert float(found.cosines.sum()) == pytest.approx(float(best), abs=1e-6)
    assert int((found.latents >= 0).sum()) == min(m, f)
    assert len(set(found.latents[found.latents >= 0].tolist())) == min(m, f)
    for feature, latent in enumerate(found.latents.tolist()):
        assert float(found.cosines[feature]) == pytest.approx(float(cosines[feature, latent]) if latent >= 0 else 0.0, abs=1e-6)
    assert found.mcs == pytest.approx(float(best) / f, abs=1e-6)


def test_recovery_knows_no_order_nor_length_but_knows_signs():
    truth = rows(8, 16)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    found = match(3.5 * truth[order], truth)
    assert torch.equal(order[found.latents], torch.arange(8))
    assert found.mcs == pytest.approx(1) and found.frr == 1
    assert match(torch.eye(4), -torch.eye(4)).mcs == 0
    assert match(-torch.ones(1, 3), torch.ones(1, 3)).mcs == pytest.approx(-1)
    assert match(torch.zeros(8, 16), truth).mcs == 0


def test_frr_is_the_share_above_nine_tenths():
    matching = Matching(torch.arange(4), torch.tensor([0.91, 0.9, 0.5, 1.0], dtype=torch.float64))
    assert matching.frr == 0.5


def test_code_ratio_is_the_mean_over_what_both_know():
    matching = Matching(torch.tensor([1, -1, 0]), torch.ones(3, dtype=torch.float64))
    codes = torch.tensor([[1.0, 0.5], [0.0, 3.0]])
    coefficients = torch.tensor([[2.0, 9.0, 4.0], [1.0, 9.0, 5.0]])
    # token 0: 0.5 * 2 / 2 and 1 * 4 / 4; token 1: 3 * 2 / 1, and feature 2's partner is silent
    assert code_ratio(codes, coefficients, matching, torch.tensor([4.0, 2.0])) == pytest.approx((0.5 + 1 + 6) / 3)
    silent = code_ratio(torch.zeros(2, 2), coefficients, matching, torch.ones(2))
    assert silent != silent


def test_gamma_is_the_factor_that_fits_best():
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)).double()
    x_hat = 0.7 * x + 0.2 * torch.randn(200, 8, generator=torch.Generator().manual_seed(1)).double()
    sums = Reconstruction(8)
    for part in (slice(0, 30), slice(30, 200)):
        sums.update(x[part], x_hat[part])
    grid = torch.linspace(0.5, 1.5, 20_001, dtype=torch.float64)
    errors = torch.stack([(x_hat / g - x).square().sum() for g in grid])
    assert sums.gamma == pytest.approx(float(grid[errors.argmin()]), abs=1e-4)
    exact = Reconstruction(8)
    exact.update(x, x)
    assert exact.gamma == pytest.approx(1)


def test_refusals(monkeypatch):
    with pytest.raises(ConfigError, match="atoms have width 3, the true features 4"):
        match(torch.ones(2, 3), torch.ones(2, 4))
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigError, match=r"needs scipy\. Install the extra: pip install 'pellucid\[geometry\]'"):
        match(torch.ones(2, 3), torch.ones(2, 3))

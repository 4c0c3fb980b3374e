"""The atomic inner product, and what a threshold dictionary with the true atoms recovers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from pellucid.dictionaries import ThresholdConfig, ThresholdDictionary, atomic_metric, atomic_product, make_dictionary
from pellucid.dictionaries.atomic import inverse_root
from pellucid.evaluation.identification import stability

H, N, ROWS = 256, 512, 2000


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_true_atoms(atoms: torch.Tensor, threshold: float) -> ThresholdDictionary:
    """A dictionary that holds these atoms, scaled to unit S-norm with S = (D D')^-1."""
    dictionary = make_dictionary(ThresholdConfig(n_latents=len(atoms)), atoms.shape[1], None, atoms).double()
    assert isinstance(dictionary, ThresholdDictionary)
    with torch.no_grad():
        dictionary.metric.copy_(torch.linalg.inv(atoms.T @ atoms))
        dictionary.colouring.copy_(inverse_root(dictionary.metric))
        dictionary.place_atoms(atoms)
        dictionary.log_threshold.fill_(math.log(threshold))
    return dictionary.requires_grad_(False).eval()


def largest_product(dictionary: ThresholdDictionary) -> float:
    atoms = dictionary.decoder
    products = atomic_product(atoms, atoms, dictionary.metric)
    assert_close(products.diagonal(), torch.ones(len(atoms), dtype=torch.float64))
    return float((products - torch.diag(products.diagonal())).abs().max())


def planted(dictionary: ThresholdDictionary, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of k atoms each, with coefficients 1; and the coefficients."""
    chosen = torch.rand(ROWS, dictionary.n_latents, generator=torch.Generator().manual_seed(3)).topk(k).indices
    delta = torch.zeros(ROWS, dictionary.n_latents, dtype=torch.float64).scatter(1, chosen, 1.0)
    return delta @ dictionary.decoder, delta


def with_an_offset() -> tuple[torch.Tensor, float]:
    """Normal rows with a common offset of length 4, and the mean cosine between two of them."""
    x = normal(4000, 64) + 4 * normalize(normal(1, 64, seed=1), dim=1)
    return x, float(torch.nn.functional.cosine_similarity(x[:2000], x[2000:]).mean())


def test_dictionaries_13_1_a_common_offset_bends_cosines_and_not_the_atomic_angle():
    x, cosine = with_an_offset()
    pairs, metric = (x[:2000], x[2000:]), atomic_metric(x, 64)
    assert cosine == pytest.approx(16 / (64 + 16), abs=0.01)
    atomic = atomic_product(*pairs, metric, normalised=True)
    assert 89 <= float(torch.rad2deg(atomic.acos()).mean()) <= 90
    without = normal(4000, 64)
    assert abs(float(torch.nn.functional.cosine_similarity(without[:2000], without[2000:]).mean())) < 0.01


@pytest.mark.xfail(
    reason="the sheet states a mean cosine of 0.145 at offset 4 in 64 dimensions; 0.20 was measured here, which is "
    "16 / (64 + 16), what rows of unit variance give; the sheet does not say how its rows vary"
)
def test_dictionaries_13_1_mean_cosine_at_offset_4():
    assert with_an_offset()[1] == pytest.approx(0.145, abs=0.01)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dictionaries_13_2_values_are_the_same_in_any_coordinates(seed):
    x, turn = normal(1000, 64), normal(64, 64, seed=seed)
    before, after = (atomic_product(rows[:50], rows[:50], atomic_metric(rows, 64)) for rows in (x, x @ turn.T))
    assert float((after - before).norm() / before.norm()) < 1e-9


def test_dictionaries_13_3_orthogonal_atoms_give_everything_back():
    atoms = torch.linalg.qr(normal(H, H)).Q
    dictionary = with_true_atoms(atoms, 0.5)
    x, delta = planted(dictionary, 3)
    forward = dictionary(x)
    assert largest_product(dictionary) < 1e-12
    assert_close(forward.codes, delta, atol=1e-9, rtol=0)
    assert_close(forward.reconstruction, x, atol=1e-9, rtol=0)


def test_dictionaries_13_3_within_the_condition_the_support_is_exact_and_coefficients_are_near():
    dictionary, k = with_true_atoms(normalize(normal(N, H), dim=1), 0.5), 2
    epsilon = largest_product(dictionary)
    assert epsilon * (2 * k - 1) < 1 and epsilon * k < 0.5 < 1 - epsilon * (k - 1)
    x, delta = planted(dictionary, k)
    codes = dictionary(x).codes
    assert torch.equal(codes > 0, delta > 0)
    error = float((codes - delta).abs().max())
    assert 0.01 < error <= epsilon * (k - 1) + 1e-9, "exact only without any overlap"


def test_dictionaries_13_3_three_atoms_of_512_in_256_dimensions():
    dictionary = with_true_atoms(normalize(normal(N, H), dim=1), 0.5)
    epsilon = largest_product(dictionary)
    assert epsilon == pytest.approx(0.215, abs=0.02)
    x, delta = planted(dictionary, 3)
    forward = dictionary(x)
    assert torch.equal(forward.codes > 0, delta > 0)
    assert float((forward.codes - delta)[delta > 0].abs().max()) <= 2 * epsilon
    relative = ((forward.codes - delta)[delta > 0]).abs().mean()
    assert float(relative) == pytest.approx(0.055, abs=0.01)


def test_dictionaries_13_4_stability_takes_both_quantiles_at_the_same_q():
    x = normal(1000, 24) + 2
    metric, atoms = atomic_metric(x, 24), normal(40, 24, seed=1)
    active = torch.randint(1, 5, (500,), generator=torch.Generator().manual_seed(4))
    unit = atoms / atomic_product(atoms, atoms, metric).diagonal().sqrt().unsqueeze(1)
    products = atomic_product(unit, unit, metric)
    pairs = products[torch.ones_like(products, dtype=torch.bool).triu(diagonal=1)].abs()
    grid = torch.arange(1, 20_001, dtype=torch.float64) / 20_000
    mu = pairs.sort().values[(grid * len(pairs)).ceil().long() - 1]
    k = active.sort().values[(grid * len(active)).ceil().long() - 1]
    by_grid = float(grid[mu < 1 / (2 * k - 1)].max())
    found = stability(atoms, active, metric)
    assert found.q == pytest.approx(by_grid, abs=1 / 20_000) and 0 < found.q < 1
    # with the whole of one and a quantile of the other, another number comes out
    assert float(grid[pairs.max() < 1 / (2 * k - 1)].max() if bool((pairs.max() < 1 / (2 * k - 1)).any()) else 0) < found.q
    assert float(grid[mu < 1 / (2 * int(active.max()) - 1)].max()) < found.q
    assert stability(atoms, active).q != pytest.approx(found.q, abs=1e-3), "another inner product, another stability"

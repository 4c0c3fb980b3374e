"""Sparse autoencoders on planted features; `grid` holds a ReLU dictionary for each penalty and size of the toy."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.claims.conftest import in_a_process
from tests.claims.superposition_toy import GOOD, SMALL, G, H

from pellucid.data import PlantedConfig, PlantedData
from pellucid.data.planted import Correlated, Decaying, regime
from pellucid.evaluation.choice import Cell, choose
from pellucid.evaluation.similarity import chance, mmcs

ALPHAS = SMALL["alphas"]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    """What the toy's script measures: cells, seeds, doubling, and a dictionary of four times the features."""
    scores = tmp_path_factory.mktemp("superposition") / "scores.json"
    in_a_process(Path(__file__).parent / "superposition_toy.py", scores)
    return json.loads(scores.read_text())


@pytest.fixture(scope="module")
def cells(found) -> dict[tuple[float, int], dict[str, Any]]:
    """Scores by (alpha, size)."""
    return {(cell["alpha"], cell["size"]): cell for cell in found["cells"]}


@pytest.fixture(scope="module")
def best(cells) -> tuple[float, int]:
    """The cell that the truth says is best."""
    return max(cells, key=lambda key: cells[key]["mmcs"])


def unit(n: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, H, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_toy_superposition_sae_01_independent_features_decay_by_a_hundredth_and_fire_at_their_rates():
    config = PlantedConfig(n_features=512, width=256, firing=Decaying(active=5.0))
    data = PlantedData(config)
    wanted = config.firing.rates(512)
    assert wanted is not None
    assert float((data.atoms.norm(dim=1) - 1).abs().max()) < 1e-6
    assert torch.allclose(wanted[1:] / wanted[:-1], torch.full((511,), 0.99, dtype=torch.float64), rtol=0, atol=1e-12)
    rows = 20_480
    rates = (data.truth(torch.arange(rows)).coefficients > 0).double().mean(dim=0)
    errors = (rates - wanted).abs() / (wanted * (1 - wanted) / rows).sqrt()
    assert float((errors > 3).double().mean()) < 0.01, "of 512 features 1.4 are outside three standard errors by chance"
    assert float(rates.sum()) == pytest.approx(float(wanted.sum()), abs=3 * float((wanted * (1 - wanted) / rows).sum().sqrt()))


def test_toy_superposition_sae_01_correlated_rows_are_never_empty_and_hold_as_many_features_as_asked():
    asked = regime("sharkey").firing.active
    filled, bare = (PlantedData(regime("sharkey", fill_empty=fill)) for fill in (True, False))
    rows = torch.arange(40 * 512)  # 40 draws of z
    assert int((filled.truth(rows).coefficients > 0).sum(dim=1).min()) >= 1
    active = (bare.truth(rows).coefficients > 0).double().sum(dim=1)
    assert float(active.mean()) == pytest.approx(asked, rel=0.05)
    assert isinstance(bare.config.firing, Correlated)


def test_toy_superposition_sae_02_mmcs_knows_order_and_sign_but_not_length_and_never_falls():
    truth = unit(G)
    assert mmcs(truth, truth) == pytest.approx(1, abs=1e-6)
    generator = torch.Generator().manual_seed(1)
    atoms = unit(100, seed=2)
    moved = atoms[torch.randperm(100, generator=generator)] * (0.1 + torch.rand(100, 1, generator=generator))
    assert mmcs(truth, moved) == pytest.approx(mmcs(truth, atoms), abs=1e-6)
    assert mmcs(truth, -truth) < 0.6
    values = [mmcs(truth, atoms[:n]) for n in range(1, 101)]
    assert all(later >= earlier for earlier, later in pairwise(values))


@pytest.mark.parametrize(("size", "level"), [(16, 0.27), (32, 0.39), (64, 0.39), (128, 0.43), (256, 0.47)])
def test_toy_superposition_sae_03_chance_grows_with_size(size, level):
    assert chance(unit(G, seed=7), size) == pytest.approx(level, abs=0.05)


def test_toy_superposition_sae_04_twice_the_features_recover_them_and_half_cannot(cells):
    doubled = {alpha: cells[alpha, 2 * G]["mmcs"] for alpha in ALPHAS}
    top = max(doubled.values())
    assert top > 0.97
    assert all(cells[alpha, G // 2]["mmcs"] < 0.8 for alpha in ALPHAS)
    assert doubled[ALPHAS[0]] <= top - 0.1 and doubled[ALPHAS[-1]] <= top - 0.1


def test_toy_superposition_sae_05_the_next_larger_dictionary_points_within_a_step_of_the_best(cells):
    rated = [Cell(c["size"], c["alpha"], c["agreement"], c["dead"], c["loss"], c["mmcs"]) for c in cells.values()]
    chosen = choose(rated).cell
    true = max((cell for cell in rated if cell.agreement is not None), key=lambda cell: cell.truth or 0)
    assert abs(ALPHAS.index(chosen.sparsity) - ALPHAS.index(true.sparsity)) <= 1
    assert abs(SMALL["sizes"].index(chosen.size) - SMALL["sizes"].index(true.size)) <= 1


def test_toy_superposition_sae_06_dead_units_rise_with_the_penalty(cells):
    for size in SMALL["sizes"]:
        dead = [cells[alpha, size]["dead"] for alpha in ALPHAS]
        slack = 0.05 * size
        assert all(later >= earlier - slack for earlier, later in pairwise(dead)), dead
        assert dead[-1] > dead[0]


@pytest.mark.xfail(
    strict=True,
    reason="at alpha 1 and four times the features 198 of 256 atoms are live: alpha / size halves the good cell's pressure",
)
def test_toy_superposition_sae_06_four_times_the_features_leave_live_atoms_nearer_to_the_features(found):
    assert abs(found["wide"] - G) < abs(found["wide"] - 4 * G)


def test_toy_superposition_sae_07_reconstruction_alone_selects_the_smallest_penalty(cells, best):
    by_loss = min(cells, key=lambda key: cells[key]["loss"])
    assert by_loss[0] == ALPHAS[0]
    assert cells[by_loss]["mmcs"] < cells[best]["mmcs"] - 0.1


def test_toy_superposition_sae_08_most_features_are_found_wholly_in_the_good_cell(cells):
    assert cells[GOOD]["above_90"] > 0.8


@pytest.mark.xfail(
    strict=True,
    reason="the good cell misses nothing: all 64 features are above 0.9, and their rank correlation with rate is -0.004",
)
def test_toy_superposition_sae_08_what_is_missed_in_the_good_cell_is_rare(cells):
    assert cells[GOOD]["rank_correlation"] > 0


@pytest.mark.parametrize("cell", [(0.3, G), (0.3, 2 * G), (1.0, G)])
def test_toy_superposition_sae_08_what_cells_beside_it_miss_is_rare(cells, cell):
    assert cells[cell]["above_90"] < 1 and cells[cell]["rank_correlation"] > 0.3


def test_toy_superposition_sae_09_seeds_agree_in_the_good_cell_and_not_in_a_dense_one(found):
    assert found["seeds"]["good"] > 0.9
    assert found["seeds"]["dense"] < found["seeds"]["good"] - 0.1


def test_toy_superposition_sae_10_twice_the_steps_change_little(found):
    assert found["doubling"]["change"] < 0.02

"""Planted data beyond setup S: rates, correlations, families, tails, circles, noise, toy models."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.data import PlantedConfig, PlantedData
from pellucid.data.planted import (
    COEFFICIENTS,
    REGIMES,
    Circles,
    Correlated,
    Decaying,
    HeavyTailed,
    Hierarchy,
    ToyConfig,
    regime,
    train_toy,
)
from pellucid.data.planted.correlated import correlations
from pellucid.data.planted.superposition import frequencies, mean_squared_overlap, welch_bound
from pellucid.data.source import seeded

ROWS = torch.arange(20_000)


@pytest.mark.parametrize("name", [name for name in REGIMES if name != "sharkey"])
def test_every_regime_is_a_stream_whose_rows_have_a_seed_and_an_index_alone(name):
    changes = {"atoms": {"kind": "superposition", "steps": 40}} if name == "superposition" else {}
    data, again = PlantedData(regime(name, **changes)), PlantedData(regime(name, **changes))
    picked = torch.tensor([700, 3, 511, 3])
    whole = data.truth(torch.arange(701))
    assert torch.equal(again.truth(picked).coefficients, whole.coefficients[picked])
    assert_close(again.truth(picked).x, whole.x[picked], rtol=0, atol=1e-6)
    assert_close(data.atoms.norm(dim=1), torch.ones(len(data.atoms)), rtol=0, atol=1e-6)
    assert data.train_batch(0, 8).inputs.shape == (8, data.config.width)
    assert build(PlantedConfig, data.config.model_dump(mode="json")) == data.config


def test_firing_rates_are_those_stated():
    for config in (
        regime("hierarchy"),
        PlantedConfig(firing=Decaying(active=5.0, decay=0.95)),
        PlantedConfig(firing=Decaying(active=3.0, rescaled=True)),
    ):
        wanted = config.firing.rates(config.n_features)
        found = (PlantedData(config).truth(ROWS).coefficients > 0).double().mean(dim=0)
        error = (wanted * (1 - wanted) / len(ROWS)).sqrt()
        assert float(((found - wanted).abs() / error).max()) < 4.5
    assert float(Decaying(active=3.0, rescaled=True).rates(64).sum()) == pytest.approx(3)


def test_a_child_is_active_only_with_its_parent_and_alone_among_its_siblings():
    data = PlantedData(regime("hierarchy"))
    active = data.truth(ROWS).coefficients > 0
    parents, rule = data.parents(), data.config.firing
    assert isinstance(rule, Hierarchy)
    for child in (parents >= 0).nonzero().flatten().tolist():
        assert not (active[:, child] & ~active[:, parents[child]]).any()
        siblings = (parents == parents[child]).nonzero().flatten()
        assert int(active[:, siblings].sum(dim=1).max()) == 1
    assert int((parents < 0).sum()) == 16


def test_correlated_features_co_vary_within_rows_or_between_blocks():
    row, block = (PlantedData(PlantedConfig(firing=Correlated(active=3.0, per=per))) for per in ("row", "block"))
    matrix = correlations(64, seeded("planted correlations", 0))
    assert float(torch.linalg.eigvalsh(matrix)[0]) > 0 and torch.equal(matrix, matrix.T)
    for data in (row, block):
        active = (data.truth(ROWS).coefficients > 0).double()
        assert float(active.sum(dim=1).mean()) == pytest.approx(3, rel=0.05)
        means = active[: 512 * 39].view(39, 512, 64).mean(dim=1)
        between = float((means.var(dim=0) * 512 / (means.mean(dim=0) * (1 - means.mean(dim=0)))).mean())
        assert (between > 5) == (data is block), "only a z of a block makes the rates of blocks differ"


def test_a_tail_is_heavy_and_means_are_as_stated():
    for rule in COEFFICIENTS:
        drawn = rule().draw(400_000, 1, torch.Generator().manual_seed(0)).double()
        assert float(drawn.mean()) == pytest.approx(rule().mean, rel=0.01)
    drawn = HeavyTailed(low=0.5, tail=3.0).draw(400_000, 1, torch.Generator().manual_seed(0))
    for t in (0.5, 1.0, 4.0):
        assert float((drawn > t).double().mean()) == pytest.approx((0.5 / t) ** 3, rel=0.1)


def test_a_circle_is_a_plane_and_its_radius_the_coefficient():
    data = PlantedData(PlantedConfig(n_features=6, width=12, atoms=Circles(n_circles=4), firing={"kind": "decaying"}))
    truth = data.truth(torch.arange(2000))
    assert data.atoms.shape == (10, 12) and data.owners.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]
    for circle in range(4):
        pair = data.atoms[2 * circle : 2 * circle + 2]
        assert_close(pair @ pair.T, torch.eye(2), rtol=0, atol=1e-6)
        both = truth.coefficients[:, 2 * circle : 2 * circle + 2]
        radii = both.norm(dim=1)[both.norm(dim=1) > 0]
        assert float(radii.min()) > 0.499 and float(radii.max()) < 1.501
        assert (both < 0).any() and (both > 0).any()
    assert_close(truth.x, truth.coefficients @ data.atoms, rtol=0, atol=1e-6)


def test_noise_is_as_strong_as_stated_and_empty_rows_are_filled():
    plain = PlantedData(PlantedConfig()).truth(ROWS)
    noisy = PlantedData(PlantedConfig(noise=0.3)).truth(ROWS)
    assert torch.equal(plain.coefficients, noisy.coefficients)
    assert float((noisy.x - plain.x).std()) == pytest.approx(0.3, rel=0.01)
    filled = PlantedData(PlantedConfig(fill_empty=True)).truth(ROWS).coefficients
    empty = (plain.coefficients == 0).all(dim=1)
    assert empty.any() and torch.equal(filled[~empty], plain.coefficients[~empty])
    assert ((filled[empty] > 0).sum(dim=1) == 1).all() and (filled[empty].sum(dim=1) == 1).all()


def test_the_toy_model_learns_and_its_measures_are_those_of_a_loop():
    config = ToyConfig(n_features=30, width=10, steps=150, batch=128, lr=3e-2)
    toy, again = train_toy(config), train_toy(config)
    assert torch.equal(toy.rows, again.rows) and toy.rows.shape == (30, 10)
    assert toy.loss < 0.7 * train_toy(config.model_copy(update={"steps": 1})).loss
    unit = torch.nn.functional.normalize(toy.rows.double(), dim=1)
    pairs = [float(unit[i] @ unit[j]) ** 2 for i in range(30) for j in range(30) if i != j]
    assert mean_squared_overlap(toy.rows) == pytest.approx(sum(pairs) / len(pairs))
    p = frequencies(30, 1.0, 2.0)
    assert float(p[0] / p[3]) == pytest.approx(4) and float(frequencies(30, 0.5, 1.0).sum()) == pytest.approx(1)
    assert welch_bound(1000, 16) == pytest.approx(0.248, abs=1e-3)


def test_impossible_data_is_refused():
    for values, message in (
        ({"n_features": 10, "firing": {"kind": "hierarchy"}}, "n_features is 10, wanted whole families of 4"),
        ({"firing": {"kind": "hierarchy", "active": 40.0}}, "firing.active is 40.0, but there are 16 parents"),
        ({"firing": {"kind": "decaying", "active": 200.0}}, "probability is 3.12"),
        ({"atoms": {"kind": "circles", "n_circles": 65}}, "n_circles is 65, but there are 64 features"),
        ({"coefficients": {"kind": "heavy_tailed", "tail": 2.0}}, "tail"),
        ({"noise": -1.0}, "noise"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(PlantedConfig, values)
    with pytest.raises(ConfigError, match=r"unknown regime 'hierachy'. Did you mean 'hierarchy'"):
        regime("hierachy")

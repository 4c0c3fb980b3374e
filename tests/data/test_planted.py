from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, DataError
from pellucid.data import PlantedConfig, PlantedData
from pellucid.dictionaries import load_dictionary, make_dictionary
from pellucid.evaluation.recovery import match
from pellucid.hosts import Host
from pellucid.training import FitConfig, fit


def test_the_default_is_setup_s():
    data = PlantedData()
    truth = data.truth(torch.arange(20_000), held_out=True)
    assert data.atoms.shape == (64, 32) and truth.x.shape == (20_000, 32)
    assert_close(data.atoms.norm(dim=1), torch.ones(64), rtol=0, atol=1e-6)
    active = truth.coefficients > 0
    firing = active.double().mean(dim=0)
    assert float(active.sum(dim=1).double().mean()) == pytest.approx(3, abs=0.05)
    assert float((firing - 3 / 64).abs().max()) < 5 * (3 / 64 / 20_000) ** 0.5
    strength = truth.coefficients[active].double()
    assert 0.5 <= float(strength.min()) < 0.501 and 1.499 < float(strength.max()) < 1.5
    assert float(strength.mean()) == pytest.approx(1, abs=0.01) and float(strength.var()) == pytest.approx(1 / 12, rel=0.02)
    together = torch.corrcoef(active.double().T) - torch.eye(64)
    assert float(together.abs().max()) < 5 / 20_000**0.5, "features fire independently"


def test_rows_are_the_sum_of_their_features():
    data = PlantedData(PlantedConfig(n_features=5, width=3, firing={"kind": "independent", "active": 2.0}))
    truth = data.truth(torch.arange(40))
    for row, coefficients in zip(truth.x, truth.coefficients, strict=True):
        by_hand = sum(float(c) * atom.double() for c, atom in zip(coefficients, data.atoms, strict=True))
        assert_close(row.double(), by_hand, rtol=0, atol=1e-6)


def test_a_row_depends_on_seed_and_index_alone():
    data, again, other = PlantedData(), PlantedData(), PlantedData(PlantedConfig(seed=1))
    whole = data.truth(torch.arange(3000))
    picked = torch.tensor([2999, 0, 511, 512, 513, 0])
    assert torch.equal(again.truth(picked).coefficients, whole.coefficients[picked])
    assert_close(again.train_rows(picked).inputs, whole.x[picked], rtol=0, atol=1e-6)
    assert not torch.equal(other.atoms, data.atoms)
    assert not torch.equal(other.truth(picked).coefficients, whole.coefficients[picked])
    assert not torch.equal(data.truth(picked, held_out=True).coefficients, whole.coefficients[picked])
    assert data.digest() == again.digest() != other.digest()


def test_batches_walk_an_endless_stream_at_any_size():
    data = PlantedData()
    small = torch.cat([data.train_batch(step, 100).inputs for step in range(6)])
    large = torch.cat([data.train_batch(step, 300).inputs for step in range(2)])
    assert_close(small, large, rtol=0, atol=1e-6)
    active = small[small.abs().sum(dim=1) > 0]  # rows without a feature are zero
    assert len(torch.unique(active, dim=0)) == len(active) > 500
    far = data.train_batch(10**12, 8).inputs
    assert far.shape == (8, 32) and not torch.equal(far, small[:8])
    assert sum(len(batch.inputs) for batch in data.held_out_batches(700, 2000)) == 2000


def test_bad_requests_are_refused():
    data = PlantedData(PlantedConfig(held_out=10))
    with pytest.raises(DataError, match="row 10 does not exist; wanted 0 to 9"):
        data.held_out_rows(torch.tensor([3, 10]))
    with pytest.raises(ConfigError, match="step is -1, wanted 0 or more"):
        data.train_batch(-1, 4)
    with pytest.raises(ConfigError, match="batch size is 0"):
        data.train_batch(0, 0)
    with pytest.raises(DataError, match="no row is held out"):
        PlantedData(PlantedConfig(held_out=0)).held_out_batches(4)
    for values, message in (
        ({"n_features": 2}, r"firing.active is 3.0, but there are 2 features"),
        ({"coefficients": {"kind": "uniform", "low": 2.0}}, "high is 1.5, wanted more than low = 2.0"),
        ({"firing": {"kind": "independent", "active": 0.0}}, r"firing.independent.active"),
        ({"width": 0}, "width"),
        ({"featurs": 3}, "unknown key 'featurs'"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(PlantedConfig, values)


def test_a_fit_on_planted_rows_recovers_their_features(tmp_path):
    data = PlantedData(PlantedConfig(n_features=12, width=16, firing={"kind": "independent", "active": 1.5}))
    dictionary = {"site": "0", "architecture": {"kind": "topk", "n_latents": 12, "k": 2}, "lr": 1e-2}
    config = build(FitConfig, {"dictionaries": {"a": dictionary}, "tokens": 200 * 64, "batch_rows": 64, "dead_after": 1000})
    run = fit(config, tmp_path / "run", host=Host(nn.Sequential(nn.Identity()), name="vectors"), data=data)
    found, header = load_dictionary(run / "dictionaries" / "a")
    start = make_dictionary(found.config, 16, torch.Generator().manual_seed(0), data.train_batch(0, 16).inputs)
    assert match(found.atoms(), data.atoms).mcs > 0.75 > 0.55 > match(start.atoms(), data.atoms).mcs
    assert header["provenance"]["data_sha256"] == data.digest()

"""End-to-end dictionaries; `digits` holds trained ones of the digits toy, which the end-to-end sheet is tested on at length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.claims.digits_toy import NoisyDigits, ResidualMLP

from pellucid.dictionaries import ReluConfig
from pellucid.hosts import Host
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.divergence import Teacher, mean_kl
from pellucid.training import DictionaryConfig, EndToEnd, EndToEndDownstream, FitConfig, Local, fit

OBJECTIVES = {"local": Local(), "e2e": EndToEnd(), "e2e+ds": EndToEndDownstream()}


def points(rows, objective, by, of):
    """(by, of) of an objective's dictionaries, sorted; `of` is a function of a row."""
    return sorted((row[by], of(row)) for row in rows if row["objective"] == objective)


def at_equal(rows, one, other, by, of):
    """Values of two objectives at ten places of what both cover of `by`, interpolated between dictionaries."""
    curves = [points(rows, objective, by, of) for objective in (one, other)]
    low, high = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    assert low < high, f"no {by} is covered by both: {curves}"
    places = np.linspace(low, high, 10)
    return [np.interp(places, [x for x, _ in curve], [y for _, y in curve]) for curve in curves]


def downstream(row):
    return float(np.mean(list(row["downstream_mse"].values())))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_dictionaries_20_1_the_host_gets_no_update(tmp_path, name):
    torch.manual_seed(0)
    module = ResidualMLP()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    one = DictionaryConfig(site="layers.1", architecture=ReluConfig(n_latents=64), objective=OBJECTIVES[name], lr=1e-2)
    config = FitConfig(dictionaries={"a": one}, tokens=3 * 32, batch_rows=32)
    run = fit(config, tmp_path / "run", host=Host(module, name="digits"), data=NoisyDigits())
    assert (run / "dictionaries" / "a" / "weights.safetensors").exists()
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_dictionaries_20_2_less_ce_increase_and_more_error_at_the_site_at_equal_l0(digits):
    e2e, local = at_equal(digits, "e2e", "local", "l0", lambda row: row["ce_increase"])
    assert bool((e2e < local).all())
    e2e, local = at_equal(digits, "e2e", "local", "l0", lambda row: row["mse"])
    assert bool((e2e > local).all())


def test_dictionaries_20_3_much_less_downstream_error_at_similar_kl(digits):
    both, e2e = at_equal(digits, "e2e+ds", "e2e", "kl", downstream)
    assert bool((both < 0.5 * e2e).all())


def test_dictionaries_20_4_the_identity_has_no_kl():
    torch.manual_seed(0)
    host, inputs = Host(ResidualMLP(), name="digits"), NoisyDigits().train_batch(0, 64).inputs
    site = host.site("layers.1")
    host.prepare(inputs, [site])
    shared = SharedPass(host, inputs, None, splice=[site], head=host.find_head(inputs))
    teacher = Teacher(shared.readout, shared.features)
    same, other = (shared.splice(site, replace).features for replace in (torch.clone, lambda rows: 0.5 * rows))
    assert abs(float(mean_kl(teacher, same))) < 1e-10
    assert float(mean_kl(teacher, other)) > 1e-5

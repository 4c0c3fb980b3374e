"""Gated dictionaries; `planted` holds trained ones of setup S."""

from __future__ import annotations

import pytest
import torch

from pellucid.data import PlantedData
from pellucid.dictionaries import GatedConfig, GatedDictionary, make_dictionary

D, M = 32, 64
NONE_DEAD = torch.zeros(M, dtype=torch.bool)


def gated(**values) -> GatedDictionary:
    dictionary = make_dictionary(GatedConfig(n_latents=M, **values), D, torch.Generator().manual_seed(0), rows(0))
    assert isinstance(dictionary, GatedDictionary)
    return dictionary


def rows(step: int) -> torch.Tensor:
    return PlantedData().train_batch(step, 128).inputs


def test_dictionaries_02_1_gates_do_not_shrink(planted):
    assert planted["gated 0.3"]["gamma"] == pytest.approx(1, abs=0.01)
    assert planted["relu 0.3"]["gamma"] == pytest.approx(0.867, abs=0.01)


def test_dictionaries_02_1_lambda_must_be_raised_for_the_same_l0(planted):
    assert planted["gated 0.3"]["l0"] == pytest.approx(13.6, rel=0.15)
    assert planted["gated 0.3"]["l0"] > 1.5 * planted["relu 0.3"]["l0"]


def test_dictionaries_02_2_without_its_own_error_a_gate_hears_of_l1_alone():
    x, dictionary = rows(1), gated(l1=0.3, gate_coefficient=0.0)
    forward = dictionary(x)
    assert set(dictionary.penalty(forward, x, NONE_DEAD)) == {"sparsity"}
    (forward.reconstruction - x).square().mean().backward()
    assert dictionary.encoder_bias.grad is None or not dictionary.encoder_bias.grad.any()
    with_term = gated(l1=0.0)
    with_term.penalty(with_term(x), x, NONE_DEAD)["gate"].backward()
    assert bool(with_term.encoder_bias.grad.any())


def test_dictionaries_02_2_without_its_own_error_every_gate_closes():
    """A gate that is shut hears nothing, so they close ever more slowly: none of a thousand is open after 200 steps."""
    open_share = {}
    for coefficient in (0.0, 1.0):
        dictionary = gated(l1=0.3, gate_coefficient=coefficient)
        optimizer = torch.optim.Adam(dictionary.parameters(), lr=3e-2)
        for step in range(200):
            x = rows(step)
            forward = dictionary(x)
            loss = (forward.reconstruction - x).square().mean() + sum(dictionary.penalty(forward, x, NONE_DEAD).values())
            optimizer.zero_grad()
            loss.backward()
            dictionary.before_step()
            optimizer.step()
            dictionary.after_step()
        open_share[coefficient] = float((dictionary.preactivations(rows(1000)) > 0).double().mean())
        assert coefficient > 0 or bool((dictionary.encoder_bias < 0).all())
    assert open_share[0.0] < 0.001 and open_share[1.0] > 0.1


def test_dictionaries_02_3_the_gates_error_does_not_reach_the_decoder():
    x, dictionary = rows(1), gated()
    dictionary.penalty(dictionary(x), x, NONE_DEAD)["gate"].backward()
    assert dictionary.decoder.grad is None or not dictionary.decoder.grad.any()
    assert bool(dictionary.encoder.grad.any())

from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import NONE_DEAD, D, M, N, check_slopes, moved, sample

from pellucid.dictionaries import GatedConfig, GatedPAnnealConfig, PAnnealConfig, make_dictionary
from pellucid.dictionaries.annealed import TINY
from pellucid.kernels.forms import get_form


def train_through(dictionary, x, steps=60):
    """Go through a training's schedule without moving parameters; return p, and the penalty before and after each change."""
    dictionary.requires_grad_(False)
    powers, jumps = [], []
    for number in range(steps):
        before = float(dictionary.penalty(dictionary(x), x, NONE_DEAD)["sparsity"])
        was = dictionary.annealed.power()
        dictionary.begin_step(number / steps)
        powers.append(dictionary.annealed.power())
        if powers[-1] != was:
            jumps.append((before, float(dictionary.penalty(dictionary(x), x, NONE_DEAD)["sparsity"])))
    return powers, jumps


@pytest.mark.parametrize("updates", [0, 3, 10])
def test_penalty_equals_a_naive_loop_at_every_power(updates):
    dictionary, x = moved(PAnnealConfig(n_latents=M, l1=0.7)).requires_grad_(False), sample()
    dictionary.annealed.updates.fill_(updates)
    p = 1 - 0.8 * updates / 10
    codes, wanted = dictionary.encode(x), 0.0
    for t in range(N):
        for i in range(M):
            u = sum(float(dictionary.encoder[i, j] * (x[t, j] - dictionary.decoder_bias[j])) for j in range(D))
            z = max(u + float(dictionary.encoder_bias[i]), 0.0)
            assert float(codes[t, i]) == pytest.approx(z, abs=1e-12)
            wanted += (z + TINY) ** p if z > 0 else 0.0
    assert dictionary.annealed.power() == pytest.approx(p)
    assert float(dictionary.penalty(dictionary(x), x, NONE_DEAD)["sparsity"]) == pytest.approx(0.7 / D * wanted / N)


@pytest.mark.parametrize("updates", [0, 10])
def test_gradients_equal_finite_differences(updates):
    dictionary = moved(PAnnealConfig(n_latents=M))
    dictionary.annealed.updates.fill_(updates)
    check_slopes(dictionary.eval(), sample(), "encoder", "encoder_bias", "decoder", "decoder_bias", step=1e-8)


def test_p_falls_in_even_steps_from_its_start_to_its_end():
    dictionary = moved(PAnnealConfig(n_latents=M, anneal_start=0.5, anneal_updates=5, p_end=0.5))
    powers, _ = train_through(dictionary, sample(), steps=60)
    assert powers[:30] == [1.0] * 30
    assert sorted(set(powers), reverse=True) == pytest.approx([1, 0.9, 0.8, 0.7, 0.6, 0.5])
    assert powers == sorted(powers, reverse=True)


@pytest.mark.parametrize("config", [PAnnealConfig(n_latents=M), GatedPAnnealConfig(n_latents=M)])
def test_the_penalty_does_not_jump(config):
    _, jumps = train_through(moved(config), sample())
    assert len(jumps) == 10
    for before, after in jumps:
        assert after == pytest.approx(before, rel=1e-6)  # the batches compared are all the same here


def test_without_annealing_the_gated_form_is_the_gated_dictionary():
    annealed, x = moved(GatedPAnnealConfig(n_latents=M, l1=0.7)).requires_grad_(False), sample()
    plain = make_dictionary(GatedConfig(n_latents=M, l1=0.7), D, torch.Generator(), x.float()).double().requires_grad_(False)
    plain.load_state_dict({k: v for k, v in annealed.state_dict().items() if not k.startswith("annealed.")})
    left, right = (dictionary.penalty(dictionary(x), x, NONE_DEAD) for dictionary in (annealed, plain))
    assert float(left["sparsity"]) == pytest.approx(float(right["sparsity"]), rel=1e-4)  # TINY apart
    assert torch.equal(left["gate"], right["gate"])


def test_codes_of_zero_have_no_slope_and_no_penalty():
    dictionary, x = moved(PAnnealConfig(n_latents=M)), sample()
    dictionary.annealed.updates.fill_(10)
    with torch.no_grad():
        dictionary.encoder_bias.fill_(-100)
    loss = dictionary.penalty(dictionary(x), x, NONE_DEAD)["sparsity"]
    loss.backward()
    assert float(loss.detach()) == 0 and float(dictionary.encoder.grad.abs().max()) == 0
    dictionary.begin_step(0.99)  # nothing to compare: lambda stays finite
    assert bool(dictionary.annealed.factor.isfinite())


@pytest.mark.parametrize("name", ["stock", "numba"])
def test_sparse_kernels_give_the_same_penalty(name):
    config, found = PAnnealConfig(n_latents=96), []
    for form in (None, get_form(name)):
        dictionary = make_dictionary(config, 8, torch.Generator().manual_seed(0), sample(64, 8).float())
        with torch.no_grad():
            dictionary.encoder_bias.fill_(-2.2)  # few active latents
        dictionary.form, x = form, sample(64, 8).float()
        forward = dictionary(x)
        assert (forward.entries is None) == (form is None)
        found.append(float(dictionary.penalty(forward, x, torch.zeros(96, dtype=torch.bool))["sparsity"].detach()))
    assert found[0] == pytest.approx(found[1], rel=1e-5) and found[0] > 0

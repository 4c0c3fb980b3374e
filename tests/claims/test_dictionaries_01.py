"""ReLU dictionaries with an L1 penalty; `planted` holds trained ones of setup S."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.dictionaries import ReluConfig, make_dictionary
from pellucid.training import Evidence, Local

D = 32


def test_dictionaries_01_1_setup_s_at_lambda_0_3(planted):
    found = planted["relu 0.3"]
    wanted = {"mcs": 0.97, "gamma": 0.87, "ratio": 0.69}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=0.03)
    assert found["frr"] == pytest.approx(0.97, abs=0.03 + 1e-12)  # 1 - 0.97 is 0.03 but for its last bit
    assert found["fvu"] == pytest.approx(0.11, rel=0.15) and found["l0"] == pytest.approx(6, rel=0.15)


def test_dictionaries_01_1_a_smaller_lambda_leaves_many_latents_active_and_recovers_less(planted):
    found = planted["relu 0.1"]
    assert found["l0"] == pytest.approx(20, rel=0.15)
    assert found["mcs"] < planted["relu 0.3"]["mcs"] - 0.1


@pytest.mark.xfail(reason="the sheet states a mean matched cosine of about 0.75 at lambda 0.1; 0.854 was measured here")
def test_dictionaries_01_1_mcs_at_lambda_0_1(planted):
    assert planted["relu 0.1"]["mcs"] == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("weight", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("strength", [0.04, 0.3, 1.0, 1.5])
def test_dictionaries_01_2_the_best_code_of_one_atom_is_shrunk_by_half_lambda(weight, strength):
    dictionary = make_dictionary(ReluConfig(n_latents=1, l1=weight), D, torch.Generator().manual_seed(0)).double()
    atom = dictionary.atoms().detach()
    with torch.no_grad():
        dictionary.encoder.copy_(atom)
    x = strength * atom
    for _ in range(80):  # descend in the only thing that may move, the code of this token
        forward = dictionary(x)
        terms = Local().terms(Evidence(x, forward.reconstruction))
        terms |= dictionary.penalty(forward, x, torch.zeros(1, dtype=torch.bool))
        (slope,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), dictionary.encoder_bias)
        with torch.no_grad():
            dictionary.encoder_bias -= D / 4 * slope
    code = float(dictionary(x).codes.detach())
    wanted = max(0.0, strength - weight / 2)
    assert code == pytest.approx(wanted, abs=1e-9)


def test_dictionaries_01_3_the_april_form_recovers_as_much(planted):
    assert planted["april 0.3"]["mcs"] == pytest.approx(planted["relu 0.3"]["mcs"], abs=0.02)


def test_dictionaries_01_3_the_april_form_does_not_see_how_code_and_atom_share_a_length():
    x = torch.randn(40, D, generator=torch.Generator().manual_seed(1)).double()
    none_dead = torch.zeros(64, dtype=torch.bool)

    def measured(scales, norm):
        config = ReluConfig(n_latents=64, l1=0.3, atom_norm=norm)
        dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0)).double()
        with torch.no_grad():
            dictionary.encoder_bias.fill_(0.1)
            for parameter in (dictionary.encoder, dictionary.encoder_bias):
                parameter.mul_(scales.view(-1, *[1] * (parameter.ndim - 1)))
            dictionary.decoder.div_(scales.unsqueeze(1))
        forward = dictionary(x)
        return forward.reconstruction.detach(), dictionary.penalty(forward, x, none_dead)["sparsity"].detach()

    scales = torch.logspace(-2, 2, 64, dtype=torch.float64)
    same = torch.ones(64, dtype=torch.float64)
    assert_close(measured(scales, "free"), measured(same, "free"))
    assert not torch.allclose(measured(scales, "unit")[1], measured(same, "unit")[1])

"""JumpReLU dictionaries; `planted` holds trained ones of setup S."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.data import PlantedData
from pellucid.dictionaries import JumpReluConfig, JumpReluDictionary, make_dictionary

ROWS = PlantedData().train_batch(0, 512).inputs


def jumprelu(x: torch.Tensor, **values) -> JumpReluDictionary:
    dictionary = make_dictionary(JumpReluConfig(n_latents=64, **values), 32, torch.Generator().manual_seed(0), x)
    assert isinstance(dictionary, JumpReluDictionary)
    return dictionary


def test_dictionaries_05_1_the_slope_of_a_threshold_counts_the_entries_near_it():
    dictionary = jumprelu(ROWS, threshold_init=0.1, bandwidth=0.05)
    forward = dictionary(ROWS)
    forward.codes.sum().backward()
    theta, eps = dictionary.threshold.detach(), dictionary.bandwidth
    count = ((forward.pre.detach() - theta).abs() < eps / 2).sum(dim=0)
    assert int(count.sum()) > 100
    assert_close(dictionary.log_threshold.grad / theta, -(theta / eps) * count, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["jumprelu 0.05", "jumprelu 0.2"])
def test_dictionaries_05_2_no_shrinkage(planted, name):
    assert planted[name]["gamma"] == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("factor", [0.01, 300.0])
def test_dictionaries_05_3_the_window_scales_with_the_data(factor):
    plain, scaled = jumprelu(ROWS), jumprelu(factor * ROWS)
    assert_close(scaled.bandwidth, factor * plain.bandwidth)
    assert 0.025 < float(plain.bandwidth) < 0.1, "about 0.05 in setup S"
    slopes = []
    for dictionary, x in ((plain, ROWS), (scaled, factor * ROWS)):
        forward = dictionary(x)
        loss = (forward.reconstruction - x).square().mean()
        loss = loss + dictionary.penalty(forward, x, torch.zeros(64, dtype=torch.bool))["sparsity"]
        loss.backward()
        slopes.append(dictionary.log_threshold.grad)
    assert_close(slopes[1], factor**2 * slopes[0], rtol=1e-3, atol=1e-6 * factor**2)


@pytest.mark.parametrize(("name", "l0"), [("jumprelu 0.05", 3.8), ("jumprelu 0.2", 2.75)])
def test_dictionaries_05_3_setup_s(planted, name, l0):
    assert planted[name]["l0"] == pytest.approx(l0, rel=0.15)


def test_dictionaries_05_3_recovery_at_lambda_0_05(planted):
    assert planted["jumprelu 0.05"]["mcs"] == pytest.approx(0.92, abs=0.03)


@pytest.mark.xfail(reason="the sheet states a mean matched cosine of 0.88 at lambda 0.2; 0.913 was measured here")
def test_dictionaries_05_3_recovery_at_lambda_0_2(planted):
    assert planted["jumprelu 0.2"]["mcs"] == pytest.approx(0.88, abs=0.03)


@pytest.mark.xfail(reason="the sheet states 0.14 dead latents at lambda 0.2; 0.06 was measured here")
def test_dictionaries_05_3_dead_latents_at_lambda_0_2(planted):
    assert planted["jumprelu 0.2"]["dead"] == pytest.approx(0.14, abs=0.03)

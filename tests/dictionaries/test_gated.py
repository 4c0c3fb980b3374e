from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, SiteError
from pellucid.dictionaries import GatedConfig, GatedDictionary, make_dictionary

D, M, N = 6, 20, 33
NONE_DEAD = torch.zeros(M, dtype=torch.bool)


def sample(n: int = N) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(1)) + 0.5


def gated(**values) -> GatedDictionary:
    dictionary = make_dictionary(GatedConfig(n_latents=M, **values), D, torch.Generator().manual_seed(0), sample())
    assert isinstance(dictionary, GatedDictionary)
    with torch.no_grad():  # away from the start, at which both paths are equal
        noise = torch.Generator().manual_seed(2)
        for parameter in (dictionary.encoder_bias, dictionary.magnitude_bias, dictionary.log_gain):
            parameter.uniform_(-0.4, 0.4, generator=noise)
        dictionary.encoder += 0.1 * torch.randn(dictionary.encoder.shape, generator=noise)
    return dictionary


def test_forward_and_penalty_equal_naive_loop():
    dictionary, x = gated(l1=3.0, gate_coefficient=0.5), sample()
    forward = dictionary(x)
    p = {name: value.detach().double() for name, value in dictionary.state_dict().items()}
    gates = error = 0.0
    for t in range(N):
        reconstruction, by_gates = p["decoder_bias"].clone(), p["decoder_bias"].clone()
        for i in range(M):
            u = sum(float(p["encoder"][i, j] * (x[t, j].double() - p["decoder_bias"][j])) for j in range(D))
            logit = u + float(p["encoder_bias"][i])
            magnitude = max(math.exp(p["log_gain"][i]) * u + float(p["magnitude_bias"][i]), 0.0)
            code = magnitude if logit > 0 else 0.0
            reconstruction += code * p["decoder"][i]
            by_gates += max(logit, 0.0) * p["decoder"][i]
            gates += max(logit, 0.0)
            assert forward.pre[t, i].item() == pytest.approx(logit, abs=1e-5)
            assert forward.codes[t, i].item() == pytest.approx(code, abs=1e-5)
        error += float((by_gates - x[t].double()).square().sum())
        assert_close(forward.reconstruction[t].double(), reconstruction, rtol=0, atol=1e-5)
    penalty = dictionary.penalty(forward, x, NONE_DEAD)
    assert {name: value.item() for name, value in penalty.items()} == pytest.approx(
        {"sparsity": 3.0 / D * gates / N, "gate": 0.5 * error / N / D}, rel=1e-5
    )
    assert torch.equal(dictionary.encode(x), forward.codes)


def test_gradients_by_finite_differences():
    """Of the reconstruction for all but the gates, and of the penalties for what their gradient reaches."""
    dictionary, x = gated(l1=0.5).double(), sample().double()
    frozen = {name: value.clone() for name, value in dictionary.state_dict().items()}
    target = torch.randn(N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def reconstruction() -> torch.Tensor:
        return (dictionary(x).reconstruction - target).square().mean()

    def penalty() -> torch.Tensor:
        by_gates = dictionary.preactivations(x).relu() @ frozen["decoder"] + frozen["decoder_bias"]
        return (by_gates - x).square().mean() + 0.5 / D * dictionary.preactivations(x).relu().sum(dim=-1).mean()

    names = ("encoder", "decoder", "decoder_bias", "log_gain", "magnitude_bias")
    slopes = torch.autograd.grad(reconstruction(), [getattr(dictionary, name) for name in names])
    _check(dictionary, dict(zip(names, slopes, strict=True)), reconstruction)
    names = ("encoder", "encoder_bias", "decoder_bias")
    found = sum(dictionary.penalty(dictionary(x), x, NONE_DEAD).values())
    slopes = torch.autograd.grad(found, [getattr(dictionary, name) for name in names])
    _check(dictionary, dict(zip(names, slopes, strict=True)), penalty)


def _check(dictionary, slopes, loss, move=1e-7):
    for name, slope in slopes.items():
        flat = getattr(dictionary, name).detach().view(-1)
        for i in range(0, flat.numel(), 7):
            at, values = float(flat[i]), []
            for moved in (at + move, at - move):
                flat[i] = moved
                values.append(float(loss().detach()))
            flat[i] = at
            assert float(slope.view(-1)[i]) == pytest.approx((values[0] - values[1]) / (2 * move), abs=1e-6), f"{name}[{i}]"


@pytest.mark.parametrize("x", [sample(1), torch.ones(5, D), torch.zeros(5, D)], ids=["one row", "constant", "zero"])
def test_one_row_and_constant_activations_train(x):
    dictionary = make_dictionary(GatedConfig(n_latents=M), D, torch.Generator().manual_seed(0), x)
    forward = dictionary(x)
    terms = dictionary.penalty(forward, x, NONE_DEAD)
    ((forward.reconstruction - x).square().mean() + sum(terms.values())).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in dictionary.parameters())
    assert dictionary(x[:0]).reconstruction.shape == (0, D)


def test_does_not_depend_on_batch_order_or_size():
    dictionary, x = gated(), sample()
    whole = dictionary(x).codes
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    assert_close(dictionary(x[order]).codes, whole[order], rtol=0, atol=1e-6)
    assert_close(torch.cat([dictionary(piece).codes for piece in x.split(7)]), whole, rtol=0, atol=1e-6)


def test_dtypes():
    assert gated()(sample().half()).reconstruction.dtype == torch.float32
    with pytest.raises(SiteError, match="would round"):
        gated()(sample().double())


@pytest.mark.parametrize("values", [{"l1": -1.0}, {"gate_coefficient": -0.1}, {"l1": float("inf")}])
def test_bad_config_is_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        build(GatedConfig, values)

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, NumericsError, SiteError
from pellucid.dictionaries import JumpReluConfig, JumpReluDictionary, make_dictionary
from pellucid.dictionaries.jumprelu import jump_relu, step

D, M, N = 6, 20, 33
NONE_DEAD = torch.zeros(M, dtype=torch.bool)


def sample(n: int = N, d: int = D) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1)) + 0.5


def jumprelu(**values) -> JumpReluDictionary:
    config = JumpReluConfig(**{"n_latents": M, "threshold_init": 0.1, "bandwidth": 0.2, **values})
    dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0), sample())
    assert isinstance(dictionary, JumpReluDictionary)
    with torch.no_grad():  # away from the symmetric start
        noise = torch.Generator().manual_seed(2)
        dictionary.encoder += 0.1 * torch.randn(dictionary.encoder.shape, generator=noise)
        dictionary.encoder_bias.uniform_(-0.2, 0.2, generator=noise)
        dictionary.log_threshold += 0.5 * torch.randn(M, generator=noise)
    return dictionary


def naive(dictionary: JumpReluDictionary, x: torch.Tensor):
    """Pre-activations, codes and reconstruction in float64, entry by entry."""
    p = {name: value.detach().double() for name, value in dictionary.state_dict().items()}
    pre, codes = torch.zeros(2, len(x), M, dtype=torch.float64)
    reconstruction = p["decoder_bias"].repeat(len(x), 1)
    for t in range(len(x)):
        for i in range(M):
            pre[t, i] = sum(float(p["encoder"][i, j] * (x[t, j].double() - p["decoder_bias"][j])) for j in range(D))
            pre[t, i] += p["encoder_bias"][i]
            codes[t, i] = pre[t, i] if pre[t, i] > math.exp(p["log_threshold"][i]) else 0.0
            reconstruction[t] += codes[t, i] * p["decoder"][i]
    return pre, codes, reconstruction


def test_forward_equals_naive_loop():
    dictionary, x = jumprelu(), sample()
    pre, codes, reconstruction = naive(dictionary, x)
    forward = dictionary(x)
    assert 0 < int((codes > 0).sum()) < int((pre > 0).sum()), "thresholds matter here"
    assert_close(forward.pre.double(), pre, rtol=0, atol=1e-5)
    assert_close(forward.codes.double(), codes, rtol=0, atol=1e-5)
    assert_close(forward.reconstruction.double(), reconstruction, rtol=0, atol=1e-5)
    assert torch.equal(dictionary.encode(x), forward.codes)
    assert_close(dictionary.decode(forward.codes), forward.reconstruction)


@pytest.mark.parametrize(
    ("values", "amount"),
    [
        ({}, lambda l0: (l0 / D**0.5 - 1) ** 2),
        ({"l0_coefficient": 0.7}, lambda l0: 0.7 * l0),
        ({"target_l0": 2.0}, lambda l0: (l0 / 2 - 1) ** 2),
        ({"target_l0": 5.0, "l0_coefficient": 0.3}, lambda l0: 0.3 * (l0 / 5 - 1) ** 2),
    ],
)
def test_penalty_equals_naive_loop(values, amount):
    dictionary, x = jumprelu(**values), sample()
    l0 = float((naive(dictionary, x)[1] > 0).sum()) / N
    energy = float((x - dictionary.decoder_bias).detach().square().sum(dim=1).double().mean())
    found = dictionary.penalty(dictionary(x), x, NONE_DEAD)
    assert list(found) == ["sparsity"]
    assert found["sparsity"].item() == pytest.approx(amount(l0) * energy / D, rel=1e-5)


def naive_slopes(dictionary: JumpReluDictionary, pre: torch.Tensor, weight: torch.Tensor, of_step: bool):
    """d / d threshold of sum(weight * codes), or of sum(weight * step), entry by entry by the paper's rule."""
    slopes = torch.zeros(M, dtype=torch.float64)
    eps = 0.2 * float(dictionary.input_scale)
    inside = 0
    for t in range(N):
        for i in range(M):
            theta = float(dictionary.threshold[i].detach())
            if abs(float(pre[t, i]) - theta) / eps < 0.5:
                slopes[i] -= float(weight[t, i]) * (1 if of_step else theta) / eps
                inside += 1
    assert 10 < inside < N * M / 2
    return slopes


@pytest.mark.parametrize("of_step", [True, False], ids=["step", "codes"])
def test_thresholds_follow_the_pseudo_gradient(of_step):
    dictionary = jumprelu()
    pre = dictionary.preactivations(sample()).detach().requires_grad_()
    theta = dictionary.threshold.detach().requires_grad_()
    weight = torch.randn(N, M, generator=torch.Generator().manual_seed(4))
    out = (step if of_step else jump_relu)(pre, theta, dictionary.bandwidth)
    (weight * out).sum().backward()
    assert_close(theta.grad.double(), naive_slopes(dictionary, pre.detach(), weight, of_step), rtol=1e-4, atol=1e-5)
    if of_step:
        assert pre.grad is None or not pre.grad.any(), "the step passes nothing to pre"
    else:
        assert torch.equal(pre.grad, torch.where(pre > theta, weight, 0.0))


def test_the_penalty_trains_thresholds_alone_through_their_logarithm():
    dictionary, x = jumprelu(l0_coefficient=1.0), sample()
    forward = dictionary(x)
    dictionary.penalty(forward, x, NONE_DEAD)["sparsity"].backward()
    others = [p.grad for name, p in dictionary.named_parameters() if name != "log_threshold"]
    assert all(grad is None or not grad.any() for grad in others)
    slopes = naive_slopes(dictionary, forward.pre.detach(), torch.ones(N, M), True)
    wanted = slopes * dictionary.threshold.detach() * float(dictionary.input_scale) ** 2 / D / N
    assert_close(dictionary.log_threshold.grad.double(), wanted, rtol=1e-4, atol=1e-6)


def test_gradients_of_all_but_the_thresholds_by_finite_differences():
    dictionary = jumprelu().double()
    x = sample().double()
    target = torch.randn(N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def loss() -> torch.Tensor:
        return (dictionary(x).reconstruction - target).square().mean()

    parameters = {name: p for name, p in dictionary.named_parameters() if name != "log_threshold"}
    grads = torch.autograd.grad(loss(), list(parameters.values()))
    move = 1e-7
    for (name, parameter), grad in zip(parameters.items(), grads, strict=True):
        flat = parameter.detach().view(-1)
        for i in range(0, flat.numel(), 7):
            at, values = float(flat[i]), []
            for moved in (at + move, at - move):
                flat[i] = moved
                values.append(float(loss().detach()))
            flat[i] = at
            assert float(grad.view(-1)[i]) == pytest.approx((values[0] - values[1]) / (2 * move), abs=1e-6), f"{name}[{i}]"


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_the_start_and_the_loss_scale_with_the_activations(factor):
    """Codes, thresholds and window grow with the data; loss and penalty with its square."""
    x = sample()
    plain = make_dictionary(JumpReluConfig(n_latents=M), D, torch.Generator().manual_seed(0), x)
    scaled = make_dictionary(JumpReluConfig(n_latents=M), D, torch.Generator().manual_seed(0), factor * x)
    assert_close(scaled.threshold, factor * plain.threshold, rtol=1e-5, atol=0)
    assert_close(scaled.bandwidth, factor * plain.bandwidth, rtol=1e-5, atol=0)
    one, other = plain(x), scaled(factor * x)
    assert_close(other.codes, factor * one.codes, rtol=1e-4, atol=1e-5 * factor)
    penalties = [d.penalty(f, x, NONE_DEAD)["sparsity"].item() for d, f in ((plain, one), (scaled, other))]
    assert penalties[1] == pytest.approx(factor**2 * penalties[0], rel=1e-4)


def test_the_input_scale_is_measured_around_the_bias_or_given():
    x = sample() + 100
    dictionary = make_dictionary(JumpReluConfig(n_latents=M, bias_init="mean", threshold_init=0.01), D, sample=x)
    wanted = float((x - x.mean(dim=0)).square().sum(dim=1).mean().sqrt())
    assert dictionary.input_scale.item() == pytest.approx(wanted, rel=1e-4)
    assert_close(dictionary.threshold, torch.full((M,), 0.01 * wanted), rtol=1e-4, atol=0)
    given = make_dictionary(JumpReluConfig(n_latents=M, bias_init="zeros", input_scale=7.0), D)
    assert given.input_scale == 7


def test_a_scale_that_cannot_be_measured_is_refused():
    with pytest.raises(ConfigError, match=r"got none\. Pass sample=, or set input_scale"):
        make_dictionary(JumpReluConfig(n_latents=M, bias_init="zeros"), D)
    for x in (torch.ones(5, D), torch.zeros(5, D), sample(1)):
        with pytest.raises(NumericsError, match=r"input scale 0\.0: they are all equal .* set input_scale"):
            make_dictionary(JumpReluConfig(n_latents=M, bias_init="mean"), D, sample=x)


@pytest.mark.parametrize("x", [sample(1), torch.ones(5, D), torch.zeros(5, D)], ids=["one row", "constant", "zero"])
def test_one_row_and_constant_activations_train_where_the_scale_is_given(x):
    config = JumpReluConfig(n_latents=M, bias_init="zeros", input_scale=1.0, target_l0=3.0)
    dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0))
    forward = dictionary(x)
    ((forward.reconstruction - x).square().mean() + dictionary.penalty(forward, x, NONE_DEAD)["sparsity"]).backward()
    assert all(bool(p.grad.isfinite().all()) for p in dictionary.parameters())
    assert dictionary(x[:0]).reconstruction.shape == (0, D)


def test_does_not_depend_on_batch_order_size_or_mode():
    dictionary, x = jumprelu(), sample()
    whole = dictionary(x)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    assert_close(dictionary(x[order]).codes, whole.codes[order], rtol=0, atol=1e-6)
    assert_close(torch.cat([dictionary(piece).codes for piece in x.split(7)]), whole.codes, rtol=0, atol=1e-6)
    assert torch.equal(dictionary.eval()(x).codes, whole.codes)


def test_dtypes():
    dictionary = jumprelu()
    assert dictionary(sample().half()).reconstruction.dtype == torch.float32
    with pytest.raises(SiteError, match="would round"):
        dictionary(sample().double())
    with pytest.raises(SiteError, match="width 6, got width 5"):
        dictionary(sample(d=5))


@pytest.mark.parametrize("name", ["threshold_init", "bandwidth", "input_scale", "target_l0"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_not_positive_is_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        build(JumpReluConfig, {"n_latents": M, name: value})


def test_a_negative_coefficient_is_refused():
    with pytest.raises(ConfigError, match=r"'l0_coefficient': .* \(found -0\.1\)"):
        build(JumpReluConfig, {"l0_coefficient": -0.1})

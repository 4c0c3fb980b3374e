from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import D, N, moved, sample
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import LatentQuantizationConfig, TopKConfig, load_dictionary, make_dictionary, save_dictionary
from pellucid.training.learner import make_optimizer

SIZE = {"n_latents": 12, "n_values": 4, "hidden": (6,)}
DEAD = torch.zeros(12, dtype=torch.bool)


def qlae(**values):
    return moved(LatentQuantizationConfig(**{**SIZE, **values}))


@pytest.mark.parametrize("shared", [False, True])
def test_forward_equals_naive_loop(shared):
    made, x = qlae(shared=shared, quantization=0.3, commitment=0.2), sample()
    weights = {name: value.detach() for name, value in made.named_parameters()}
    forward = made(x)
    near = 0.0
    for t in range(N):
        hidden = (weights["encoder_net.0.weight"] @ x[t] + weights["encoder_net.0.bias"]).relu()
        scalars = weights["encoder_net.2.weight"] @ hidden + weights["encoder_net.2.bias"]
        chosen = torch.zeros(3, dtype=torch.float64)
        codes = torch.zeros(3, 4, dtype=torch.float64)
        for j in range(3):
            row = weights["values"][0 if shared else j]
            best = min(range(4), key=lambda v: abs(float(scalars[j] - row[v])))
            chosen[j], codes[j, best] = row[best], 1
            near += float((scalars[j] - row[best]) ** 2)
        inner = (weights["decoder_net.0.weight"] @ chosen + weights["decoder_net.0.bias"]).relu()
        out = weights["decoder_net.2.weight"] @ inner + weights["decoder_net.2.bias"]
        assert_close(forward.reconstruction[t].detach(), out, rtol=0, atol=1e-12)
        assert torch.equal(forward.codes[t], codes.flatten())
        assert_close(made.quantized(x)[t].detach(), chosen)
    terms = made.penalty(forward, x, DEAD)
    assert terms["quantization"].item() == pytest.approx(0.3 * near / (3 * N))
    assert terms["commitment"].item() == pytest.approx(0.2 * near / (3 * N))
    assert_close(made.decode(forward.codes), forward.reconstruction)
    assert torch.equal(made.preactivations(x).unflatten(1, (3, 4)).argmax(-1), forward.codes.unflatten(1, (3, 4)).argmax(-1))


def test_gradients_of_the_terms_equal_finite_differences():
    made, x, step = qlae(quantization=0.3, commitment=0.2), sample(), 1e-6
    reconstruction = made(x).reconstruction
    (reconstruction - x).square().mean().backward()
    assert made.values.grad is None, "values learn from their own term alone"
    straight = made.encoder_net[0].weight.grad.clone()
    made.zero_grad()
    scalars = made.scalars(x)
    held = (made.quantized(x) - scalars).detach()  # the straight-through path by hand
    (made.decoder_net(scalars + held) - x).square().mean().backward()
    assert_close(made.encoder_net[0].weight.grad, straight)
    for name, term, held_by in (
        ("values", "quantization", made.scalars),
        ("encoder_net.0.weight", "commitment", made.quantized),
    ):
        made.zero_grad()
        made.penalty(made(x), x, DEAD)[term].backward()
        parameter, fixed = made.get_parameter(name), held_by(x).detach()
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        before, found, ends = parameter.detach().clone(), float((parameter.grad * direction).sum()), []
        for sign in (1, -1):
            parameter.data.copy_(before + sign * step * direction)
            moving = made.quantized(x) if name == "values" else made.scalars(x)
            ends.append(float((moving.detach() - fixed).square().mean()) * getattr(made.config, term))
        parameter.data.copy_(before)
        assert found == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4), term


def test_rows_of_the_decoder_are_what_a_latent_does_alone():
    linear = qlae(hidden=())
    codes = linear.encode(sample())
    assert_close(codes @ linear.decoder + linear.decoder_bias, linear.decode(codes))
    made = qlae()
    alone = torch.zeros(1, 12, dtype=torch.float64)
    alone[0, 5] = 1
    assert_close(made.decode(alone)[0], made.decoder[5] + made.decoder_bias)
    x, step = torch.zeros(1, D, dtype=torch.float64), 1e-6
    x[0, 2] = step
    slope = (made.scalars(x) - made.scalars(torch.zeros_like(x)))[0] / step
    assert_close(made.encoder[::4, 2], slope.detach(), rtol=1e-4, atol=1e-6)
    assert_close(made.encoder_bias[::4], made.scalars(torch.zeros_like(x))[0])


def test_it_starts_evenly_and_decays_its_networks_only():
    made = make_dictionary(LatentQuantizationConfig(**SIZE), D, torch.Generator().manual_seed(0))
    assert_close(made.values[2], torch.linspace(-0.5, 0.5, 4))
    optimizer = make_optimizer(made, 0.5, (0.9, 0.999))
    before = {name: value.detach().clone() for name, value in made.named_parameters()}
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in made.named_parameters():
        assert_close(value.detach(), before[name] * (1 if name == "values" else 1 - 0.5 * 0.1))
    plain = make_dictionary(TopKConfig(n_latents=12, k=2), D, None, sample().float())
    assert type(make_optimizer(plain, 0.5, (0.9, 0.999))) is torch.optim.Adam


def test_the_file_holds_both_networks(tmp_path):
    made = qlae(shared=True).float()
    header = {"site": "s", "objective": {}, "tokens": 5, "host": {"name": "h", "weights_sha256": "a"}}
    save_dictionary(tmp_path / "d", made, header)
    loaded, _ = load_dictionary(tmp_path / "d")
    x = sample().float()
    assert torch.equal(loaded(x).reconstruction, made(x).reconstruction)


def test_refusals():
    with pytest.raises(ConfigError, match=r"n_latents = 25 .* cannot be made of n_values = 10"):
        build(LatentQuantizationConfig, {"n_latents": 25})
    with pytest.raises(ConfigError, match="wanted widths of 1 or more"):
        build(LatentQuantizationConfig, {"hidden": [0]})
    for values in ({"n_values": 1}, {"weight_decay": -0.1}, {"n_latents": 0}):
        with pytest.raises(ConfigError):
            build(LatentQuantizationConfig, values)

from __future__ import annotations

import pytest
import torch
from tests.dictionaries import naive
from torch.testing import assert_close

from pellucid.core.errors import ConfigError, SiteError
from pellucid.dictionaries import Dictionary, ReluConfig, make_dictionary

D, M, N = 6, 20, 33
NONE_DEAD = torch.zeros(M, dtype=torch.bool)


def sample(n: int = N, d: int = D) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1)) + 0.5


def relu(**values) -> Dictionary:
    config = ReluConfig(n_latents=M, **values)
    dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0), sample())
    with torch.no_grad():
        dictionary.encoder_bias.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(2))
    return dictionary


def loss(dictionary: Dictionary, x: torch.Tensor) -> torch.Tensor:
    forward = dictionary(x)
    return (forward.reconstruction - x).square().mean() + sum(dictionary.penalty(forward, x, NONE_DEAD).values())


def test_forward_equals_naive_loop():
    dictionary, x = relu(l1=3.0), sample()
    forward = dictionary(x)
    encoder, bias, decoder = (p.detach() for p in (dictionary.encoder, dictionary.encoder_bias, dictionary.decoder))
    total = 0.0
    for t in range(N):
        reconstruction = dictionary.decoder_bias.detach().clone()
        for i in range(M):
            pre = sum(float(encoder[i, j] * x[t, j]) for j in range(D)) + float(bias[i])
            code = max(pre, 0.0)
            total += code
            reconstruction += code * decoder[i] / decoder[i].norm()
            assert forward.pre[t, i].item() == pytest.approx(pre, abs=1e-5)
            assert forward.codes[t, i].item() == pytest.approx(code, abs=1e-5)
        assert_close(forward.reconstruction[t], reconstruction, rtol=0, atol=1e-5)
    penalty = dictionary.penalty(forward, x, NONE_DEAD)
    assert list(penalty) == ["sparsity"]
    assert penalty["sparsity"].item() == pytest.approx(3.0 / D * total / N, rel=1e-5)


@pytest.mark.parametrize("norm", ["unit", "free"])
def test_gradients_equal_finite_differences(norm):
    dictionary = naive.moved(ReluConfig(n_latents=naive.M, l1=3.0, atom_norm=norm))
    naive.check_slopes(dictionary, naive.sample(), "encoder", "encoder_bias", "decoder", "decoder_bias")


def test_free_atoms_equal_naive_loop():
    dictionary, x = relu(l1=3.0, atom_norm="free"), sample()
    with torch.no_grad():
        dictionary.decoder.mul_(torch.linspace(0.2, 3, M).unsqueeze(1))
    forward = dictionary(x)
    total = 0.0
    for t in range(N):
        reconstruction = dictionary.decoder_bias.detach().clone()
        for i in range(M):
            code, atom = forward.codes[t, i].detach(), dictionary.decoder[i].detach()
            reconstruction += code * atom
            total += float(code * atom.norm())
        assert_close(forward.reconstruction[t], reconstruction, rtol=0, atol=1e-5)
    assert dictionary.penalty(forward, x, NONE_DEAD)["sparsity"].item() == pytest.approx(3.0 / D * total / N, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0, 1e4])
def test_stored_decoder_scale_changes_nothing(scale):
    plain, scaled, x = relu(), relu(), sample()
    with torch.no_grad():
        scaled.decoder.mul_(scale)
    assert_close(scaled.atoms().norm(dim=1), torch.ones(M), rtol=0, atol=1e-6)
    assert_close(scaled(x).reconstruction, plain(x).reconstruction, rtol=0, atol=1e-6)
    assert_close(loss(scaled, x), loss(plain, x), rtol=1e-6, atol=0)


def test_gradient_flows_through_the_normalisation():
    dictionary, x = relu(), sample()
    loss(dictionary, x).backward()
    grad = dictionary.decoder.grad
    assert grad.abs().max() > 1e-3
    along = (grad * dictionary.decoder).sum(dim=1)  # the loss does not depend on row lengths
    assert_close(along, torch.zeros(M), rtol=0, atol=1e-6)


def test_halving_width_doubles_the_sparsity_weight():
    penalties = []
    for d in (4, 8):
        dictionary = make_dictionary(ReluConfig(n_latents=M, l1=2.0), d, torch.Generator().manual_seed(0))
        x = torch.randn(N, d, generator=torch.Generator().manual_seed(1))
        forward = dictionary(x)
        forward.dense = torch.ones(N, M)  # the same codes at either width
        penalties.append(dictionary.penalty(forward, x, NONE_DEAD)["sparsity"].item())
    assert penalties[0] == pytest.approx(2 * penalties[1], rel=1e-6)
    assert penalties[0] == pytest.approx(2.0 / 4 * M, rel=1e-6)


def test_does_not_depend_on_batch_order_or_size():
    dictionary, x = relu(), sample()
    whole = dictionary(x)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    assert_close(dictionary(x[order]).reconstruction, whole.reconstruction[order], rtol=0, atol=1e-6)
    pieces = torch.cat([dictionary(piece).reconstruction for piece in x.split(7)])
    assert_close(pieces, whole.reconstruction, rtol=0, atol=1e-6)
    assert_close(loss(dictionary, x[order]), loss(dictionary, x), rtol=1e-6, atol=0)


def test_encode_and_decode_compose_to_forward():
    dictionary, x = relu(), sample()
    assert torch.equal(dictionary.encode(x), dictionary(x).codes)
    assert torch.equal(dictionary.decode(dictionary.encode(x)), dictionary(x).reconstruction)


def test_initial_values():
    dictionary = make_dictionary(ReluConfig(n_latents=M, bias_init="mean"), D, torch.Generator().manual_seed(0), sample())
    assert_close(dictionary.decoder_bias, sample().mean(dim=0))
    assert not dictionary.encoder_bias.any()
    assert_close(dictionary.decoder.T @ dictionary.decoder, torch.eye(D), rtol=0, atol=1e-5)
    assert dictionary.encoder.abs().max() <= D**-0.5
    assert dictionary.encoder.abs().max() > 0.9 * D**-0.5
    tied = make_dictionary(ReluConfig(n_latents=M, tied_init=True), D, torch.Generator().manual_seed(0))
    assert_close(tied.encoder, tied.atoms())
    assert not tied.decoder_bias.any()


def test_mean_bias_without_sample_is_refused():
    with pytest.raises(ConfigError, match="bias_init 'mean' needs a sample"):
        make_dictionary(ReluConfig(n_latents=M, bias_init="mean"), D)


def test_wrong_width_and_lossy_dtype_are_refused():
    dictionary = relu()
    with pytest.raises(SiteError, match="width 6, got width 7"):
        dictionary(torch.zeros(2, 7))
    with pytest.raises(SiteError, match=r"would round activations of torch.float64"):
        dictionary(torch.zeros(2, D, dtype=torch.float64))


def test_dtypes():
    dictionary, x = relu(), sample().bfloat16()
    assert dictionary(x).reconstruction.dtype == torch.float32  # widened, nothing lost
    assert_close(dictionary(x).reconstruction, dictionary(x.float()).reconstruction)
    wide = relu().double()
    assert_close(wide(sample().double()).reconstruction.float(), dictionary(sample()).reconstruction, rtol=0, atol=1e-5)


@pytest.mark.parametrize("values", [{"l1": -1.0}, {"l1": float("inf")}, {"n_latents": 0}, {"n_latents": 2**40}, {"k": 3}])
def test_bad_config_is_refused(values):
    with pytest.raises(ValueError):
        ReluConfig(**values)

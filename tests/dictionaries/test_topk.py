from __future__ import annotations

import pytest
import torch
from tests.dictionaries import naive
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, SiteError
from pellucid.dictionaries import Dictionary, TopKConfig, make_dictionary
from pellucid.dictionaries.base import scatter_codes
from pellucid.dictionaries.sparse import SPARSE_BELOW, keep_largest, weighted_rows

D, M, N, K = 6, 20, 33, 4


def sample(n: int = N, d: int = D) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1)) + 0.5


def topk(**values) -> Dictionary:
    config = TopKConfig(**{"n_latents": M, "k": K, **values})
    dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0), sample())
    with torch.no_grad():  # away from the symmetric start
        noise = torch.Generator().manual_seed(2)
        dictionary.encoder += 0.1 * torch.randn(dictionary.encoder.shape, generator=noise)
        dictionary.encoder_bias.uniform_(-0.2, 0.2, generator=noise)
    return dictionary


def mask(*latents: int) -> torch.Tensor:
    dead = torch.zeros(M, dtype=torch.bool)
    dead[list(latents)] = True
    return dead


def test_gradients_equal_finite_differences():
    dictionary = naive.moved(TopKConfig(n_latents=naive.M, k=3))
    naive.check_slopes(dictionary, naive.sample(), "encoder", "encoder_bias", "decoder", "decoder_bias", step=1e-7)


def test_forward_equals_naive_loop():
    dictionary, x = topk(), sample()
    forward = dictionary(x)
    encoder, bias, centre = (p.detach() for p in (dictionary.encoder, dictionary.encoder_bias, dictionary.decoder_bias))
    for t in range(N):
        pre = [float(encoder[i] @ (x[t] - centre) + bias[i]) for i in range(M)]
        kept = sorted(range(M), key=lambda i: -pre[i])[:K]
        reconstruction = centre.clone()
        for i in range(M):
            code = max(pre[i], 0.0) if i in kept else 0.0
            reconstruction += code * dictionary.decoder[i].detach()
            assert forward.codes[t, i].item() == pytest.approx(code, abs=1e-5)
        entries = forward.entries
        assert sorted(entries.latents[entries.starts[t] : entries.starts[t + 1]].tolist()) == sorted(kept)
        assert_close(forward.pre[t], torch.tensor(pre), rtol=0, atol=1e-5)
        assert_close(forward.reconstruction[t], reconstruction, rtol=0, atol=1e-5)


@pytest.mark.parametrize("k", [1, 3, M])
def test_exactly_k_latents_when_enough_are_positive(k):
    dictionary = topk(k=k)
    with torch.no_grad():
        dictionary.encoder_bias.fill_(100.0)
    assert ((dictionary(sample()).codes > 0).sum(dim=1) == k).all()


def test_negative_survivors_become_zero():
    codes = scatter_codes(*keep_largest(torch.tensor([[-3.0, -1.0, 2.0, -2.0], [-1.0, -2.0, -3.0, -4.0]]), 2), 4)
    assert codes.tolist() == [[0, 0, 2, 0], [0, 0, 0, 0]]


def test_ties_keep_exactly_k_and_depend_on_the_row_alone():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 3, (50, 40), generator=generator).float() + 1
    codes = scatter_codes(*keep_largest(rows, 8), 40)
    assert ((codes > 0).sum(dim=1) == 8).all()
    order = torch.randperm(50, generator=generator)
    assert torch.equal(scatter_codes(*keep_largest(rows[order], 8), 40), codes[order])
    one_by_one = torch.cat([scatter_codes(*keep_largest(row[None], 8), 40) for row in rows])
    assert torch.equal(one_by_one, codes)


@pytest.mark.parametrize(("k", "m"), [(2, 2 * SPARSE_BELOW), (3, 2 * SPARSE_BELOW)])
def test_sparse_and_dense_decode_agree_with_their_gradients(k, m):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(m, D, generator=generator, requires_grad=True)
    pre = torch.randn(N, m, generator=generator, requires_grad=True)
    indices, values = keep_largest(pre, k)
    fast = weighted_rows(rows, indices, values)
    plain = scatter_codes(indices, values, m) @ rows
    assert_close(fast, plain, rtol=0, atol=1e-6)
    fast_grads = torch.autograd.grad(fast.square().sum(), (rows, pre), retain_graph=True)
    plain_grads = torch.autograd.grad(plain.square().sum(), (rows, pre))
    assert_close(fast_grads, plain_grads, rtol=0, atol=1e-4)


def test_encode_and_decode_compose_to_forward():
    dictionary, x = topk(), sample()
    forward = dictionary(x)
    assert torch.equal(dictionary.encode(x), forward.codes)
    assert_close(dictionary.decode(forward.codes), forward.reconstruction, rtol=0, atol=1e-6)


def naive_auxiliary(dictionary: Dictionary, x: torch.Tensor, dead: list[int], aux_k: int) -> float:
    x, weights = x.double(), {name: p.detach().double() for name, p in dictionary.named_parameters()}
    residual = x - dictionary(x.float()).reconstruction.detach().double()
    error = 0.0
    for t in range(len(x)):
        centred = x[t] - weights["decoder_bias"]
        pre = {i: float(weights["encoder"][i] @ centred + weights["encoder_bias"][i]) for i in dead}
        modelled = torch.zeros(D, dtype=torch.float64)
        for i in sorted(dead, key=lambda i: -pre[i])[:aux_k]:
            modelled += max(pre[i], 0.0) * weights["decoder"][i]
        error += float(((residual[t] - modelled) ** 2).sum())
    variance = sum(float(((row - residual.mean(dim=0)) ** 2).sum()) for row in residual)
    return error / variance


@pytest.mark.parametrize(("aux_k", "used"), [(None, D // 2), (1, 1), (2, 2), (50, 5)])
def test_auxiliary_equals_naive_loop(aux_k, used):
    dictionary, x, dead = topk(aux_k=aux_k), sample(), [1, 4, 7, 8, 19]
    penalty = dictionary.penalty(dictionary(x), x, mask(*dead))
    assert list(penalty) == ["auxiliary"]
    assert penalty["auxiliary"].item() == pytest.approx(naive_auxiliary(dictionary, x, dead, used) / 32, rel=1e-5)


def test_auxiliary_coefficient_multiplies():
    x, dead = sample(), mask(1, 4)
    one, two = topk(aux_coefficient=1.0), topk(aux_coefficient=0.25)
    assert_close(two.penalty(two(x), x, dead)["auxiliary"], one.penalty(one(x), x, dead)["auxiliary"] / 4)


def test_auxiliary_gradient_reaches_dead_latents_only():
    dictionary, dead = topk(), mask(1, 4, 7)
    x = sample().requires_grad_()
    dictionary.penalty(dictionary(x), x, dead)["auxiliary"].backward()
    assert x.grad is None
    assert dictionary.decoder_bias.grad is None
    for parameter in (dictionary.encoder, dictionary.decoder, dictionary.encoder_bias):
        assert not parameter.grad[~dead].any()
        touched = parameter.grad[dead].reshape(3, -1).abs().sum(dim=1)
        assert (touched > 0).all()


def test_auxiliary_is_absent_when_nothing_is_dead_or_it_is_off():
    x = sample()
    dictionary = topk()
    assert dictionary.penalty(dictionary(x), x, mask()) == {}
    off = topk(aux_coefficient=0.0)
    assert off.penalty(off(x), x, mask(1)) == {}


def test_auxiliary_is_zero_with_finite_gradient_where_the_variance_is_zero():
    dictionary = topk()
    x = sample()[:1]  # one token has no variance
    auxiliary = dictionary.penalty(dictionary(x), x, mask(1, 4))["auxiliary"]
    auxiliary.backward()
    assert auxiliary.item() == 0
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in dictionary.parameters())


def test_auxiliary_is_zero_where_residuals_differ_by_rounding_alone():
    dictionary = topk()
    for row in sample(20):
        x = row.expand(7, D).contiguous()
        assert dictionary.penalty(dictionary(x), x, mask(1, 4))["auxiliary"].item() == 0
    x = sample()[:1] + 1e-3 * sample()  # nearly equal is not equal
    assert dictionary.penalty(dictionary(x), x, mask(1, 4))["auxiliary"].item() > 0


def test_before_step_removes_the_gradient_along_each_atom():
    dictionary, x = topk(), sample()
    (dictionary(x).reconstruction - x).square().sum().backward()
    before = dictionary.decoder.grad.clone()
    dictionary.before_step()
    after, atoms = dictionary.decoder.grad, dictionary.decoder.detach()
    assert (before * atoms).sum(dim=1).abs().max() > 0.1
    assert_close((after * atoms).sum(dim=1), torch.zeros(M), rtol=0, atol=1e-4)
    expected = torch.stack([g - (g @ a) * a for g, a in zip(before, atoms, strict=True)])
    assert_close(after, expected, rtol=0, atol=1e-4)


def test_before_step_without_gradient_does_nothing():
    topk().before_step()


def test_after_step_renormalises():
    dictionary = topk()
    direction = dictionary.decoder.detach().clone()
    with torch.no_grad():
        dictionary.decoder.mul_(torch.linspace(0.5, 3, M)[:, None])
    dictionary.after_step()
    assert_close(dictionary.decoder.norm(dim=1), torch.ones(M), rtol=0, atol=1e-6)
    assert_close(dictionary.decoder, direction, rtol=0, atol=1e-6)


def test_initial_values():
    dictionary = make_dictionary(TopKConfig(n_latents=M, k=K, bias_init="mean"), D, torch.Generator().manual_seed(0), sample())
    assert torch.equal(dictionary.encoder, dictionary.decoder)
    assert_close(dictionary.decoder.norm(dim=1), torch.ones(M), rtol=0, atol=1e-6)
    assert_close(dictionary.decoder_bias, sample().mean(dim=0))
    zeros = make_dictionary(TopKConfig(n_latents=M, k=K, bias_init="zeros"), D)
    assert not zeros.decoder_bias.any()


def test_does_not_depend_on_batch_order_or_size():
    dictionary, x, dead = topk(), sample(), mask(1, 4, 7)
    whole = dictionary(x)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    shuffled = dictionary(x[order])
    assert_close(shuffled.codes, whole.codes[order], rtol=0, atol=1e-6)
    assert_close(dictionary.penalty(shuffled, x[order], dead), dictionary.penalty(whole, x, dead))
    pieces = torch.cat([dictionary(piece).reconstruction for piece in x.split(7)])
    assert_close(pieces, whole.reconstruction, rtol=0, atol=1e-6)
    assert dictionary(x[:0]).reconstruction.shape == (0, D)


def test_dtypes():
    dictionary = topk()
    assert dictionary(sample().half()).reconstruction.dtype == torch.float32
    wide = topk().double()
    assert_close(wide(sample().double()).reconstruction.float(), dictionary(sample()).reconstruction, rtol=0, atol=1e-5)
    with pytest.raises(SiteError, match="would round"):
        dictionary(sample().double())


def test_k_beyond_width_is_refused():
    with pytest.raises(ConfigError, match="k = 9 latents per token cannot come from n_latents = 8"):
        build(TopKConfig, {"n_latents": 8, "k": 9})
    assert TopKConfig(n_latents=8, k=8).k == 8


@pytest.mark.parametrize("values", [{"k": 0}, {"aux_k": 0}, {"aux_coefficient": -1}, {"aux_coefficient": float("nan")}])
def test_bad_config_is_refused(values):
    with pytest.raises(ValueError):
        TopKConfig(**values)

from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import M, N, check_slopes, moved, sample
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, SiteError
from pellucid.data import TensorData
from pellucid.dictionaries import GradientConfig
from pellucid.hosts import Host
from pellucid.hosts.splice import SharedPass
from pellucid.training.guidance import kept_labels, loss_gradient


def slopes() -> torch.Tensor:
    return torch.randn(N, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def test_forward_equals_naive_loop():
    dictionary, x, g = moved(GradientConfig(n_latents=M, k=3, beta=2.0)), sample(), slopes()
    dictionary.guide(g)
    forward, differ = dictionary(x), 0
    encoder, decoder, centre = (p.detach() for p in (dictionary.encoder, dictionary.decoder, dictionary.decoder_bias))
    for t in range(N):
        pre = [float(encoder[i] @ (x[t] - centre) + dictionary.encoder_bias.detach()[i]) for i in range(M)]
        score = [pre[i] + 2.0 * pre[i] * abs(float(decoder[i] @ g[t])) for i in range(M)]
        kept = sorted(range(M), key=lambda i: -score[i])[:3]
        differ += set(kept) != set(sorted(range(M), key=lambda i: -pre[i])[:3])
        out = centre.clone()
        for i in kept:
            out += max(pre[i], 0.0) * decoder[i]
        assert_close(forward.reconstruction[t].detach(), out, rtol=0, atol=1e-12)
        codes = torch.tensor([max(pre[i], 0.0) if i in kept else 0.0 for i in range(M)], dtype=torch.float64)
        assert_close(forward.codes[t].detach(), codes, rtol=0, atol=1e-12)
    assert differ > N // 4, "the gradient decides"
    assert torch.equal(dictionary(x).codes, dictionary.encode(x)), "a gradient serves one pass"


def test_gradients_equal_finite_differences():
    dictionary = moved(GradientConfig(n_latents=M, k=3))
    once = type(dictionary).forward
    dictionary.forward = lambda x: (dictionary.guide(slopes()), once(dictionary, x))[1]
    check_slopes(dictionary, sample(), "encoder", "encoder_bias", "decoder_bias", step=1e-7)


def test_the_gradient_is_that_of_the_hosts_summed_loss():
    torch.manual_seed(0)
    host = Host(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)), name="net")
    inputs, labels = torch.randn(9, 6), torch.randint(0, 4, (9,))
    labels[2] = -100
    batch = TensorData(inputs, labels, held_out=0.0).train_rows(torch.arange(9))
    site = host.site("1")
    host.prepare(batch.inputs[:1], [site])
    for head in (None, host.find_head(batch.inputs[:1])):
        shared = SharedPass(host, batch.inputs, batch.keep, splice=[site], head=head)
        shared.labels = kept_labels(batch)
        found = loss_gradient(shared, site)
        hidden = host.module[:2](batch.inputs).detach().requires_grad_()
        loss = cross_entropy(host.module[2](hidden), batch.labels, ignore_index=-100, reduction="sum")
        assert_close(found, torch.autograd.grad(loss, hidden)[0])
    assert not found[batch.labels == -100].any() and not any(p.grad is not None for p in host.module.parameters())
    shared.labels = None
    with pytest.raises(ConfigError, match="the batch has no labels for 9 outputs"):
        loss_gradient(shared, site)


def test_refusals():
    with pytest.raises(ConfigError, match="k = 9 latents per token cannot come from n_latents = 8"):
        build(GradientConfig, {"n_latents": 8, "k": 9})
    with pytest.raises(ConfigError, match="beta"):
        build(GradientConfig, {"beta": -1.0})
    dictionary = moved(GradientConfig(n_latents=M, k=3))
    dictionary.guide(slopes()[:4])
    with pytest.raises(SiteError, match=r"is \(4, 5\), wanted \(17, 5\)"):
        dictionary(sample())

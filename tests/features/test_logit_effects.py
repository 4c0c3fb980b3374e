from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.errors import SiteError
from pellucid.features import logit_effects, top_tokens
from pellucid.hosts import Head, Host

TRANSFORMERS = pytest.mark.parametrize("any_host", ["llama", "gpt2", "neox"], indirect=True)
RESIDUAL = ["layers.0", "layers.2.input", "layers.3", "layers.1.attn", "layers.1.mlp", "embed"]


def randomised_norms(host: Host) -> Host:
    """Norms start at gain 1 and bias 0, which would hide a forgotten one."""
    for path, module in host.module.named_modules():
        if "norm" in path.rsplit(".", 1)[-1] or path.rsplit(".", 1)[-1].startswith("ln_"):
            for i, parameter in enumerate(module.parameters()):
                nn.init.normal_(parameter, 1.0 - i, 0.3, generator=torch.Generator().manual_seed(i))
    return host


@pytest.fixture
def text_host(any_host):
    host, inputs, _ = any_host
    return randomised_norms(host), inputs


def atoms_of(m: int = 5, d: int = 32) -> torch.Tensor:
    return nn.functional.normalize(torch.randn(m, d, generator=torch.Generator().manual_seed(4)), dim=-1)


@TRANSFORMERS
def test_effects_equal_a_loop_over_atoms_and_tokens(text_host):
    host, inputs = text_host
    atoms, head = atoms_of(), host.find_head(inputs)
    found = logit_effects(host, host.site("layers.1"), atoms, head, inputs=inputs).values
    norm = host.module.get_submodule(host.site("norm").path)
    for atom, row in zip(atoms, found, strict=True):
        if isinstance(norm, nn.LayerNorm):
            atom = atom - atom.mean()
        for token in (0, 5, 96):
            wanted = sum(norm.weight.detach() * atom * head.module.weight[token].detach())
            assert float(row[token]) == pytest.approx(float(wanted), abs=1e-5)


@TRANSFORMERS
@pytest.mark.parametrize("name", RESIDUAL)
def test_every_site_of_the_stream_has_the_same_direct_path(text_host, name):
    host, inputs = text_host
    head = host.find_head(inputs)
    assert_close(
        logit_effects(host, host.site(name), atoms_of(), head, inputs=inputs).values,
        logit_effects(host, host.site("layers.3"), atoms_of(), head, inputs=inputs).values,
    )


@TRANSFORMERS
def test_effect_is_the_change_of_logits_that_the_scale_does_not_explain(text_host):
    """d logits / d step = effect / s - (change of s) * (what the norm lets through) / s, by finite difference in float64."""
    host, inputs = text_host
    host.module.double()
    site, norm = host.site("layers.3"), host.site("norm")
    step, exact = (1e-3, 1e-3) if host.name == "llama" else (1e-5, 1e-6)  # Llama's norm works in float32, whatever its input
    head, atom = host.find_head(inputs), atoms_of(1)[0].double()
    effect = logit_effects(host, site, atom[None], head, inputs=inputs).values[0].double()
    logits = [host.logits(host.run(inputs, edit={site: lambda x, by=by: x + by * atom}).output) for by in (step, -step)]
    slope = (logits[0] - logits[1]) / (2 * step)
    stream = host.run(inputs, capture=[site]).values[site]
    centred = isinstance(host.module.get_submodule(norm.path), nn.LayerNorm)
    stream = stream - stream.mean(-1, keepdim=True) if centred else stream
    scale = stream.square().mean(-1, keepdim=True).add(eps_of(host.module.get_submodule(norm.path))).sqrt()
    own = atom - atom.mean() if centred else atom
    share = (stream * own).mean(-1, keepdim=True) / scale**2  # relative change of the scale per step
    through = (stream * host.module.get_submodule(norm.path).weight) @ head.module.weight.T / scale
    assert_close(slope, effect / scale - share * through, atol=exact, rtol=0)


def eps_of(norm: nn.Module) -> float:
    return norm.eps if hasattr(norm, "eps") else norm.variance_epsilon


@pytest.mark.parametrize("any_host", ["mlp"], indirect=True)
def test_without_a_norm_the_effect_is_the_exact_change(any_host):
    host, inputs, _ = any_host
    site, head, atom = host.site("head.input"), host.find_head(inputs), atoms_of(1, 16)
    effect = logit_effects(host, site, atom, head, inputs=inputs).values[0]
    plain, moved = (host.logits(host.run(inputs, edit={site: lambda x, by=by: x + by * atom[0]}).output) for by in (0, 1))
    assert_close(moved - plain, effect.expand_as(plain), atol=1e-5, rtol=1e-5)


def test_the_size_of_a_chunk_changes_nothing(llama_host, token_inputs, monkeypatch):
    import sys

    head, site = llama_host.find_head(token_inputs), llama_host.site("layers.1")
    whole = logit_effects(llama_host, site, atoms_of(), head, inputs=token_inputs).values
    monkeypatch.setattr(sys.modules["pellucid.features.logit_effects"], "CHUNK_NUMBERS", 7 * 32)
    assert_close(logit_effects(llama_host, site, atoms_of(), head, inputs=token_inputs).values, whole)


def test_a_gain_stored_less_one_is_found(llama_host, token_inputs):
    class OffsetNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-0.4, 0.4, 32))

        def forward(self, x):
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)

    llama_host.module.model.norm = OffsetNorm()
    head = llama_host.find_head(token_inputs)
    found = logit_effects(llama_host, llama_host.site("layers.3"), atoms_of(), head, inputs=token_inputs).values
    assert_close(found, (atoms_of() * (1 + OffsetNorm().weight)) @ head.module.weight.T, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("site", "d", "reason"),
    [
        ("layers.1.mlp.hidden", 64, "has width 64, but the stream the logits are read from has width 32"),
        ("layers.1.attn.z", 32, "'layers.1.attn.z' does not reach the logits' stream unchanged"),
        ("layers.1.mlp.input", 32, "'layers.1.mlp.input' does not reach the logits' stream unchanged"),
        ("norm", 32, "'norm' does not reach the logits' stream unchanged"),
    ],
)
def test_sites_outside_the_stream_are_refused_with_the_reason(llama_host, token_inputs, site, d, reason):
    head = llama_host.find_head(token_inputs)
    found = logit_effects(llama_host, llama_host.site(site), atoms_of(5, d), head, inputs=token_inputs)
    assert found.values is None and reason in found.reason


def test_atoms_of_another_width_are_refused(llama_host, token_inputs):
    head = llama_host.find_head(token_inputs)
    with pytest.raises(SiteError, match=r"'layers\.1' has width 32, but the atoms have 31"):
        logit_effects(llama_host, llama_host.site("layers.1"), atoms_of(5, 31), head, inputs=token_inputs)


def test_a_host_without_a_head_is_refused_with_the_reason(llama_host, token_inputs):
    found = logit_effects(llama_host, llama_host.site("layers.1"), atoms_of(), None, inputs=token_inputs)
    assert found.values is None and "no module of llama alone turns features into logits" in found.reason


def test_other_norms_and_heads_are_refused_with_the_reason(llama_host, token_inputs):
    site, head = llama_host.site("layers.3"), llama_host.find_head(token_inputs)
    odd = Head(head.site, nn.Identity())
    assert "no unembedding" in logit_effects(llama_host, site, atoms_of(), odd, inputs=token_inputs).reason
    llama_host.module.model.norm = nn.Tanh()
    assert "neither an RMSNorm nor a LayerNorm" in logit_effects(llama_host, site, atoms_of(), head, inputs=token_inputs).reason


def test_top_tokens_are_the_ends_of_the_row_and_ties_go_to_the_lower_id(data):
    effects = torch.zeros(97)
    effects[[10, 3, 50, 7]] = torch.tensor([2.0, 2.0, 5.0, 1.0])
    effects[[20, 96]] = torch.tensor([-1.0, -3.0])
    raises, lowers = top_tokens(effects, data.tokenizer, n=3)
    assert raises == [["w48", 5.0], ["w1", 2.0], ["w8", 2.0]]
    assert lowers == [["[96]", -3.0], ["w18", -1.0]]  # 96 names no token; tokens at 0 are not moved

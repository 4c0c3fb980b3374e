"""Promises 1 and 2: exact splices and captures on any module, and nothing left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.errors import SiteError
from pellucid.hosts import Host


def _state(module: nn.Module) -> list[tuple]:
    return [
        (
            path,
            child.training,
            len(child._forward_hooks),
            len(child._forward_pre_hooks),
            "forward" in child.__dict__,
            [(parameter.requires_grad, parameter.grad is None) for parameter in child.parameters(recurse=False)],
        )
        for path, child in module.named_modules()
    ]


def test_capture_equals_a_plain_hook(any_host):
    host, inputs, site = any_host
    seen = []
    handle = host.module.get_submodule(site.path).register_forward_hook(
        lambda _, __, out: seen.append((out[0] if isinstance(out, tuple) else out).clone())
    )
    captured = host.run(inputs, capture=[site]).values[site]
    handle.remove()
    assert torch.equal(captured, site.features_last(seen[0]))


def test_identity_splice_changes_no_logit(any_host):
    host, inputs, site = any_host
    plain = host.logits(host.run(inputs).output)
    spliced = host.logits(host.run(inputs, edit={site: lambda value: value.clone()}).output)
    assert_close(spliced, plain, atol=1e-5, rtol=0)


def test_resuming_at_a_site_equals_the_full_run_bit_for_bit(any_host):
    host, inputs, site = any_host
    host.prepare(inputs, [site])
    assert host.resumable(site)
    with torch.no_grad():
        full = host.run(inputs, prefixes=[site])
        resumed = host.run(inputs, resume=full.prefixes[site])
    assert torch.equal(host.logits(resumed.output), host.logits(full.output))


def test_resumed_edit_equals_edit_in_a_full_run(any_host):
    host, inputs, site = any_host
    host.prepare(inputs, [site])
    with torch.no_grad():
        prefix = host.run(inputs, prefixes=[site]).prefixes[site]
        resumed = host.run(inputs, resume=prefix, edit={site: lambda value: value * 0.5})
        full = host.run(inputs, edit={site: lambda value: value * 0.5})
    assert torch.equal(host.logits(resumed.output), host.logits(full.output))
    assert not torch.equal(host.logits(full.output), host.logits(host.run(inputs).output))


def test_a_resumed_run_skips_the_blocks_before_the_site(llama_host, token_inputs):
    site = llama_host.site("layers.1")
    llama_host.prepare(token_inputs, [site])
    prefix = llama_host.run(token_inputs, prefixes=[site], stop=True).prefixes[site]
    called = []
    handles = [llama_host.module.model.layers[i].mlp.register_forward_hook(lambda *_, i=i: called.append(i)) for i in range(4)]
    llama_host.run(token_inputs, resume=prefix)
    for handle in handles:
        handle.remove()
    assert called == [2, 3]


def test_stop_ends_after_the_last_wanted_site(llama_host, token_inputs):
    called = []
    llama_host.module.model.layers[2].register_forward_hook(lambda *_: called.append(2))
    sites = [llama_host.site("layers.0.mlp.hidden"), llama_host.site("layers.1.attn.z")]
    result = llama_host.run(token_inputs, capture=sites, stop=True)
    assert result.output is None
    assert set(result.values) == set(sites)
    assert not called


@pytest.mark.parametrize(
    "name", ["layers.2.input", "layers.1.attn", "layers.1.attn.z", "layers.2.mlp", "layers.2.mlp.hidden", "embed", "norm"]
)
def test_every_common_site_resumes_exactly(llama_host, token_inputs, name):
    site = llama_host.site(name)
    llama_host.prepare(token_inputs, [site])
    with torch.no_grad():
        full = llama_host.run(token_inputs, prefixes=[site])
        resumed = llama_host.run(token_inputs, resume=full.prefixes[site])
    assert llama_host.resumable(site)
    assert torch.equal(resumed.output.logits, full.output.logits)


def test_gradients_reach_the_edit_and_not_the_host(llama_host, token_inputs):
    site = llama_host.site("layers.1")
    llama_host.prepare(token_inputs, [site])
    with torch.no_grad():
        prefix = llama_host.run(token_inputs, prefixes=[site], stop=True).prefixes[site]
    scale = torch.ones((), requires_grad=True)
    with torch.enable_grad():
        spliced = llama_host.run(token_inputs, resume=prefix, edit={site: lambda value: value * scale})
        spliced.output.logits.square().mean().backward()
    assert scale.grad is not None and scale.grad.abs() > 0
    assert all(parameter.grad is None for parameter in llama_host.module.parameters())


def test_nothing_is_left_behind_when_the_body_raises(any_host):
    host, inputs, site = any_host
    host.module.train()
    before = _state(host.module)
    host.prepare(inputs, [site])
    prefix = host.run(inputs, prefixes=[site]).prefixes[site]

    def fail(_):
        raise ZeroDivisionError

    for keywords in ({}, {"resume": prefix}):
        with pytest.raises(ZeroDivisionError):
            host.run(inputs, edit={site: fail}, **keywords)
    assert _state(host.module) == before


def test_a_cell_called_every_step_is_one_site_of_steps(gru_host):
    host, inputs = gru_host
    site = host.site("cell")
    host.prepare(inputs, [site])
    assert host.run(inputs, capture=[site], stop=True).values[site].shape == (5, 3, 12)
    assert not host.resumable(site)


def test_convolution_features_are_channels(cnn_host):
    host, inputs = cnn_host
    site = host.site("stem")
    assert host.run(inputs, capture=[site]).values[site].shape == (2, 6, 6, 8)


def test_transformer_lens_names_are_aliases(llama_host):
    assert llama_host.site("blocks.2.hook_resid_pre") == llama_host.site("layers.2.input")
    assert (
        llama_host.site("blocks.2.hook_resid_post") == llama_host.site("model.layers.2.output") == llama_host.site("layers.2")
    )


def test_unknown_site_names_the_nearest(llama_host):
    with pytest.raises(
        SiteError, match=r"unknown site 'layer\.2' in llama\. Did you mean .*'layers\.2'.*4 blocks: layers\.0 to layers\.3"
    ):
        llama_host.site("layer.2")


def test_edit_of_another_shape_is_refused(llama_host, token_inputs):
    with pytest.raises(SiteError, match=r"'layers\.1' holds \(3, 12, 32\), but its edit returned \(3, 12, 31\)"):
        llama_host.run(token_inputs, edit={llama_host.site("layers.1"): lambda value: value[..., :-1]})


def test_widths_come_from_one_dry_pass(llama_host, token_inputs):
    widths = llama_host.widths(token_inputs)
    assert widths["layers.1"] == 32 and widths["layers.1.mlp.hidden"] == 64 and widths["norm"] == 32


def test_head_is_found_where_it_alone_gives_the_logits(any_host):
    host, inputs, _ = any_host
    head = host.find_head(inputs)
    assert head is not None
    features = host.run(inputs, capture=[head.site]).values[head.site]
    assert torch.equal(head.module(features), host.logits(host.run(inputs).output))


def test_head_is_refused_when_logits_are_changed_after_it(token_inputs, llama_host):
    host = Host(llama_host.module, output=lambda out: torch.tanh(out.logits))
    assert host.find_head(token_inputs) is None


def test_downstream_of_a_block_leaves_out_the_last(llama_host):
    names = [str(s) for s in llama_host.downstream(llama_host.site("layers.0"))]
    assert names == ["layers.1", "layers.2"]
    assert [str(s) for s in llama_host.downstream(llama_host.site("layers.1.input"), last=True)] == [
        "layers.1",
        "layers.2",
        "layers.3",
    ]


@pytest.mark.parametrize("name", ["norm", "body", "head", "head.input"])
def test_a_module_that_writes_into_its_input_does_not_spoil_the_next_resume(cnn_host, name):
    host, inputs = cnn_host
    site = host.site(name)
    host.prepare(inputs, [site])
    with torch.no_grad():
        full = host.run(inputs, prefixes=[site] if host.resumable(site) else [])
        for _ in range(3):
            again = host.run(inputs, resume=full.prefixes.get(site))
            assert torch.equal(again.output, full.output)

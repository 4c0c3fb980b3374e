"""`Host.edit`: values changed in every call of the module inside a block, and as before after it."""

from __future__ import annotations

import pytest
import torch

from pellucid.core.errors import SiteError


def call(host, inputs):
    with torch.no_grad():
        return host.logits(host._call(inputs)).clone()


def test_a_call_of_the_module_is_edited_as_a_run_is(any_host):
    host, inputs, site = any_host
    host.module.eval()
    plain = call(host, inputs)
    with torch.no_grad():
        wanted = host.logits(host.run(inputs, edit={site: lambda value: value.flip(-1)}).output)
    with host.edit({str(site): lambda value: value.flip(-1)}):
        assert torch.equal(call(host, inputs), wanted) and not torch.equal(wanted, plain)
    assert torch.equal(call(host, inputs), plain)
    with host.edit({}):
        assert torch.equal(call(host, inputs), plain)


def test_edits_of_one_site_follow_one_another(llama_host, token_inputs):
    def doubled(value):
        return value * 2

    def raised(value):
        return value + 1

    site = llama_host.site("layers.1")
    with torch.no_grad():
        wanted = llama_host.run(token_inputs, edit={site: lambda value: raised(doubled(value))}).output.logits
    with llama_host.edit({site: doubled}), llama_host.edit({site: raised}):
        assert torch.equal(call(llama_host, token_inputs), wanted)
    with llama_host.edit({"layers.1": doubled, str(site.canonical): raised}):
        assert torch.equal(call(llama_host, token_inputs), wanted)


def test_generation_by_the_module_itself_is_edited(llama_host, token_inputs):
    row = token_inputs["input_ids"][:1]
    seen = []

    def count(value):
        seen.append(value.shape[1])
        return torch.roll(value, 1, dims=-1)

    plain = llama_host.module.generate(row, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    with llama_host.edit({"layers.2": count}):
        edited = llama_host.module.generate(row, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert len(seen) == 4 and not torch.equal(edited, plain)


def test_what_does_not_fit_is_refused_and_leaves_nothing_behind(llama_host, token_inputs):
    before = call(llama_host, token_inputs)
    with pytest.raises(SiteError, match=r"unknown site 'layers\.x'"), llama_host.edit({"layers.x": lambda value: value}):
        pass
    with pytest.raises(SiteError, match=r"but its edit returned"), llama_host.edit({"layers.1": lambda value: value[..., :3]}):
        call(llama_host, token_inputs)
    assert torch.equal(call(llama_host, token_inputs), before)
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in llama_host.module.modules())

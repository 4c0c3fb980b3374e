"""Promise 1: a splice changes what it replaces and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.errors import SiteError
from pellucid.hosts import Host, Site
from pellucid.hosts.splice import SharedPass, rows_of

LLAMA_SITES = ["layers.1", "layers.1.input", "layers.2.attn.z", "layers.0.mlp", "layers.3.mlp.hidden", "embed", "norm"]


def prepared(host: Host, inputs, *sites: Site, keep=None, head: bool = True, capture=()) -> SharedPass:
    host.prepare(inputs, sites)
    found = host.find_head(inputs) if head else None
    return SharedPass(host, inputs, keep, splice=sites, capture=capture, head=found)


def some_of(*shape: int) -> torch.Tensor:
    keep = torch.rand(shape, generator=torch.Generator().manual_seed(5)) < 0.6
    keep.view(-1)[:2] = torch.tensor([False, True])
    return keep


def linear_of(d: int) -> torch.Tensor:
    return torch.eye(d) + 0.3 * torch.randn(d, d, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("head", [True, False], ids=["head", "no head"])
@pytest.mark.parametrize("same", [lambda rows: rows, lambda rows: rows.clone()], ids=["itself", "copy"])
def test_identity_splice_gives_the_same_features_bit_for_bit(any_host, head, same):
    host, inputs, site = any_host
    shared = prepared(host, inputs, site, head=head)
    for _ in range(2):  # the first must leave what the second starts from as it was
        assert torch.equal(shared.splice(site, same).features, shared.features)
    assert torch.equal(shared.readout(shared.features).reshape(-1), host.logits(host.run(inputs).output).reshape(-1))


@pytest.mark.parametrize("name", LLAMA_SITES)
def test_identity_splice_is_exact_at_every_kind_of_site(llama_host, token_inputs, name):
    site, keep = llama_host.site(name), some_of(3, 12)
    for mask in (None, keep):
        shared = prepared(llama_host, token_inputs, site, keep=mask)
        assert torch.equal(shared.splice(site, torch.clone).features, shared.features)


def plain_features(host: Host, inputs, site: Site, change, head_site: Site | None) -> torch.Tensor:
    """Two forward hooks and nothing else: one replaces, one reads."""
    seen = []

    def replace(_, __, output):
        first = output[0] if isinstance(output, tuple) else output
        new = change(first.movedim(site.axis, -1)).movedim(-1, site.axis)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handles = [host.module.get_submodule(site.path).register_forward_hook(replace)]
    if head_site is not None:
        head = host.module.get_submodule(head_site.path)
        handles.append(head.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone())))
    host.module.eval()
    with torch.no_grad():
        output = host.module(**inputs) if isinstance(inputs, dict) else host.module(inputs)
    for handle in handles:
        handle.remove()
    return seen[0] if seen else host.logits(output)


@pytest.mark.parametrize("head", [True, False], ids=["head", "no head"])
def test_splice_equals_two_plain_forward_hooks(any_host, head):
    host, inputs, site = any_host
    shared = prepared(host, inputs, site, head=head)
    width = shared.rows(site).shape[-1]
    matrix = linear_of(width)
    wanted = plain_features(host, inputs, site, lambda value: value @ matrix, shared.head.site if shared.head else None)
    for _ in range(2):
        found = shared.splice(site, lambda rows: rows @ matrix).features
        assert_close(found, wanted.reshape(-1, wanted.shape[-1]), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, shared.features, atol=1e-3)


@pytest.mark.parametrize("any_host", ["llama", "gpt2", "neox"], indirect=True)
def test_excluded_positions_pass_unchanged_bit_for_bit(any_host):
    host, inputs, site = any_host
    keep = some_of(3, 12)
    shared = prepared(host, inputs, site, keep=keep, capture=[site])
    original = host.run(inputs, capture=[site]).values[site]
    seen = []

    def garbage(rows):
        seen.append(rows)
        return torch.full_like(rows, torch.nan)

    full = host.run(inputs, edit={site: lambda value: shared._replaced(value, site, 0, garbage)}, capture=[site], stop=True)
    spliced = full.values[site]
    assert torch.equal(spliced[~keep], original[~keep])
    assert spliced[keep].isnan().all()
    assert torch.equal(seen[0], original[keep]) and torch.equal(shared.rows(site), original[keep])


@pytest.mark.parametrize("any_host", ["llama", "gpt2", "neox"], indirect=True)
def test_masked_splice_equals_a_plain_hook_that_writes_kept_positions(any_host):
    host, inputs, site = any_host
    keep, matrix = some_of(3, 12), linear_of(32)
    later = host.site("layers.2")
    shared = prepared(host, inputs, site, keep=keep, capture=[later])

    def change(value):
        value = value.clone()
        value[keep] = value[keep] @ matrix
        return value

    spliced = shared.splice(site, lambda rows: rows @ matrix, [later])
    assert_close(spliced.features, plain_features(host, inputs, site, change, shared.head.site)[keep], atol=1e-5, rtol=1e-5)
    assert_close(spliced.values[later], host.run(inputs, edit={site: change}, capture=[later]).values[later][keep])
    assert torch.equal(shared.rows(later), host.run(inputs, capture=[later]).values[later][keep])


def recurrent(any_host) -> tuple[Host, torch.Tensor, Site]:
    host, inputs, _ = any_host
    return host, inputs, host.site("cell")


def unrolled(module: nn.Module, inputs: torch.Tensor, change) -> torch.Tensor:
    """The recurrent host written out, with `change(state, step)` after each call of its cell."""
    sequence, state = module.rnn(inputs)[0], torch.zeros(inputs.shape[1], 12)
    for step, x in enumerate(sequence):
        state = change(module.cell(x, state), step)
    return state


@pytest.mark.parametrize("any_host", ["gru"], indirect=True)
def test_a_cell_is_replaced_at_every_call(any_host):
    host, inputs, site = recurrent(any_host)
    shared, matrix = prepared(host, inputs, site), linear_of(12)
    calls = []

    def replace(rows):
        calls.append(rows)
        return rows @ matrix

    with torch.no_grad():
        wanted = unrolled(host.module, inputs, lambda state, _: state @ matrix)
    assert_close(shared.splice(site, replace).features, wanted)
    assert [len(rows) for rows in calls] == [3] * 5 and shared.rows(site).shape == (15, 12)
    assert torch.equal(calls[0], shared.rows(site)[:3]) and not torch.equal(calls[1], shared.rows(site)[3:6])


@pytest.mark.parametrize("any_host", ["gru"], indirect=True)
def test_a_mask_over_steps_holds_at_each_call_of_a_cell(any_host):
    host, inputs, site = recurrent(any_host)
    keep, matrix = some_of(5, 3), linear_of(12)
    host.prepare(inputs, [site])
    shared = SharedPass(host, inputs, keep, splice=[site], head=host.find_head(inputs))
    with torch.no_grad():
        wanted = unrolled(host.module, inputs, lambda state, t: torch.where(keep[t].unsqueeze(-1), state @ matrix, state))
    assert_close(shared.splice(site, lambda rows: rows @ matrix).features, wanted)
    assert torch.equal(shared.splice(site, torch.clone).features, shared.features)


def test_a_mask_of_other_positions_is_refused(llama_host, token_inputs):
    message = (
        r"site 'layers\.1' has positions \(3, 12\), but the batch marks which of \(3, 11\) positions to use\. "
        r"Choose a site with one value per token, or data without a mask\."
    )
    with pytest.raises(SiteError, match=message):
        prepared(llama_host, token_inputs, llama_host.site("layers.1"), keep=some_of(3, 11))


def test_a_replacement_of_another_shape_is_refused(llama_host, token_inputs):
    site = llama_host.site("layers.1")
    for keep in (None, some_of(3, 12)):
        shared = prepared(llama_host, token_inputs, site, keep=keep)
        with pytest.raises(SiteError, match=r"'layers\.1' are \(\d+, 32\), but what should replace them is \(\d+, 32\)"):
            shared.splice(site, lambda rows: torch.cat([rows, rows]))


def test_several_sites_from_one_pass_equal_separate_passes(llama_host, token_inputs):
    keep, sites = some_of(3, 12), [llama_host.site(name) for name in ("layers.0.mlp", "layers.1", "layers.2.attn.z")]
    later = llama_host.downstream(sites[1])
    together = prepared(llama_host, token_inputs, *sites, keep=keep, capture=later)
    for site in [*sites, *sites]:
        matrix = linear_of(32)
        alone = prepared(llama_host, token_inputs, site, keep=keep, capture=later)
        found, wanted = (shared.splice(site, lambda rows, m=matrix: rows @ m, later) for shared in (together, alone))
        assert torch.equal(found.features, wanted.features)
        assert torch.equal(together.rows(site), alone.rows(site))
        for place in later:
            assert torch.equal(found.values[place], wanted.values[place])
    assert torch.equal(together.features, alone.features)


def test_gradients_reach_what_replaces_the_rows(any_host):
    host, inputs, site = any_host
    shared = prepared(host, inputs, site)
    matrix = linear_of(shared.rows(site).shape[-1]).requires_grad_()
    shared.splice(site, lambda rows: rows @ matrix).features.square().sum().backward()
    place = shared.head.site
    full = host.run(inputs, edit={site: lambda value: value @ matrix}, capture=[place]).values[place]
    (wanted,) = torch.autograd.grad(full.square().sum(), matrix)
    assert_close(matrix.grad, wanted, atol=1e-4, rtol=1e-4)


def test_the_head_itself_can_be_spliced(llama_host, token_inputs):
    head = llama_host.find_head(token_inputs)
    llama_host.prepare(token_inputs, [head.site])
    shared = SharedPass(llama_host, token_inputs, None, splice=[head.site], head=head)
    assert torch.equal(shared.rows(head.site), shared.features)
    assert torch.equal(shared.splice(head.site, lambda rows: 2 * rows).features, 2 * shared.features)


def test_without_features_the_run_ends_at_the_last_site(llama_host, token_inputs):
    called = []
    handle = llama_host.module.model.layers[2].register_forward_hook(lambda *_: called.append(2))
    shared = SharedPass(llama_host, token_inputs, None, capture=[llama_host.site("layers.1")], features=False)
    handle.remove()
    assert shared.features is None and not called


def test_rows_are_the_kept_positions_in_order():
    value, keep = torch.arange(24.0).view(2, 3, 4), torch.tensor([[True, False, True], [False, True, True]])
    assert torch.equal(rows_of(value, keep), torch.stack([value[0, 0], value[0, 2], value[1, 1], value[1, 2]]))
    assert torch.equal(rows_of(value, None), value.view(6, 4))
    assert torch.equal(rows_of(value, keep[:1]), value.view(6, 4))

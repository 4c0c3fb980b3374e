"""Each form of the sparse kernels against dense matrices, loops and autograd."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.errors import ConfigError
from pellucid.dictionaries.batch_topk import keep_largest_of_batch
from pellucid.kernels.entries import Entries
from pellucid.kernels.forms import PLAIN, get_form, usable
from pellucid.kernels.sparse import CHUNK_TOKENS, TURNED_TOKENS, above, decoded, encoded, top_k, top_of_batch

N, D, M, K = 70, 24, 200, 5
SHAPES = [
    (N, M, K),
    (1, M, 1),
    (3, 63, 63),
    (7, 64, 2),
    (5, 130, 3),
    (CHUNK_TOKENS + 9, 65, 4),
    (TURNED_TOKENS + 300, 130, 4),
    (9, 700, 10),
    (9, 700, 12),
]


HERE = ["stock", "numba"]


@pytest.fixture(params=HERE, scope="module")
def form(request):
    assert usable(torch.device("cpu"), torch.float32) == [PLAIN, *HERE]
    return get_form(request.param)


def drawn(n=N, m=M, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator) for shape in ((n, D), (m, D), (m,), (m, D)))


def integers(n, m, seed=0):
    """Small integers: many ties, and sums without rounding in any order."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(-2, 3, shape, generator=generator).float() for shape in ((n, 4), (m, 4), (m,)))


@pytest.mark.parametrize(("n", "m", "k"), SHAPES)
def test_top_k_finds_the_largest_of_each_row(form, n, m, k):
    x, encoder, bias, _ = drawn(n, m)
    entries, values = top_k(form, x, encoder, bias, k)
    wanted = torch.addmm(bias, x, encoder.t()).topk(k, dim=-1)
    found = entries.latents.reshape(n, k)
    assert torch.equal(found.sort(dim=-1).values, wanted.indices.sort(dim=-1).values)
    assert_close(values.reshape(n, k).sort(dim=-1, descending=True).values, wanted.values, rtol=1e-5, atol=1e-5)


def test_top_k_of_ties_keeps_exactly_k_different_latents(form):
    x, encoder, bias = integers(50, 90)
    entries, values = top_k(form, x, encoder, bias, 7)
    pre = torch.addmm(bias, x, encoder.t())
    rows = entries.latents.reshape(50, 7)
    assert all(len(set(row.tolist())) == 7 for row in rows)
    assert torch.equal(values.reshape(50, 7), pre.gather(1, rows))
    assert torch.equal(values.reshape(50, 7).sort(dim=-1, descending=True).values, pre.topk(7, dim=-1).values)


@pytest.mark.parametrize(("m", "k"), [(700, 10), (700, 12), (65, 4), (9, 9)])
def test_tokens_side_by_side_are_searched_as_rows_are(m, k):
    pre, bias = torch.randn(300, m, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, m)
    pre[3] = 0.5 - bias  # all equal: more survivors than there is room for
    pre[7, m // 2] = pre[280, 0] = torch.nan
    pre[11, 1], pre[12, 1], pre[13] = torch.inf, -torch.inf, 3e38
    form = get_form("numba")
    rows, columns = form.top_rows(pre, bias, k), form.top_rows(pre.t().contiguous().t(), bias, k)
    assert torch.equal(rows[0], columns[0])
    assert_close(columns[1], rows[1], rtol=0, atol=0, equal_nan=True)
    assert bool(rows[1][[7, 280]].isnan().all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_top_k_hides_no_number_that_is_not_finite(form, bad):
    x, encoder, bias, _ = drawn()
    bias[17] = bad
    _, values = top_k(form, x, encoder, bias, K)
    assert not values.reshape(N, K).isfinite().all(dim=-1).any()


def test_a_row_whose_sum_overflows_is_still_searched(form):
    x, encoder, bias = torch.zeros(1, D), torch.zeros(M, D), torch.full((M,), 3e38)
    bias[[3, 150]] = 3.2e38
    entries, values = top_k(form, x, encoder, bias, 2)
    assert sorted(entries.latents.tolist()) == [3, 150] and bool((values == 3.2e38).all())


@pytest.mark.parametrize(("n", "m", "k"), SHAPES)
def test_above_finds_every_entry_over_its_latents_bound(form, n, m, k):
    x, encoder, bias, _ = drawn(n, m)
    pre = torch.addmm(bias, x, encoder.t())
    least = torch.linspace(0, 2, m) + pre.flatten().kthvalue(int(pre.numel() * 0.96)).values
    found = above(form, x, encoder, bias, least)
    assert found is not None
    entries, values = found
    assert torch.equal(torch.stack([entries.tokens, entries.latents], dim=1), (pre > least).nonzero())
    assert_close(values, pre[pre > least], rtol=1e-5, atol=1e-5)
    assert_close(entries.dense(values), torch.where(pre > least, pre, 0.0), rtol=1e-5, atol=1e-5)


def test_above_gives_up_where_codes_are_dense(form):
    x, encoder, bias, _ = drawn()
    assert above(form, x, encoder, bias, torch.zeros(M)) is None
    assert top_of_batch(form, x, encoder, bias, N * M // 4) is None


@pytest.mark.parametrize("share", [0.001, 0.01, 0.03])
def test_top_of_batch_equals_the_dense_selection(form, share):
    x, encoder, bias, _ = drawn(200)
    k = max(1, round(M * share))
    found = top_of_batch(form, x, encoder, bias, k * len(x))
    assert found is not None
    dense, smallest = keep_largest_of_batch(torch.addmm(bias, x, encoder.t()), k)
    assert torch.equal(found[0].dense(found[1]) > 0, dense > 0)
    assert_close(found[1].min(), smallest, rtol=1e-5, atol=1e-5)


def test_top_of_batch_breaks_ties_as_the_dense_selection_does(form):
    x, encoder, bias = integers(60, 400)
    bias -= 12  # few entries are positive, many of them equal
    found = top_of_batch(form, x, encoder, bias, 120)
    assert found is not None
    dense, _ = keep_largest_of_batch(torch.addmm(bias, x, encoder.t()), 2)
    assert torch.equal(found[0].dense(found[1]), dense)


def test_top_of_batch_takes_all_where_fewer_are_positive(form):
    x, encoder, bias, _ = drawn()
    bias -= 13
    pre = torch.addmm(bias, x, encoder.t())
    assert 0 < int((pre > 0).sum()) < 5 * N
    found = top_of_batch(form, x, encoder, bias, 5 * N)
    assert found is not None and torch.equal(found[0].dense(found[1]) > 0, pre > 0)


def test_top_of_batch_lowers_a_guess_that_was_too_high(form):
    x, encoder, bias, _ = drawn(640)
    x[::10] *= 3  # the rows that the guess is made from are the loudest
    found = top_of_batch(form, x, encoder, bias, 640)
    dense, _ = keep_largest_of_batch(torch.addmm(bias, x, encoder.t()), 1)
    assert found is not None and torch.equal(found[0].dense(found[1]) > 0, dense > 0)


def test_gradients_equal_those_of_the_dense_pass(form):
    x, encoder, bias, decoder = (tensor.requires_grad_() for tensor in drawn())
    centre = torch.linspace(-1, 1, D, requires_grad=True)
    leaves = (x, encoder, bias, decoder, centre)
    target = torch.randn(N, D, generator=torch.Generator().manual_seed(5))
    entries, found = top_k(form, (x - centre).detach(), encoder, bias, K)
    pre = encoded(form, entries, found, x, encoder, bias, centre)
    values = pre.relu()
    loss = (decoded(form, entries, values, decoder) - target).square().mean() + 0.1 * values.sum() + pre.square().sum()
    dense = torch.addmm(bias, x - centre, encoder.t())
    mask = entries.dense(torch.ones_like(found))
    codes = dense.relu() * mask
    plain = (codes @ decoder - target).square().mean() + 0.1 * codes.sum() + (dense * mask).square().sum()
    assert_close(loss, plain, rtol=1e-5, atol=1e-5)
    for fast, slow in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(plain, leaves), strict=True):
        assert_close(fast, slow, rtol=1e-5, atol=1e-5 * float(slow.abs().max()))


def test_every_sum_equals_a_loop(form):
    x, rows, _, _ = drawn(6, 9)
    entries = Entries(torch.tensor([0, 2, 2, 5, 6, 6, 8]), torch.tensor([8, 1, 1, 4, 0, 8, 8, 3]), 9)
    values = torch.arange(1.0, 9.0)
    by_token, by_latent, dots, sums = torch.zeros(6, D), torch.zeros(9, D), torch.zeros(8), torch.zeros(9)
    for e, (token, latent) in enumerate(zip(entries.tokens.tolist(), entries.latents.tolist(), strict=True)):
        by_token[token] += values[e] * rows[latent]
        by_latent[latent] += values[e] * x[token]
        dots[e] = x[token] @ rows[latent]
        sums[latent] += values[e]
    assert_close(form.decode_rows(entries, values, rows), by_token)
    assert_close(form.latent_sums(entries, values, x), by_latent)
    assert_close(form.entry_dots(entries, x, rows), dots)
    assert_close(form.latent_totals(entries, values), sums)


def test_the_order_by_latent_is_that_of_a_stable_sort(form):
    x, encoder, bias, _ = drawn()
    entries, values = top_k(form, x, encoder, bias, K)
    form.latent_sums(entries, values, x)
    turned, plain = entries.by_latent, Entries(entries.starts, entries.latents, M).by_latent
    for found, wanted in zip(
        (turned.starts, turned.order, turned.tokens), (plain.starts, plain.order, plain.tokens), strict=True
    ):
        assert torch.equal(found, wanted)


def test_rows_are_made_unit_and_gradients_lose_what_is_along_them(form):
    _, rows, _, gradient = drawn()
    rows[3] = 0
    wanted = torch.nn.functional.normalize(rows, dim=-1)
    lost = gradient - (gradient * wanted).sum(-1, keepdim=True) * wanted
    form.remove_parallel(gradient, rows)
    assert_close(gradient, lost, rtol=1e-5, atol=1e-5)
    form.unit_rows(rows)
    assert_close(rows, wanted, rtol=1e-6, atol=1e-6)


def test_batches_joined_are_one_batch(form):
    x, encoder, bias, _ = drawn()
    whole, values = top_k(form, x, encoder, bias, K)
    parts = [top_k(form, part, encoder, bias, K) for part in x.split(33)]
    joined = Entries.cat([entries for entries, _ in parts])
    assert torch.equal(joined.starts, whole.starts)
    assert_close(joined.dense(torch.cat([part for _, part in parts])), whole.dense(values), rtol=1e-5, atol=1e-5)


def test_no_tokens_are_no_entries(form):
    _, encoder, bias, decoder = drawn()
    entries, values = top_k(form, torch.empty(0, D), encoder, bias, K)
    assert len(values) == 0 and decoded(form, entries, values, decoder).shape == (0, D)
    found = above(form, torch.empty(0, D), encoder, bias, bias)
    assert found is not None and len(found[1]) == 0


def test_an_unknown_form_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"unknown kernels 'fast'\. Known: plain, stock, numba, triton"):
        get_form("fast")
    assert get_form("plain") is None


def test_gradient_memory_is_used_again_only_when_nothing_holds_it():
    compiled = get_form("numba")
    x, encoder, bias, _ = drawn()
    entries, values = top_k(compiled, x, encoder, bias, K)
    first = compiled.latent_sums(entries, values, x)
    kept, place = first.clone(), first.data_ptr()
    second = compiled.latent_sums(entries, -values, x)
    assert second.data_ptr() != place and torch.equal(first, kept)
    view = first[3]
    del first
    third = compiled.latent_sums(entries, 2 * values, x)
    assert third.data_ptr() != place and torch.equal(view, kept[3])
    del view
    assert compiled.latent_sums(entries, values, x).data_ptr() == place

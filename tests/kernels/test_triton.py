"""The Triton kernels against the stock form, in Triton's interpreter; with TRITON_INTERPRET=0 on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("triton", reason="triton is not installed (wheels are for Linux); pip install 'pellucid[gpu]'")

from triton.runtime.interpreter import InterpretedFunction

from pellucid.dictionaries import make_dictionary
from pellucid.dictionaries.topk import TopKConfig
from pellucid.kernels import gpu, stock
from pellucid.kernels.entries import Entries
from pellucid.kernels.gpu import machine, rows, select, sums
from pellucid.kernels.sparse import above, decoded, encoded, top_k, top_of_batch

DEVICE = "cpu" if machine.interpreted() else "cuda"
NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Several rows a program, and the interpreter set up once a kernel, not at each call of a function within it."""
    monkeypatch.setattr(select, "COLLECTED", 8)
    monkeypatch.setattr(rows, "ROWS", 8)
    monkeypatch.setattr(select, "GROUPS", 16)
    monkeypatch.setattr(select, "TILE", 128)
    monkeypatch.setattr(select, "FEWEST", 8)
    if not machine.interpreted():
        return
    slow, known = InterpretedFunction.__call__, set()

    def call(self, *args, **kwargs):
        if self.fn in known:
            return self.rewrite()(*args, **kwargs)
        known.add(self.fn)
        return slow(self, *args, **kwargs)

    monkeypatch.setattr(InterpretedFunction, "__call__", call)


def drawn(*shapes, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator).to(DEVICE, dtype) for shape in shapes]


def some_entries(counts, m, seed=0):
    """Entries of tokens with so many latents each, drawn without repetition, latent 1 nowhere and latent 2 first."""
    generator = torch.Generator().manual_seed(seed)
    others = torch.tensor([i for i in range(m) if i not in (1, 2)])
    rows = [torch.cat([torch.tensor([2]), others[torch.randperm(m - 2, generator=generator)]])[:n] for n in counts]
    starts = torch.tensor([0, *counts]).cumsum(0)
    return Entries(starts.to(DEVICE), torch.cat(rows).to(DEVICE), m)


def sorted_rows(indices, values):
    order = indices.argsort(dim=-1)
    return indices.gather(1, order), values.gather(1, order)


def of_stable_sort(pre, k):
    """The k largest of each row; of equal ones the lower index survives."""
    values, indices = pre.sort(dim=-1, descending=True, stable=True)
    return sorted_rows(indices[:, :k], values[:, :k])


@pytest.mark.parametrize(("c", "m", "k"), [(3, 5, 1), (9, 70, 3), (2, 33, 33), (2, 200, 70)])
def test_top_rows_are_those_of_the_stock_form(c, m, k):
    pre, bias = drawn((c, m), (m,))
    found, wanted = gpu.top_rows(pre, bias, k), sorted_rows(*stock.top_rows(pre, bias, k))
    assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[1])


def test_top_rows_of_ties_keep_the_lower_latents():
    generator = torch.Generator().manual_seed(0)
    pre = torch.randint(-2, 3, (6, 150), generator=generator).float().to(DEVICE)
    pre[4], pre[5] = 0, -INF
    pre[4, ::2] *= -1  # +0 and -0 are equal
    bias = torch.zeros(150, device=DEVICE)
    for k in (3, 40):  # few candidates; more than there is room for
        indices, values = gpu.top_rows(pre, bias, k)
        wanted = of_stable_sort(pre, k)
        assert torch.equal(indices, wanted[0]) and torch.equal(values, wanted[1])


def test_a_row_whose_largest_fall_into_one_group_is_searched_whole():
    (pre,) = drawn((2, 200))
    pre[0, ::16] += 100  # 13 numbers of one group of 16: the other maxima are low, and all 13 exceed them
    indices, values = gpu.top_rows(pre, torch.zeros(200, device=DEVICE), 3)
    wanted = of_stable_sort(pre, 3)
    assert torch.equal(indices, wanted[0]) and torch.equal(values, wanted[1])


def test_top_rows_search_whole_rows_for_a_large_k(monkeypatch):
    monkeypatch.setattr(select, "LARGEST_K", 4)
    pre, bias = drawn((3, 90), (90,))
    pre[1, 3] = NAN
    indices, values = gpu.top_rows(pre, bias, 7)
    assert values[1].isnan().all()
    wanted = of_stable_sort(pre + bias, 7)
    for row in (0, 2):
        assert torch.equal(indices[row], wanted[0][row]) and torch.equal(values[row], wanted[1][row])


def test_top_rows_give_back_nan_and_infinities():
    (pre,) = drawn((4, 50))
    pre[0, 17], pre[1, 3], pre[2, :], pre[3, 9] = NAN, INF, -INF, -NAN
    pre[2, 40] = 1.5
    indices, values = gpu.top_rows(pre, torch.zeros(50, device=DEVICE), 4)
    assert values[[0, 3]].isnan().all()
    assert all(len(set(row.tolist())) == 4 for row in indices)
    wanted = of_stable_sort(pre, 4)
    for row in (1, 2):
        assert torch.equal(indices[row], wanted[0][row]) and torch.equal(values[row], wanted[1][row])


def test_above_rows_are_those_of_the_stock_form():
    pre, bias = drawn((5, 75), (75,))
    least = torch.linspace(0, 2, 75, device=DEVICE)
    pre[1, 4], pre[1, 5], pre[2, 6] = NAN, INF, -INF
    pre[3] = -INF
    for one, other in zip(gpu.above_rows(pre, bias, least), stock.above_rows(pre, bias, least), strict=True):
        assert torch.equal(one, other)
    counts, latents, values = gpu.above_rows(pre[3:4], bias, least)
    assert counts.tolist() == [0] and len(latents) == len(values) == 0


@pytest.mark.parametrize(("counts", "m", "d"), [([3, 0, 5, 1], 7, 1), ([0, 9, 20, 4, 0], 23, 130)])
def test_every_sum_is_that_of_the_stock_form(counts, m, d):
    entries = some_entries(counts, m)
    x, rows, values = drawn((len(counts), d), (m, d), (sum(counts),))
    for name, given in (("decode_rows", (values, rows)), ("latent_sums", (values, x)), ("entry_dots", (x, rows))):
        found, wanted = getattr(gpu, name)(entries, *given), getattr(stock, name)(entries, *given)
        assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert not gpu.latent_sums(entries, values, x)[1].any()
    assert_close(gpu.latent_totals(entries, values), stock.latent_totals(entries, values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("piece", [4, 5])
def test_latents_and_tokens_with_many_entries_are_summed_in_pieces(piece, monkeypatch):
    monkeypatch.setattr(sums, "PIECE", piece)
    counts = [1, 9, 2, 0, 4, 21, 5, 10, 1]  # heavy ones begin within a piece, at its edge, and end within the next
    entries = some_entries(counts, 22)
    assert int((entries.latents == 2).sum()) == 8
    x, rows, values = drawn((9, 3), (22, 3), (sum(counts),))
    assert_close(gpu.decode_rows(entries, values, rows), stock.decode_rows(entries, values, rows), rtol=1e-5, atol=1e-5)
    assert_close(gpu.latent_sums(entries, values, x), stock.latent_sums(entries, values, x), rtol=1e-5, atol=1e-5)


def test_pieces_that_begin_at_their_edge(monkeypatch):
    monkeypatch.setattr(sums, "PIECE", 4)
    for counts in ([8, 8, 5], [4, 12, 3], [3, 5], [16]):
        entries = some_entries(counts, 17)
        rows, values = drawn((17, 2), (sum(counts),))
        assert_close(gpu.decode_rows(entries, values, rows), stock.decode_rows(entries, values, rows), rtol=1e-5, atol=1e-5)


def test_no_entries_are_zeros():
    entries = some_entries([0, 0], 5)
    x, rows, none = drawn((2, 3), (5, 3), (0,))
    assert not gpu.decode_rows(entries, none, rows).any() and not gpu.latent_sums(entries, none, x).any()
    assert gpu.entry_dots(entries, x, rows).shape == (0,)


def test_operands_need_not_be_contiguous():
    entries = some_entries([3, 0, 5, 1], 7)
    x, rows, values = (tensor.t() for tensor in drawn((6, 4), (6, 7), (9,)))
    assert_close(gpu.decode_rows(entries, values, rows), stock.decode_rows(entries, values, rows.contiguous()))
    assert_close(gpu.entry_dots(entries, x, rows), stock.entry_dots(entries, x, rows))
    gradient, (wanted,) = rows.clone().t().contiguous().t() + 1, drawn((7, 6), seed=1)
    wanted = gradient.contiguous()
    gpu.remove_parallel(gradient, rows)
    stock.remove_parallel(wanted, rows)
    assert gradient.stride() == (1, 7)
    assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("m", "d"), [(1, 1), (6, 300)])
def test_row_operations_are_those_of_the_stock_form(m, d):
    rows, gradient = drawn((m, d), (m, d))
    rows[m // 2] = 0
    mine, stocks = (rows.clone(), gradient.clone()), (rows.clone(), gradient.clone())
    for form, (own, slope) in ((gpu, mine), (stock, stocks)):
        form.remove_parallel(slope, own)
        form.unit_rows(own)
    assert_close(mine, stocks, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "ulp"), [(torch.bfloat16, 2**-7), (torch.float16, 2**-10)])
def test_half_precision_is_summed_in_float32(dtype, ulp):
    """To one unit in the last place: the interpreter cuts bfloat16 where a GPU rounds."""
    entries = some_entries([3, 0, 5, 1], 7)
    x, rows, values, pre = drawn((4, 40), (7, 40), (9,), (3, 60), dtype=dtype)
    for name, given in (("decode_rows", (values, rows)), ("latent_sums", (values, x)), ("entry_dots", (x, rows))):
        found = getattr(gpu, name)(entries, *given)
        assert found.dtype == dtype
        exact = getattr(stock, name)(entries, *(tensor.float() for tensor in given))
        assert_close(found.float(), exact, rtol=ulp, atol=1e-6)
    indices, kept = gpu.top_rows(pre, torch.zeros(60, dtype=dtype, device=DEVICE), 5)
    wanted = of_stable_sort(pre, 5)
    assert torch.equal(indices, wanted[0]) and torch.equal(kept, wanted[1])


def test_results_are_the_same_to_the_last_bit_each_time():
    entries = some_entries([9, 20, 4, 30], 33)
    x, rows, values = drawn((4, 20), (33, 20), (63,))
    for name, given in (("decode_rows", (values, rows)), ("latent_sums", (values, x)), ("entry_dots", (x, rows))):
        assert torch.equal(getattr(gpu, name)(entries, *given), getattr(gpu, name)(entries, *given))


def test_gradients_are_those_of_the_stock_form():
    n, m, d, k = 11, 37, 9, 3
    gradients = []
    for form in (gpu, stock):
        x, encoder, bias, decoder, target = drawn((n, d), (m, d), (m,), (m, d), (n, d))
        centre = torch.linspace(-1, 1, d, device=DEVICE)
        leaves = [tensor.requires_grad_() for tensor in (x, encoder, bias, decoder, centre)]
        entries, found = top_k(form, (x - centre).detach(), encoder, bias, k)
        values = encoded(form, entries, found, x, encoder, bias, centre).relu()
        loss = (decoded(form, entries, values, decoder) - target).square().mean() + 0.1 * values.sum()
        gradients.append(torch.autograd.grad(loss, leaves))
    for mine, wanted in zip(*gradients, strict=True):
        assert_close(mine, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_selection_over_a_batch_is_that_of_the_stock_form():
    x, encoder, bias = drawn((20, 6), (150, 6), (150,))
    least = torch.full((150,), 6.0, device=DEVICE)
    for select_from, bound in ((above, least), (top_of_batch, 40)):
        mine, wanted = select_from(gpu, x, encoder, bias, bound), select_from(stock, x, encoder, bias, bound)
        assert mine is not None and wanted is not None and len(mine[1]) >= 20
        assert torch.equal(mine[0].starts, wanted[0].starts) and torch.equal(mine[0].latents, wanted[0].latents)
        assert torch.equal(mine[1], wanted[1])


def test_losses_over_50_steps_agree_to_a_ten_thousandth():
    n, m, d = 4, 8, 5
    (batches,) = drawn((4, n, d))
    losses = []
    for form in (gpu, stock):
        config = TopKConfig(n_latents=m, k=2)
        dictionary = make_dictionary(config, d, torch.Generator().manual_seed(0), batches[0].cpu()).to(DEVICE)
        dictionary.form = form
        optimizer = torch.optim.Adam(dictionary.parameters(), lr=1e-2)
        losses.append([])
        for step in range(50):
            x = batches[step % len(batches)]
            loss = (dictionary(x).reconstruction - x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            dictionary.before_step()
            optimizer.step()
            dictionary.after_step()
            losses[-1].append(loss.item())
    assert losses[0][-1] < losses[0][0] / 2
    assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-4, atol=0)

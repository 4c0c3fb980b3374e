"""The sparse kernels compiled for the CPU with numba: float32, one pass over the data each.

Every sum runs over its entries in the order by token, so results do not depend on the number of threads.
"""

from __future__ import annotations

import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from torch import Tensor

from pellucid.kernels.entries import ByLatent, Entries
from pellucid.kernels.stock import latent_totals as latent_totals
from pellucid.kernels.stock import obstacle as obstacle

BLOCK, SMALL_BLOCK = 64, 8
"""Latents whose maximum is taken at once, many or few; only blocks that can hold a survivor are looked into."""
FAST = {"nsz", "arcp", "contract", "reassoc"}
"""Lets sums and maxima use vector registers. Infinities and NaN keep their meaning: the loops below test for them."""


def top_rows(pre: Float[Tensor, "c m"], bias: Float[Tensor, " m"], k: int) -> tuple[Int[Tensor, "c k"], Float[Tensor, "c k"]]:
    """Return indices and values of the k largest entries of each row of pre + bias, in no particular order.

    Equal values: the lower index survives. A row that holds NaN comes back as NaN, so that nothing goes on with it.
    """
    indices, values = torch.empty(len(pre), k, dtype=torch.int64), torch.empty(len(pre), k)
    block = BLOCK if pre.shape[1] > k * BLOCK else SMALL_BLOCK  # else all of 512 latents were looked into for k = 16
    _top_rows(pre.numpy(), bias.detach().numpy(), k, block, indices.numpy(), values.numpy())
    return indices, values


def above_rows(
    pre: Float[Tensor, "c m"], bias: Float[Tensor, " m"], least: Float[Tensor, " m"]
) -> tuple[Int[Tensor, " c"], Int[Tensor, " e"], Float[Tensor, " e"]]:
    """Return how many entries of each row of pre + bias exceed `least`, their latents and their values."""
    counts = torch.empty(len(pre), dtype=torch.int64)
    arrays = pre.numpy(), bias.detach().numpy(), least.detach().numpy()
    _count_above(*arrays, counts.numpy())
    ends = counts.cumsum(0)
    found = int(ends[-1]) if len(ends) else 0
    latents, values = torch.empty(found, dtype=torch.int64), torch.empty(found)
    _take_above(*arrays, (ends - counts).numpy(), latents.numpy(), values.numpy())
    return counts, latents, values


def decode_rows(entries: Entries, values: Float[Tensor, " e"], rows: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """Return for each token the sum over its entries of value * rows[latent]."""
    out = torch.empty(entries.n_tokens, rows.shape[-1])
    arrays = _arrays(entries.starts, entries.latents, values, rows)
    _weighted_sums(*arrays, out.numpy())
    return out


def latent_sums(entries: Entries, values: Float[Tensor, " e"], x: Float[Tensor, "n d"]) -> Float[Tensor, "m d"]:
    """Return for each latent the sum over its entries of value * x[token]."""
    turned = by_latent(entries)
    out = _reused(entries.n_latents, x.shape[-1])
    _weighted_sums(*_arrays(turned.starts, turned.tokens, values[turned.order], x), out.numpy())
    return out


def entry_dots(entries: Entries, x: Float[Tensor, "n d"], rows: Float[Tensor, "m d"]) -> Float[Tensor, " e"]:
    """Return x[token] . rows[latent] for each entry."""
    out = torch.empty(len(entries.latents))
    _entry_dots(*_arrays(entries.starts, entries.latents, x, rows), out.numpy())
    return out


def remove_parallel(gradient: Float[Tensor, "m d"], rows: Float[Tensor, "m d"]) -> None:
    """Remove from each row of the gradient, in place, its component along the same row of `rows`; zero rows change nothing."""
    _remove_parallel(gradient.numpy(), rows.detach().numpy())


def unit_rows(rows: Float[Tensor, "m d"]) -> None:
    """Scale each row to unit length, in place."""
    _unit_rows(rows.detach().numpy())


def by_latent(entries: Entries) -> ByLatent:
    """Return the entries ordered by latent, by counting, and keep them with the entries."""
    if "by_latent" not in entries.__dict__:
        e = len(entries.latents)
        starts = torch.zeros(entries.n_latents + 1, dtype=torch.int64)
        order, tokens = torch.empty(e, dtype=torch.int64), torch.empty(e, dtype=torch.int64)
        arrays = _arrays(entries.starts, entries.latents, starts, order, tokens)
        _turn(*arrays)
        entries.__dict__["by_latent"] = ByLatent(starts, order, tokens)
    return entries.by_latent


_held: OrderedDict[tuple[int, int], list[np.ndarray]] = OrderedDict()
_SHAPES = 4
"""Shapes whose memory is kept at most."""


def _reused(m: int, d: int) -> Tensor:
    """Return a tensor [m, d] over memory of an earlier one that is gone, if there is one.

    Gradients of encoder and decoder come and go every step. Left to the heap, smaller tensors settle in the gaps and it
    grows by a few of them: 760 to 840 MB instead of about 700 at 18,432 latents.
    """
    arrays = _held.setdefault((m, d), [])
    _held.move_to_end((m, d))
    if len(_held) > _SHAPES:
        _held.popitem(last=False)
    for array in arrays:
        if sys.getrefcount(array) == 3:  # the list, this loop and the call: no tensor
            return torch.from_numpy(array)
    arrays.append(np.empty((m, d), np.float32))
    return torch.from_numpy(arrays[-1])


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)


def compiled(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """Compile a function on its first call and keep the machine code on disk; wrappers that check annotations come off."""
    return lambda function: numba.njit(cache=True, nogil=True, **options)(inspect.unwrap(function))


@compiled(parallel=True, fastmath=FAST)
def _top_rows(pre: Any, bias: Any, k: Any, block: Any, out_indices: Any, out_values: Any) -> None:
    n, m = pre.shape
    blocks = (m + block - 1) // block
    for r in prange(n):
        row = pre[r]
        maxima = np.empty(blocks, np.float32)
        total = np.float32(0)
        for b in range(m // block):
            best = np.float32(-np.inf)
            for j in range(b * block, (b + 1) * block):
                value = row[j] + bias[j]
                total += value
                best = max(best, value)
            maxima[b] = best
        if m % block:
            best = np.float32(-np.inf)
            for j in range(m // block * block, m):
                value = row[j] + bias[j]
                total += value
                best = max(best, value)
            maxima[blocks - 1] = best
        if not np.isfinite(total):
            _top_row_plain(row, bias, k, out_indices[r], out_values[r])
            continue
        # At least k blocks reach the k-th largest maximum, so at least k entries do.
        least = np.partition(maxima, blocks - k)[blocks - k] if blocks >= k else np.float32(-np.inf)
        indices, values, found = np.empty(m, np.int64), np.empty(m, np.float32), 0
        for b in range(blocks):
            if maxima[b] >= least:
                for j in range(b * block, min((b + 1) * block, m)):
                    value = row[j] + bias[j]
                    if value >= least:
                        indices[found] = j
                        values[found] = value
                        found += 1
        _keep_largest(indices[:found], values[:found], k, out_indices[r], out_values[r])


@compiled()
def _top_row_plain(row: Any, bias: Any, k: Any, out_indices: Any, out_values: Any) -> None:
    """A row whose sum is not finite: NaN everywhere if it holds one, else the plain search (sums overflow)."""
    values = row + bias
    if np.isnan(values).any():
        out_indices[:] = np.arange(k)
        out_values[:] = np.nan
    else:
        _keep_largest(np.arange(len(row)), values, k, out_indices, out_values)


@compiled()
def _keep_largest(indices: Any, values: Any, k: Any, out_indices: Any, out_values: Any) -> None:
    least = np.partition(values, len(values) - k)[len(values) - k]
    kept = 0
    for q in range(len(values)):
        if values[q] > least:
            out_indices[kept] = indices[q]
            out_values[kept] = values[q]
            kept += 1
    for q in range(len(values)):
        if kept == k:
            break
        if values[q] == least:
            out_indices[kept] = indices[q]
            out_values[kept] = values[q]
            kept += 1


@compiled(parallel=True, fastmath=FAST)
def _count_above(pre: Any, bias: Any, least: Any, counts: Any) -> None:
    n, m = pre.shape
    for r in prange(n):
        row = pre[r]
        found = np.int32(0)
        for j in range(m):
            found += np.int32(row[j] + bias[j] > least[j])
        counts[r] = found


@compiled(parallel=True)
def _take_above(pre: Any, bias: Any, least: Any, begins: Any, latents: Any, values: Any) -> None:
    n, m = pre.shape
    for r in prange(n):
        row = pre[r]
        place = begins[r]
        for b in range((m + BLOCK - 1) // BLOCK):
            end = min((b + 1) * BLOCK, m)
            some = np.int32(0)
            for j in range(b * BLOCK, end):
                some += np.int32(row[j] + bias[j] > least[j])
            if some:
                for j in range(b * BLOCK, end):
                    value = row[j] + bias[j]
                    if value > least[j]:
                        latents[place] = j
                        values[place] = value
                        place += 1


@compiled(parallel=True, fastmath=FAST)
def _weighted_sums(starts: Any, places: Any, weights: Any, table: Any, out: Any) -> None:
    d = table.shape[1]
    for i in prange(len(starts) - 1):
        total = np.zeros(d, np.float32)
        for e in range(starts[i], starts[i + 1]):
            weight = weights[e]
            if weight != 0:
                row = table[places[e]]
                for j in range(d):
                    total[j] += weight * row[j]
        out[i] = total


@compiled(parallel=True, fastmath=FAST)
def _entry_dots(starts: Any, latents: Any, x: Any, rows: Any, out: Any) -> None:
    d = x.shape[1]
    for t in prange(len(starts) - 1):
        left = x[t]
        for e in range(starts[t], starts[t + 1]):
            right = rows[latents[e]]
            total = np.float32(0)
            for j in range(d):
                total += left[j] * right[j]
            out[e] = total


@compiled()
def _turn(token_starts: Any, latents: Any, starts: Any, order: Any, tokens: Any) -> None:
    for latent in latents:
        starts[latent + 1] += 1
    for i in range(1, len(starts)):
        starts[i] += starts[i - 1]
    place = starts[:-1].copy()
    for t in range(len(token_starts) - 1):
        for e in range(token_starts[t], token_starts[t + 1]):
            at = place[latents[e]]
            order[at] = e
            tokens[at] = t
            place[latents[e]] += 1


@compiled(parallel=True, fastmath=FAST)
def _remove_parallel(gradient: Any, rows: Any) -> None:
    m, d = rows.shape
    for i in prange(m):
        slope, row = gradient[i], rows[i]
        along, length = np.float32(0), np.float32(0)
        for j in range(d):
            along += slope[j] * row[j]
            length += row[j] * row[j]
        along /= max(length, np.float32(1e-24))
        for j in range(d):
            slope[j] -= along * row[j]


@compiled(parallel=True, fastmath=FAST)
def _unit_rows(rows: Any) -> None:
    m, d = rows.shape
    for i in prange(m):
        row = rows[i]
        length = np.float32(0)
        for j in range(d):
            length += row[j] * row[j]
        length = max(np.sqrt(length), np.float32(1e-12))
        for j in range(d):
            row[j] /= length

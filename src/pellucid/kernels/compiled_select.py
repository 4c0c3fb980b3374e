"""Which pre-activations survive, compiled for the CPU with numba: blocks of latents by their maximum, then their entries."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from torch import Tensor

from pellucid.kernels.compiling import FAST, compiled, parallel

BLOCK, SMALL_BLOCK = 64, 8
"""Latents whose maximum is taken at once, many or few; only blocks that can hold a survivor are looked into."""
PIECE = 16
"""Latents of a block that are looked into together where a block's rows are far apart in memory."""
HALVINGS = 12
"""Steps to the k-th largest maximum there, from the span of all."""
LEAST_TILE, MOST_TILE = 16, 256
"""Tokens searched at once where they lie side by side: a cache line at least, rows of 1 KiB at most."""
ROOM = 8
"""Survivors that a token has room for there, times k; a token with more, as when values are equal, is searched alone."""
LATENTS_FIRST = True
"""Reads pre-activations at least as fast where the tokens of a latent lie side by side, as encoder @ x.T leaves them."""


def top_rows(pre: Float[Tensor, "c m"], bias: Float[Tensor, " m"], k: int) -> tuple[Int[Tensor, "c k"], Float[Tensor, "c k"]]:
    """Return indices and values of the k largest entries of each row of pre + bias, in no particular order.

    Rows of `pre` or its columns are contiguous. Equal values: the lower index survives. A row that holds NaN comes back as NaN,
    so that nothing goes on with it.
    """
    c, m = pre.shape
    indices, values = torch.empty(c, k, dtype=torch.int64), torch.empty(c, k)
    block = BLOCK if m > k * BLOCK else SMALL_BLOCK  # else all of 512 latents were looked into for k = 16
    out = indices.numpy(), values.numpy()
    if pre.stride(0) == 1 and c > 1:
        tile = max(LEAST_TILE, min(MOST_TILE, -(-c // numba.get_num_threads())))
        _top_columns(pre.t().numpy(), bias.detach().numpy(), k, block, tile, min(m, ROOM * k), *out)
    else:
        _top_rows(pre.numpy(), bias.detach().numpy(), k, block, *out)
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


@parallel(fastmath=FAST)
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


@parallel(fastmath=FAST)
def _top_columns(pre: Any, bias: Any, k: Any, block: Any, tile: Any, room: Any, out_indices: Any, out_values: Any) -> None:
    """`_top_rows` of pre.T: tokens lie side by side, so `tile` of them are searched at once, and may have `room` survivors."""
    m, n = pre.shape
    small = min(PIECE, block)
    pieces, each, blocks = (m + small - 1) // small, block // small, (m + block - 1) // block
    for p in prange((n + tile - 1) // tile):
        first = p * tile
        width = min(tile, n - first)
        inner, outer = np.full((pieces, width), -np.inf, np.float32), np.full((blocks, width), -np.inf, np.float32)
        total = np.zeros(width, np.float32)
        for i in range(pieces):
            _fold(pre, bias, i * small, min((i + 1) * small, m), first, inner[i], total)
            for t in range(width):
                outer[i // each, t] = max(outer[i // each, t], inner[i, t])
        least = _edges(outer, k)
        indices, values = np.empty((width, room), np.int64), np.empty((width, room), np.float32)
        found = np.zeros(width, np.int64)
        for b in range(blocks):
            for t in range(width):
                if outer[b, t] >= least[t]:
                    for i in range(b * each, min((b + 1) * each, pieces)):
                        if inner[i, t] >= least[t]:
                            begin, end = i * small, min((i + 1) * small, m)
                            found[t] = _take(pre, bias, begin, end, first + t, least[t], indices[t], values[t], found[t])
        for t in range(width):
            at = first + t
            if np.isfinite(total[t]) and found[t] <= room:
                _keep_largest(indices[t, : found[t]], values[t, : found[t]], k, out_indices[at], out_values[at])
            else:
                _top_row_plain(pre[:, at].copy(), bias, k, out_indices[at], out_values[at])


@compiled(fastmath=FAST)
def _edges(maxima: Any, k: Any) -> Any:
    """Return for each column a number that at least k of its entries reach, and hardly more: all columns halve at once."""
    blocks, width = maxima.shape
    low, high = np.full(width, -np.inf, np.float32), np.empty(width, np.float32)
    if blocks < k:
        return low
    low[:] = maxima[0]
    high[:] = maxima[0]
    for b in range(1, blocks):
        for t in range(width):
            low[t] = min(low[t], maxima[b, t])
            high[t] = max(high[t], maxima[b, t])
    middle, reached = np.empty(width, np.float32), np.empty(width, np.int32)
    for _ in range(HALVINGS):
        for t in range(width):
            middle[t] = low[t] * np.float32(0.5) + high[t] * np.float32(0.5)
            reached[t] = 0
        for b in range(blocks):
            for t in range(width):
                reached[t] += np.int32(maxima[b, t] >= middle[t])
        for t in range(width):
            if reached[t] >= k:
                low[t] = middle[t]
            else:
                high[t] = middle[t]
    return low


@compiled()
def _take(pre: Any, bias: Any, begin: Any, end: Any, column: Any, least: Any, indices: Any, values: Any, found: Any) -> Any:
    """Write down a column's entries in [begin, end) from `least` on, as far as there is room; return how many were found."""
    for j in range(begin, end):
        value = pre[j, column] + bias[j]
        if value >= least:
            if found < len(indices):
                indices[found] = j
                values[found] = value
            found += 1
    return found


@compiled(fastmath=FAST)
def _fold(pre: Any, bias: Any, begin: Any, end: Any, first: Any, best: Any, total: Any) -> None:
    """Take rows [begin, end) of pre + bias into the running maxima and sums of the columns from `first` on, four at once."""
    last = first + len(best)
    quads = begin + (end - begin) // 4 * 4
    for j in range(begin, quads, 4):
        a, b, c, d = pre[j, first:last], pre[j + 1, first:last], pre[j + 2, first:last], pre[j + 3, first:last]
        to_a, to_b, to_c, to_d = bias[j], bias[j + 1], bias[j + 2], bias[j + 3]
        for t in range(len(best)):
            v, w, x, y = a[t] + to_a, b[t] + to_b, c[t] + to_c, d[t] + to_d
            total[t] += (v + w) + (x + y)
            best[t] = max(best[t], max(max(v, w), max(x, y)))
    for j in range(quads, end):
        a, to_a = pre[j, first:last], bias[j]
        for t in range(len(best)):
            v = a[t] + to_a
            total[t] += v
            best[t] = max(best[t], v)


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


@parallel(fastmath=FAST)
def _count_above(pre: Any, bias: Any, least: Any, counts: Any) -> None:
    n, m = pre.shape
    for r in prange(n):
        row = pre[r]
        found = np.int32(0)
        for j in range(m):
            found += np.int32(row[j] + bias[j] > least[j])
        counts[r] = found


@parallel()
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

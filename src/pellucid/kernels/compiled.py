"""The sparse kernels compiled for the CPU with numba: float32, one pass over the data each.

Every sum runs over its entries in the order by token, so results do not depend on the number of threads.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor

from pellucid.kernels.compiled_select import LATENTS_FIRST as LATENTS_FIRST
from pellucid.kernels.compiled_select import above_rows as above_rows
from pellucid.kernels.compiled_select import top_rows as top_rows
from pellucid.kernels.compiling import FAST, compiled, parallel
from pellucid.kernels.entries import ByLatent, Entries
from pellucid.kernels.stock import latent_totals as latent_totals
from pellucid.kernels.stock import obstacle as obstacle


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


@parallel(fastmath=FAST)
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


@parallel(fastmath=FAST)
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


@parallel(fastmath=FAST)
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


@parallel(fastmath=FAST)
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

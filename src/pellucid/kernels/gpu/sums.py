"""Sums over the entries of a token or of a latent, and dot products of entries: gathers, never atomics.

A program sums one token's or latent's entries for a slice of the columns, PIECE entries at most. The entries of whoever
has more (a latent that is active everywhere would hold up all the others) are cut at multiples of PIECE, summed piece by
piece by programs of their own and joined in order by a third kernel: no sum depends on which program came first.
"""

from __future__ import annotations

import torch
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from triton import cdiv

from pellucid.kernels.entries import Entries
from pellucid.kernels.gpu.launch import block, kernel, start

PIECE = 256
"""Entries that one program sums at most."""
SUMMED, DOTS = 8, 16
"""Entries whose rows are loaded together: enough loads in flight to hide the memory's latency. A latent has about 7."""
WIDEST = 128
"""Columns of a program: a warp loads 16 bytes a lane."""


def decode_rows(entries: Entries, values: Float[Tensor, " e"], rows: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """Return for each token the sum over its entries of value * rows[latent], summed in float32."""
    return _segment_sums(entries.starts, entries.tokens, entries.latents, None, values, rows)


def latent_sums(entries: Entries, values: Float[Tensor, " e"], x: Float[Tensor, "n d"]) -> Float[Tensor, "m d"]:
    """Return for each latent the sum over its entries of value * x[token], summed in float32."""
    turned = entries.by_latent
    return _segment_sums(turned.starts, entries.latents, turned.tokens, turned.order, values, x)


def latent_totals(entries: Entries, values: Float[Tensor, " e"]) -> Float[Tensor, " m"]:
    """Return for each latent the sum of its entries' values, summed in float32."""
    one = values.new_ones(1, 1).expand(entries.n_tokens, 1)
    return latent_sums(entries, values, one).squeeze(-1)


def entry_dots(entries: Entries, x: Float[Tensor, "n d"], rows: Float[Tensor, "m d"]) -> Float[Tensor, " e"]:
    """Return x[token] . rows[latent] for each entry, summed in float32."""
    e, d = len(entries.latents), x.shape[-1]
    out = x.new_empty(e)
    strides = *x.stride(), *rows.stride()
    arrays = entries.tokens, entries.latents, x, rows.detach(), out
    start(_entry_dots, (cdiv(e, DOTS),), x, *arrays, *strides, e, d, ENTRIES=DOTS, WIDTH=block(d, WIDEST))
    return out


def _segment_sums(
    starts: Int[Tensor, " s_plus_1"],
    owners: Int[Tensor, " e"],
    places: Int[Tensor, " e"],
    order: Int[Tensor, " e"] | None,
    values: Float[Tensor, " e"],
    table: Float[Tensor, "t d"],
) -> Float[Tensor, "s d"]:
    """Return for each segment i the sum over e from starts[i] up to starts[i + 1] of value * table[places[e]].

    The value and the owner (the segment) of e are at order[e], or at e if there is no order.
    """
    segments, (e, d) = len(starts) - 1, (len(places), table.shape[-1])
    out = table.new_empty(segments, d)
    values, table = values.detach().contiguous(), table.detach()
    arrays = starts, places, places if order is None else order, values, table
    options = {"TURNED": order is not None, "PIECE": PIECE, "ENTRIES": SUMMED, "WIDTH": block(d, WIDEST)}
    slices = cdiv(d, options["WIDTH"])
    start(_sum_light, (segments, slices), table, *arrays, out, *table.stride(), d, **options)
    if e > PIECE:  # else none is heavy
        partial = torch.empty(2 * cdiv(e, PIECE), d, dtype=torch.float32, device=table.device)
        pieces = cdiv(e, PIECE), slices
        start(_sum_pieces, pieces, table, *arrays, owners, partial, *table.stride(), e, d, **options)
        turned = {name: options[name] for name in ("TURNED", "PIECE", "WIDTH")}
        start(_join_pieces, pieces, table, starts, arrays[2], owners, partial, out, e, d, **turned)
    return out


@kernel
def _sum_light(
    starts: tl.tensor,
    places: tl.tensor,
    order: tl.tensor,
    values: tl.tensor,
    table: tl.tensor,
    out: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    d: tl.tensor,
    TURNED: tl.constexpr,
    PIECE: tl.constexpr,
    ENTRIES: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    """Sum the entries of a segment that has PIECE of them at most."""
    segment = tl.program_id(0).to(tl.int64)
    begin, end = tl.load(starts + segment), tl.load(starts + segment + 1)
    columns = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    if end - begin <= PIECE:
        total = _sum(begin, end, places, order, values, table, down, across, columns, d, TURNED, ENTRIES, WIDTH)
        tl.store(out + segment * d + columns, total.to(out.dtype.element_ty), mask=columns < d)


@kernel
def _sum_pieces(
    starts: tl.tensor,
    places: tl.tensor,
    order: tl.tensor,
    values: tl.tensor,
    table: tl.tensor,
    owners: tl.tensor,
    partial: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    e: tl.tensor,
    d: tl.tensor,
    TURNED: tl.constexpr,
    PIECE: tl.constexpr,
    ENTRIES: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    """Sum what heavy segments have among PIECE entries in a row.

    A heavy segment fills more than a piece, so only those of the first and the last entry can be: partial[2 * piece] is
    of the first one's, partial[2 * piece + 1] of the last one's where that is another.
    """
    piece = tl.program_id(0).to(tl.int64)
    first, behind = piece * PIECE, tl.minimum((piece + 1) * PIECE, e)
    columns = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    head = _owner(first, order, owners, TURNED)
    begin, end = tl.load(starts + head), tl.load(starts + head + 1)
    if end - begin > PIECE:
        total = _sum(
            first, tl.minimum(end, behind), places, order, values, table, down, across, columns, d, TURNED, ENTRIES, WIDTH
        )
        tl.store(partial + 2 * piece * d + columns, total, mask=columns < d)
    tail = _owner(behind - 1, order, owners, TURNED)
    begin, end = tl.load(starts + tail), tl.load(starts + tail + 1)
    if (tail != head) & (end - begin > PIECE):
        total = _sum(begin, behind, places, order, values, table, down, across, columns, d, TURNED, ENTRIES, WIDTH)
        tl.store(partial + (2 * piece + 1) * d + columns, total, mask=columns < d)


@kernel
def _join_pieces(
    starts: tl.tensor,
    order: tl.tensor,
    owners: tl.tensor,
    partial: tl.tensor,
    out: tl.tensor,
    e: tl.tensor,
    d: tl.tensor,
    TURNED: tl.constexpr,
    PIECE: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    """Add up the pieces of the heavy segment that begins within a piece; a piece holds the beginning of one at most."""
    piece = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    segment = _owner(tl.minimum((piece + 1) * PIECE, e) - 1, order, owners, TURNED)
    begin, end = tl.load(starts + segment), tl.load(starts + segment + 1)
    if (begin >= piece * PIECE) & (end - begin > PIECE):
        own = tl.where(begin == piece * PIECE, 2 * piece, 2 * piece + 1)
        total = tl.load(partial + own * d + columns, mask=columns < d, other=0)
        for later in range(piece + 1, (end - 1) // PIECE + 1):
            total += tl.load(partial + 2 * later * d + columns, mask=columns < d, other=0)
        tl.store(out + segment * d + columns, total.to(out.dtype.element_ty), mask=columns < d)


@kernel
def _sum(
    begin: tl.tensor,
    end: tl.tensor,
    places: tl.tensor,
    order: tl.tensor,
    values: tl.tensor,
    table: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    columns: tl.tensor,
    d: tl.tensor,
    TURNED: tl.constexpr,
    ENTRIES: tl.constexpr,
    WIDTH: tl.constexpr,
) -> tl.tensor:
    """Return the sum over some entries of value * table[place], for some columns, in float32."""
    total = tl.zeros([ENTRIES, WIDTH], tl.float32)
    for first in range(begin, end, ENTRIES):
        at = first + tl.arange(0, ENTRIES)
        held = at < end
        place = tl.load(places + at, mask=held, other=0)
        source = at
        if TURNED:
            source = tl.load(order + at, mask=held, other=0)
        value = tl.load(values + source, mask=held, other=0).to(tl.float32)
        rows = table + place[:, None] * down + columns[None, :] * across
        total += value[:, None] * tl.load(rows, mask=held[:, None] & (columns < d)[None, :], other=0).to(tl.float32)
    return tl.sum(total, 0)


@kernel
def _owner(entry: tl.tensor, order: tl.tensor, owners: tl.tensor, TURNED: tl.constexpr) -> tl.tensor:
    """Return the segment of an entry."""
    source = entry
    if TURNED:
        source = tl.load(order + entry)
    return tl.load(owners + source)


@kernel
def _entry_dots(
    tokens: tl.tensor,
    latents: tl.tensor,
    x: tl.tensor,
    rows: tl.tensor,
    out: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    rows_down: tl.tensor,
    rows_across: tl.tensor,
    e: tl.tensor,
    d: tl.tensor,
    ENTRIES: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    at = tl.program_id(0).to(tl.int64) * ENTRIES + tl.arange(0, ENTRIES)
    held = at < e
    left = x + tl.load(tokens + at, mask=held, other=0)[:, None] * down
    right = rows + tl.load(latents + at, mask=held, other=0)[:, None] * rows_down
    total = tl.zeros([ENTRIES, WIDTH], tl.float32)
    for first in range(0, d, WIDTH):
        columns = first + tl.arange(0, WIDTH)[None, :]
        mask = held[:, None] & (columns < d)
        one = tl.load(left + columns * across, mask=mask, other=0).to(tl.float32)
        total += one * tl.load(right + columns * rows_across, mask=mask, other=0).to(tl.float32)
    tl.store(out + at, tl.sum(total, 1).to(out.dtype.element_ty), mask=held)

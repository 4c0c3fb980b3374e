"""The survivors of a chunk of pre-activations: the k largest of each row, or all above a bound.

Why the product is not in the kernel. In float32 with IEEE rounding the product of the encoder runs on the GPU's ordinary
units, 2 d operations for each pre-activation, which costs 8 to 12 bytes of memory traffic to write once and read twice: at
d = 576, arithmetic takes 3 to 6 times as long as that traffic on A100 and H100 (19.5 and 67 TFLOP/s, 2.0 and 3.35 TB/s), so a
fused kernel could gain a quarter at the very most. It would lose more: Triton's float32 `dot` with IEEE precision uses no
tensor cores and stays far below cuBLAS. So cuBLAS writes a chunk of rows (`kernels.sparse`; [tokens, latents] never exists
whole), at the precision that PyTorch is set to, and these kernels read it: bias, selection and compaction in one go.

Order. A pre-activation, rounded to its dtype, is compared through a key: its bits turned into an unsigned integer that
grows with the number. +0 and -0 have one key, NaN has the largest, and 0 is that of no number.

The k largest of a row, without sorting it:
1. The row is dealt out to GROUPS groups (a number's place modulo GROUPS); the k-th largest of the groups' maxima is found
   bit by bit, in registers. At least k groups reach it, so at least k numbers do; about k + k^2 / (2 GROUPS) for numbers in
   no special order.
2. Those numbers are written down in the order of their places; the k-th largest of them is found in the same way. What
   exceeds it survives, and of what equals it the lower latents.
3. A row of too many candidates for that (all equal, say), or a k above LARGEST_K, is searched whole, bit by bit.
"""

from __future__ import annotations

import torch
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from triton import cdiv

from pellucid.kernels.gpu.launch import block, kernel, start

GROUPS = 1024
"""Groups of a row, at least; 4 k if that is more."""
LARGEST_K = 1024
"""Largest k that candidates are collected for."""
FEWEST = 64
"""Candidates there is room for, at least; twice k if that is more."""
TILE = 1024
"""Numbers of a row looked at together where there are no groups."""
COLLECTED, PICKED = 1, 4
"""Rows of a program: a row keeps one busy while candidates are collected; picking takes a warp a row."""


def top_rows(pre: Float[Tensor, "c m"], bias: Float[Tensor, " m"], k: int) -> tuple[Int[Tensor, "c k"], Float[Tensor, "c k"]]:
    """Return indices and values of the k largest entries of each row of pre + bias, by index.

    Equal values: the lower index survives. A row that holds NaN comes back as NaN, so that nothing goes on with it.
    """
    c, m = pre.shape
    bias = bias.detach().contiguous()
    room = max(FEWEST, 2 * block(k, LARGEST_K))
    counts = torch.full((c,), room + 1, dtype=torch.int32, device=pre.device)
    indices, values = torch.empty(c, k, dtype=torch.int64, device=pre.device), pre.new_empty(c, k)
    row = pre, bias, *pre.stride(), m
    if k <= LARGEST_K:
        places, keys = (torch.empty(c, room, dtype=torch.int32, device=pre.device) for _ in range(2))
        groups = max(GROUPS, 4 * block(k, LARGEST_K))
        arrays = places, keys, counts, c
        start(_collect, (cdiv(c, COLLECTED),), pre, *row, k, *arrays, ROWS=COLLECTED, ROOM=room, GROUPS=groups)
        start(_pick, (cdiv(c, PICKED),), pre, *arrays, k, indices, values, ROWS=PICKED, ROOM=room)
    start(_search, (c,), pre, *row, counts, k, indices, values, ROOM=room, TILE=TILE)
    return indices, values


def above_rows(
    pre: Float[Tensor, "c m"], bias: Float[Tensor, " m"], least: Float[Tensor, " m"]
) -> tuple[Int[Tensor, " c"], Int[Tensor, " e"], Float[Tensor, " e"]]:
    """Return how many entries of each row of pre + bias exceed `least`, their latents in order, and their values."""
    c, m = pre.shape
    row = pre, bias.detach().contiguous(), *pre.stride(), m, least.detach().contiguous()
    counts = torch.zeros(c, dtype=torch.int64, device=pre.device)
    start(_count_above, (c,), pre, *row, counts, TILE=TILE)
    ends = counts.cumsum(0)
    found = int(ends[-1]) if c else 0
    latents, values = torch.empty(found, dtype=torch.int64, device=pre.device), pre.new_empty(found)
    start(_take_above, (c if found else 0,), pre, *row, ends - counts, latents, values, TILE=TILE)
    return counts, latents, values


@kernel
def _values(pre: tl.tensor, bias: tl.tensor, across: tl.tensor, at: tl.tensor, m: tl.tensor) -> tl.tensor:
    """Return pre + bias at some places of a row, rounded to the dtype of pre, in float32."""
    total = tl.load(pre + at * across, mask=at < m, other=0).to(tl.float32) + tl.load(bias + at, mask=at < m, other=0)
    return total.to(pre.dtype.element_ty).to(tl.float32)


@kernel
def _keys(pre: tl.tensor, bias: tl.tensor, across: tl.tensor, at: tl.tensor, m: tl.tensor) -> tl.tensor:
    """Return the keys of pre + bias at some places of a row; 0 beyond its end."""
    value = _values(pre, bias, across, at, m)
    bits = tl.where(value == 0, 0.0, value).to(tl.uint32, bitcast=True)
    key = tl.where((bits >> 31) == 1, bits ^ 0xFFFFFFFF, bits | 0x80000000)
    key = tl.where(value != value, 0xFFFFFFFF, key)
    return tl.where(at < m, key, 0).to(tl.uint32)


@kernel
def _numbers(key: tl.tensor) -> tl.tensor:
    """Return the float32 numbers that keys stand for."""
    bits = tl.where((key >> 31) == 1, key & 0x7FFFFFFF, key ^ 0xFFFFFFFF).to(tl.uint32)
    return bits.to(tl.float32, bitcast=True)


@kernel
def _edges(keys: tl.tensor, k: tl.tensor) -> tl.tensor:
    """Return the k-th largest key of each row of keys, [rows, 1]: the largest number that k of them reach."""
    edge = tl.full([keys.shape[0], 1], 0, tl.uint32)
    bit = tl.full([1, 1], 0x80000000, tl.uint32)
    for _ in range(32):
        reached = tl.sum((keys >= (edge | bit)).to(tl.int32), 1, keep_dims=True)
        edge = tl.where(reached >= k, edge | bit, edge)
        bit = bit >> 1
    return edge


@kernel
def _collect(
    pre: tl.tensor,
    bias: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    m: tl.tensor,
    k: tl.tensor,
    places: tl.tensor,
    keys: tl.tensor,
    counts: tl.tensor,
    c: tl.tensor,
    ROWS: tl.constexpr,
    ROOM: tl.constexpr,
    GROUPS: tl.constexpr,
) -> None:
    """Write down the candidates of some rows, ROOM at most of each, and how many there are."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    pre += tl.minimum(row, c - 1) * down
    lanes = tl.arange(0, GROUPS)[None, :]
    best = tl.zeros([ROWS, GROUPS], tl.uint32)
    for first in range(0, m, GROUPS):
        best = tl.maximum(best, _keys(pre, bias, across, first + lanes, m))
    bound = _edges(best, k)
    count = tl.zeros([ROWS, 1], tl.int32)
    for first in range(0, m, GROUPS):
        key = _keys(pre, bias, across, first + lanes, m)
        found = (key >= bound).to(tl.int32)
        more = tl.sum(found, 1, keep_dims=True)
        if tl.max(more) > 0:
            place = count + tl.cumsum(found, 1) - 1
            fits = (key >= bound) & (place < ROOM) & (row < c)
            tl.store(places + row * ROOM + place, tl.broadcast_to(first + lanes, key.shape), mask=fits)
            tl.store(keys + row * ROOM + place, key.to(tl.int32, bitcast=True), mask=fits)
        count += more
    tl.store(counts + row, count, mask=row < c)


@kernel
def _pick(
    places: tl.tensor,
    keys: tl.tensor,
    counts: tl.tensor,
    c: tl.tensor,
    k: tl.tensor,
    out_indices: tl.tensor,
    out_values: tl.tensor,
    ROWS: tl.constexpr,
    ROOM: tl.constexpr,
) -> None:
    """Keep the k largest of the candidates of some rows, where they are all there."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    count = tl.load(counts + row, mask=row < c, other=ROOM + 1)
    lanes = tl.arange(0, ROOM)[None, :]
    held = (lanes < count) & (count <= ROOM)
    key = tl.load(keys + row * ROOM + lanes, mask=held, other=0).to(tl.uint32, bitcast=True)
    edge = _edges(key, k)
    over, tied = (key > edge) & held, (key == edge) & held
    room = k - tl.sum(over.to(tl.int32), 1, keep_dims=True)
    kept = over | (tied & (tl.cumsum(tied.to(tl.int32), 1) <= room))
    at = row * k + tl.cumsum(kept.to(tl.int32), 1) - 1
    value = tl.where(tl.max(key, 1, keep_dims=True) == 0xFFFFFFFF, float("nan"), _numbers(key))
    place = tl.load(places + row * ROOM + lanes, mask=held, other=0).to(tl.int64)
    tl.store(out_indices + at, place, mask=kept)
    tl.store(out_values + at, value.to(out_values.dtype.element_ty), mask=kept)


@kernel
def _search(
    pre: tl.tensor,
    bias: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    m: tl.tensor,
    counts: tl.tensor,
    k: tl.tensor,
    out_indices: tl.tensor,
    out_values: tl.tensor,
    ROOM: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """Keep the k largest of a row whose candidates were too many."""
    row = tl.program_id(0).to(tl.int64)
    if tl.load(counts + row) > ROOM:
        pre += row * down
        lanes = tl.arange(0, TILE)
        edge = tl.full([], 0, tl.uint32)
        bit = tl.full([], 0x80000000, tl.uint32)
        for _ in range(32):
            reached = tl.zeros([TILE], tl.int32)
            for first in range(0, m, TILE):
                reached += (_keys(pre, bias, across, first + lanes, m) >= (edge | bit)).to(tl.int32)
            edge = tl.where(tl.sum(reached, 0) >= k, edge | bit, edge)
            bit = bit >> 1
        over = tl.zeros([TILE], tl.int32)
        best = tl.zeros([TILE], tl.uint32)
        for first in range(0, m, TILE):
            key = _keys(pre, bias, across, first + lanes, m)
            over += (key > edge).to(tl.int32)
            best = tl.maximum(best, key)
        bad = tl.max(best, 0) == 0xFFFFFFFF
        room = k - tl.sum(over, 0)
        written = 0
        ties = 0
        for first in range(0, m, TILE):
            key = _keys(pre, bias, across, first + lanes, m)
            tied = (key == edge).to(tl.int32)
            kept = (key > edge) | ((key == edge) & (ties + tl.cumsum(tied, 0) <= room))
            at = row * k + written + tl.cumsum(kept.to(tl.int32), 0) - 1
            value = tl.where(bad, float("nan"), _numbers(key))
            tl.store(out_indices + at, (first + lanes).to(tl.int64), mask=kept)
            tl.store(out_values + at, value.to(out_values.dtype.element_ty), mask=kept)
            written += tl.sum(kept.to(tl.int32), 0)
            ties += tl.sum(tied, 0)


@kernel
def _count_above(
    pre: tl.tensor,
    bias: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    m: tl.tensor,
    least: tl.tensor,
    counts: tl.tensor,
    TILE: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    found = tl.zeros([TILE], tl.int32)
    for first in range(0, m, TILE):
        at = first + tl.arange(0, TILE)
        bound = tl.load(least + at, mask=at < m, other=float("inf")).to(tl.float32)
        found += (_values(pre + row * down, bias, across, at, m) > bound).to(tl.int32)
    tl.store(counts + row, tl.sum(found, 0).to(tl.int64))


@kernel
def _take_above(
    pre: tl.tensor,
    bias: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    m: tl.tensor,
    least: tl.tensor,
    begins: tl.tensor,
    latents: tl.tensor,
    values: tl.tensor,
    TILE: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    written = tl.load(begins + row)
    for first in range(0, m, TILE):
        at = first + tl.arange(0, TILE)
        bound = tl.load(least + at, mask=at < m, other=float("inf")).to(tl.float32)
        value = _values(pre + row * down, bias, across, at, m)
        found = (value > bound).to(tl.int32)
        more = tl.sum(found, 0)
        if more > 0:
            place = written + tl.cumsum(found, 0) - 1
            tl.store(latents + place, at.to(tl.int64), mask=value > bound)
            tl.store(values + place, value.to(values.dtype.element_ty), mask=value > bound)
        written += more

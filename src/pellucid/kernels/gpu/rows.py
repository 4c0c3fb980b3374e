"""What is done to each row of a matrix: a few rows a program."""

from __future__ import annotations

import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from triton import cdiv

from pellucid.kernels.gpu.launch import block, kernel, start
from pellucid.kernels.stock import LEAST

ROWS, WIDEST = 4, 256
"""Rows of a program, and numbers of each looked at together."""


def remove_parallel(gradient: Float[Tensor, "m d"], rows: Float[Tensor, "m d"]) -> None:
    """Remove from each row of the gradient, in place, its component along the same row of `rows`; zero rows change nothing."""
    m, d = rows.shape
    strides = (*gradient.stride(), *rows.stride())
    options = {"ROWS": ROWS, "WIDTH": block(d, WIDEST)}
    start(_remove_parallel, (cdiv(m, ROWS),), rows, gradient, rows.detach(), *strides, m, d, LEAST, **options)


def unit_rows(rows: Float[Tensor, "m d"]) -> None:
    """Scale each row to unit length, in place."""
    m, d = rows.shape
    start(_unit_rows, (cdiv(m, ROWS),), rows, rows.detach(), *rows.stride(), m, d, ROWS=ROWS, WIDTH=block(d, WIDEST))


@kernel
def _remove_parallel(
    gradient: tl.tensor,
    rows: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    rows_down: tl.tensor,
    rows_across: tl.tensor,
    m: tl.tensor,
    d: tl.tensor,
    least: tl.tensor,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    gradient += row * down
    rows += row * rows_down
    along = tl.zeros([ROWS, WIDTH], tl.float32)
    length = tl.zeros([ROWS, WIDTH], tl.float32)
    for first in range(0, d, WIDTH):
        at = first + tl.arange(0, WIDTH)[None, :]
        held = (row < m) & (at < d)
        left = tl.load(gradient + at * across, mask=held, other=0).to(tl.float32)
        right = tl.load(rows + at * rows_across, mask=held, other=0).to(tl.float32)
        along += left * right
        length += right * right
    share = tl.div_rn(tl.sum(along, 1, keep_dims=True), tl.maximum(tl.sum(length, 1, keep_dims=True), least))
    for first in range(0, d, WIDTH):
        at = first + tl.arange(0, WIDTH)[None, :]
        held = (row < m) & (at < d)
        left = tl.load(gradient + at * across, mask=held, other=0).to(tl.float32)
        right = tl.load(rows + at * rows_across, mask=held, other=0).to(tl.float32)
        tl.store(gradient + at * across, (left - share * right).to(gradient.dtype.element_ty), mask=held)


@kernel
def _unit_rows(
    rows: tl.tensor, down: tl.tensor, across: tl.tensor, m: tl.tensor, d: tl.tensor, ROWS: tl.constexpr, WIDTH: tl.constexpr
) -> None:
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    rows += row * down
    squares = tl.zeros([ROWS, WIDTH], tl.float32)
    for first in range(0, d, WIDTH):
        at = first + tl.arange(0, WIDTH)[None, :]
        value = tl.load(rows + at * across, mask=(row < m) & (at < d), other=0).to(tl.float32)
        squares += value * value
    length = tl.maximum(tl.sqrt_rn(tl.sum(squares, 1, keep_dims=True)), 1e-12)
    for first in range(0, d, WIDTH):
        at = first + tl.arange(0, WIDTH)[None, :]
        held = (row < m) & (at < d)
        value = tl.load(rows + at * across, mask=held, other=0).to(tl.float32)
        tl.store(rows + at * across, tl.div_rn(value, length).to(rows.dtype.element_ty), mask=held)

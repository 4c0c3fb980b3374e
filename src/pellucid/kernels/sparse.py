"""Sparse dictionaries without their dense codes: encoder product by chunks of tokens, then only what survives.

`top_k` and `above` find the survivors; `encoded` and `decoded` carry gradients through them. A dictionary that keeps e
entries of n tokens pays one dense product and some multiples of e * d, forward and backward.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.kernels.entries import Entries
from pellucid.kernels.forms import Form

CHUNK_NUMBERS = 18 << 20
"""Pre-activations held at once, 72 MiB in float32; also at most CHUNK_TOKENS tokens, or TURNED_TOKENS latents first."""
CHUNK_TOKENS, TURNED_TOKENS = 512, 1024
"""A product of 1,024 tokens, latents first, costs per token what one of 4,096 does; of 512, tokens first, 1.2 times that."""
GPU_NUMBERS, GPU_TOKENS = 64 << 20, 4096
"""The same on a GPU, 256 MiB: few tokens leave it partly idle and read a wide encoder often, and it waits after a chunk."""
DENSE_SHARE = 1 / 16
"""Where more than this share of all codes survives, dense products are the faster way."""
SAMPLED, ROOM = 64, 1.5
"""Tokens that the edge of a batch is guessed from, and how many times the wanted survivors the guess aims at."""


@torch.no_grad()
def top_k(
    form: Form, x: Float[Tensor, "n d"], encoder: Float[Tensor, "m d"], bias: Float[Tensor, " m"], k: int
) -> tuple[Entries, Float[Tensor, " e"]]:
    """Return the k largest entries of each row of x @ encoder.T + bias, and their values [n * k]."""
    found = [form.top_rows(pre, bias, k) for pre in _products(x, encoder, form.LATENTS_FIRST)]
    if not found:
        return Entries.of_rows(torch.empty(0, k, dtype=torch.int64, device=x.device), len(encoder)), x.new_empty(0)
    entries = Entries.of_rows(torch.cat([indices for indices, _ in found]), len(encoder))
    return entries, torch.cat([values for _, values in found]).reshape(-1)


@torch.no_grad()
def above(
    form: Form, x: Float[Tensor, "n d"], encoder: Float[Tensor, "m d"], bias: Float[Tensor, " m"], least: Float[Tensor, " m"]
) -> tuple[Entries, Float[Tensor, " e"]] | None:
    """Return the entries of x @ encoder.T + bias that exceed their latent's `least`, and their values.

    None as soon as more than DENSE_SHARE of the codes seen so far survive.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    survivors = seen = 0
    for pre in _products(x, encoder):
        found.append(form.above_rows(pre, bias, least))
        survivors, seen = survivors + len(found[-1][2]), seen + pre.numel()
        if survivors > DENSE_SHARE * seen:
            return None
    starts = torch.zeros(len(x) + 1, dtype=torch.int64, device=x.device)
    if not found:
        return Entries(starts, starts[:0], len(encoder)), x.new_empty(0)
    torch.cumsum(torch.cat([counts for counts, _, _ in found]), 0, out=starts[1:])
    latents = torch.cat([latents for _, latents, _ in found])
    return Entries(starts, latents, len(encoder)), torch.cat([values for _, _, values in found])


@torch.no_grad()
def top_of_batch(
    form: Form, x: Float[Tensor, "n d"], encoder: Float[Tensor, "m d"], bias: Float[Tensor, " m"], count: int
) -> tuple[Entries, Float[Tensor, " e"]] | None:
    """Return the `count` largest of all positive entries of x @ encoder.T + bias, or all if there are fewer.

    Among equal values at the edge those of the lower latent survive, and within a latent those of the earlier row.
    The edge is guessed from a few rows; a guess that leaves too few is lowered until it does not, so the result is exact.
    None where the codes are too dense, as in `above`.
    """
    least = _guessed_edge(x, encoder, bias, count)
    while True:
        found = above(form, x, encoder, bias, bias.new_full(bias.shape, least))
        if found is None or len(found[1]) >= count or least == 0:
            break
        least = least / 2 if least > 1e-6 else 0.0
    if found is None or len(found[1]) <= count:
        return found
    entries, values = found
    edge = values.topk(count, sorted=False).values.min()
    keep = values > edge
    tied = (values == edge).nonzero().squeeze(-1)
    by_latent = tied[torch.argsort(entries.latents[tied], stable=True)]
    keep[by_latent[: count - int(keep.sum())]] = True
    return entries.only(keep), values[keep]


def encoded(
    form: Form,
    entries: Entries,
    values: Float[Tensor, " e"],
    x: Float[Tensor, "n d"],
    encoder: Float[Tensor, "m d"],
    bias: Float[Tensor, " m"],
    centre: Float[Tensor, " d"] | None = None,
) -> Float[Tensor, " e"]:
    """Return `values`, the entries of (x - centre) @ encoder.T + bias found before, as a function of the four."""
    return _Encoded.apply(values, x, encoder, bias, centre, entries, form)


def decoded(form: Form, entries: Entries, values: Float[Tensor, " e"], decoder: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """Return codes @ decoder for the codes that `entries` and `values` stand for."""
    return _Decoded.apply(values, decoder, entries, form)


class _Encoded(torch.autograd.Function):
    """With slope s of an entry: dL/dencoder[i] = sum over its entries of s * (x[token] - centre), dL/dbias[i] = sum of s.

    The centre moves every pre-activation of latent i by -encoder[i], so dL/dcentre = -(dL/dbias) @ encoder.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, x: Tensor, encoder: Tensor, bias: Tensor, centre: Tensor | None, entries: Entries, form: Form
    ) -> Tensor:
        ctx.save_for_backward(x if centre is None else x - centre, encoder)
        ctx.entries, ctx.form = entries, form
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, encoder = ctx.saved_tensors
        entries, form = ctx.entries, ctx.form
        slopes = upstream[0].contiguous()
        to_x = form.decode_rows(entries, slopes, encoder) if ctx.needs_input_grad[1] else None
        to_encoder = form.latent_sums(entries, slopes, x) if ctx.needs_input_grad[2] else None
        to_bias = form.latent_totals(entries, slopes)
        to_centre = -(to_bias @ encoder) if ctx.needs_input_grad[4] else None
        return None, to_x, to_encoder, to_bias, to_centre, None, None


class _Decoded(torch.autograd.Function):
    """dL/dvalue = slope[token] . decoder[latent]; dL/ddecoder[i] = sum over entries of latent i of value * slope[token]."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, decoder: Tensor, entries: Entries, form: Form) -> Tensor:
        ctx.save_for_backward(values, decoder)
        ctx.entries, ctx.form = entries, form
        return form.decode_rows(entries, values, decoder)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        values, decoder = ctx.saved_tensors
        entries, form = ctx.entries, ctx.form
        slopes = upstream[0].contiguous()
        to_values = form.entry_dots(entries, slopes, decoder) if ctx.needs_input_grad[0] else None
        to_decoder = form.latent_sums(entries, values, slopes) if ctx.needs_input_grad[1] else None
        return to_values, to_decoder, None, None


def _guessed_edge(x: Tensor, encoder: Tensor, bias: Tensor, count: int) -> float:
    """Return a value that somewhat more than `count` of the entries should exceed; 0 if that many are not positive."""
    rows = x[:: max(1, len(x) // SAMPLED)]
    pre = torch.addmm(bias, rows, encoder.t()).flatten()
    wanted = min(len(pre), max(1, round(ROOM * count * len(rows) / len(x)))) if len(x) else 0
    return max(0.0, float(pre.topk(wanted, sorted=False).values.min())) if wanted else 0.0


@functools.lru_cache(maxsize=2)
def _workspace(numbers: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " w"]:
    """Return memory that the next step writes over: fresh pages would cost more than the product's own traffic."""
    return torch.empty(numbers, dtype=dtype, device=device)


def _products(
    x: Float[Tensor, "n d"], encoder: Float[Tensor, "m d"], latents_first: bool = False
) -> Iterator[Float[Tensor, "c m"]]:
    """Yield x @ encoder.T chunk by chunk; every chunk is written over the one before, its rows or its columns contiguous."""
    numbers, tokens = (CHUNK_NUMBERS, CHUNK_TOKENS) if x.device.type == "cpu" else (GPU_NUMBERS, GPU_TOKENS)
    tokens = TURNED_TOKENS if latents_first else tokens
    m = len(encoder)
    rows = max(1, min(tokens, numbers // m, len(x)))
    memory = _workspace(max(numbers, m), x.dtype, x.device)  # one for all shapes of a fit
    for part in x.split(rows) if len(x) else ():
        buffer = memory[: len(part) * m]
        if latents_first:
            yield torch.mm(encoder, part.t(), out=buffer.view(m, len(part))).t()
        else:
            yield torch.mm(part, encoder.t(), out=buffer.view(len(part), m))

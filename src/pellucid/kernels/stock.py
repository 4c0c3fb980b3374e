"""The sparse kernels in stock PyTorch operators, for any device and dtype."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from pellucid.kernels.entries import Entries

GATHERED = 1 << 24
"""Numbers gathered at once by `entry_dots`."""
LEAST = 1e-24
"""Squared lengths below this count as it."""
LATENTS_FIRST = False
"""Whether `top_rows` reads pre-activations at least as fast where the tokens of a latent lie side by side."""


def top_rows(pre: Float[Tensor, "c m"], bias: Float[Tensor, " m"], k: int) -> tuple[Int[Tensor, "c k"], Float[Tensor, "c k"]]:
    """Return indices and values of the k largest entries of each row of pre + bias, in no particular order."""
    values, indices = (pre + bias).topk(k, dim=-1, sorted=False)
    return indices, values


def above_rows(
    pre: Float[Tensor, "c m"], bias: Float[Tensor, " m"], least: Float[Tensor, " m"]
) -> tuple[Int[Tensor, " c"], Int[Tensor, " e"], Float[Tensor, " e"]]:
    """Return how many entries of each row of pre + bias exceed `least`, their latents and their values."""
    pre = pre + bias
    found = pre > least
    return found.sum(dim=-1), found.nonzero()[:, 1], pre[found]


def decode_rows(entries: Entries, values: Float[Tensor, " e"], rows: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """Return for each token the sum over its entries of value * rows[latent]."""
    return embedding_bag(entries.latents, rows, entries.starts[:-1], per_sample_weights=values, mode="sum")


def latent_sums(entries: Entries, values: Float[Tensor, " e"], x: Float[Tensor, "n d"]) -> Float[Tensor, "m d"]:
    """Return for each latent the sum over its entries of value * x[token]."""
    turned = entries.by_latent
    return embedding_bag(turned.tokens, x, turned.starts[:-1], per_sample_weights=values[turned.order], mode="sum")


def latent_totals(entries: Entries, values: Float[Tensor, " e"]) -> Float[Tensor, " m"]:
    """Return for each latent the sum of its entries' values, summed in their order."""
    if values.device.type == "cpu":
        return values.new_zeros(entries.n_latents).index_add_(0, entries.latents, values)
    # Elsewhere index_add_ adds in the order of arrival, which no two runs share.
    return latent_sums(entries, values, values.new_ones(entries.n_tokens, 1)).squeeze(-1)


def entry_dots(entries: Entries, x: Float[Tensor, "n d"], rows: Float[Tensor, "m d"]) -> Float[Tensor, " e"]:
    """Return x[token] . rows[latent] for each entry."""
    step = max(1, GATHERED // x.shape[-1])
    pairs = zip(entries.tokens.split(step), entries.latents.split(step), strict=True)
    return torch.cat([torch.linalg.vecdot(x[tokens], rows[latents]) for tokens, latents in pairs])


def remove_parallel(gradient: Float[Tensor, "m d"], rows: Float[Tensor, "m d"]) -> None:
    """Remove from each row of the gradient, in place, its component along the same row of `rows`; zero rows change nothing."""
    along = (gradient * rows).sum(dim=-1, keepdim=True) / rows.square().sum(dim=-1, keepdim=True).clamp_min(LEAST)
    gradient.addcmul_(along, rows, value=-1)


def unit_rows(rows: Float[Tensor, "m d"]) -> None:
    """Scale each row to unit length, in place."""
    rows.div_(torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min(1e-12))


def obstacle() -> str | None:
    """Return what keeps the kernels from running on this machine: nothing does."""
    return None

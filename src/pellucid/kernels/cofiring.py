"""Which latents fire on the same tokens: Jaccard neighbours from sparse entries, without a latents x latents matrix."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.kernels.entries import Entries

PAIRS = 1 << 22
"""Pairs of entries of one token that the plain form holds at once."""


@torch.no_grad()
def cofiring(entries: Entries, k: int) -> tuple[Int[Tensor, "m k"], Float[Tensor, "m k"]]:
    """Return for each latent the k others that share most tokens with it, best first, and how large that share is.

        score(i, j) = tokens on which both have an entry / tokens on which at least one has

    Of equal scores the lower latent comes first. Where fewer than k others share a token: latent -1, score 0. A token
    holds a latent at most once. Time grows with the sum over tokens of (entries of the token)^2, memory with entries and m.
    """
    module = _compiled()
    if module is not None and entries.latents.device.type == "cpu":
        found: tuple[Tensor, Tensor] = module.cofiring(entries, k)
        return found
    return plain_cofiring(entries, k)


@torch.no_grad()
def plain_cofiring(entries: Entries, k: int) -> tuple[Int[Tensor, "m k"], Float[Tensor, "m k"]]:
    """Return what `cofiring` returns, by sorting the pairs of some latents at a time."""
    m, device = entries.n_latents, entries.latents.device
    turned, lengths = entries.by_latent, entries.starts.diff()
    firings = turned.starts.long().diff()
    latents = torch.full((m, k), -1, dtype=torch.int64, device=device)
    scores = torch.zeros(m, k, device=device)
    ends = torch.cat([lengths.new_zeros(1), lengths[turned.tokens].cumsum(0)])[turned.starts.long()].tolist()
    first = 0
    while first < m:
        last = first + 1
        while last < m and ends[last + 1] - ends[first] <= PAIRS:
            last += 1
        i, j = _pairs(entries, first, last)
        keys, shared = torch.unique(i * m + j, return_counts=True)
        i, j = keys // m, keys % m
        i, j, shared = i[i != j], j[i != j], shared[i != j]
        score = shared.double() / (firings[i] + firings[j] - shared)
        order = torch.argsort(score, descending=True, stable=True)
        order = order[torch.argsort(i[order], stable=True)]
        i, j, score = i[order], j[order], score[order]
        place = torch.arange(len(i), device=device) - torch.searchsorted(i, i)
        best = place < k
        latents[i[best], place[best]], scores[i[best], place[best]] = j[best], score[best].float()
        first = last
    return latents, scores


def _pairs(entries: Entries, first: int, last: int) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
    """Return each entry's latent, first up to last, with every latent of the same token."""
    turned = entries.by_latent
    start, stop = int(turned.starts[first]), int(turned.starts[last])
    tokens = turned.tokens[start:stop]
    own = entries.latents[turned.order[start:stop]].long()
    lengths = entries.starts.diff()[tokens]
    before = lengths.cumsum(0) - lengths
    within = torch.arange(int(lengths.sum()), device=own.device) - torch.repeat_interleave(before, lengths)
    others = entries.latents[torch.repeat_interleave(entries.starts[tokens], lengths) + within].long()
    return torch.repeat_interleave(own, lengths), others


@cache
def _compiled() -> ModuleType | None:
    try:
        return importlib.import_module("pellucid.kernels.compiled_cofiring")
    except ImportError:
        return None  # no wheel for this platform: PyTorch's operators do

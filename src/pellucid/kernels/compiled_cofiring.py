"""`kernels.cofiring` compiled for the CPU: one counter for each latent, cleared after every row of counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from torch import Tensor

from pellucid.kernels.compiling import parallel
from pellucid.kernels.entries import Entries

PARTS = 64
"""Pieces that threads take their latents from; each has a counter of its own."""


def cofiring(entries: Entries, k: int) -> tuple[Int[Tensor, "m k"], Float[Tensor, "m k"]]:
    """Return what `kernels.cofiring.cofiring` says."""
    turned = entries.by_latent
    latents = torch.full((entries.n_latents, k), -1, dtype=torch.int64)
    scores = torch.zeros(entries.n_latents, k)
    arrays = (entries.starts.long(), entries.latents.int(), turned.starts.long(), turned.tokens.long())
    _cofiring(*(array.contiguous().numpy() for array in arrays), latents.numpy(), scores.numpy())
    return latents, scores


@parallel()
def _cofiring(starts: Any, latents: Any, by_latent: Any, tokens: Any, out_latents: Any, out_scores: Any) -> None:
    m, k = out_latents.shape
    size = (m + PARTS - 1) // PARTS
    for part in prange(PARTS):
        counts = np.zeros(m, np.int32)
        touched = np.empty(m, np.int32)
        best = np.zeros(k, np.float64)
        for i in range(part * size, min(m, (part + 1) * size)):
            n = 0
            for place in range(by_latent[i], by_latent[i + 1]):
                token = tokens[place]
                for other in range(starts[token], starts[token + 1]):
                    j = latents[other]
                    if counts[j] == 0:
                        touched[n] = j
                        n += 1
                    counts[j] += 1
            best[:] = 0.0
            own = by_latent[i + 1] - by_latent[i]
            for t in range(n):
                j = touched[t]
                shared = counts[j]
                counts[j] = 0
                if j == i:
                    continue
                score = np.float64(shared) / np.float64(own + by_latent[j + 1] - by_latent[j] - shared)
                place = k
                while place > 0 and (score > best[place - 1] or (score == best[place - 1] and j < out_latents[i, place - 1])):
                    place -= 1
                if place < k:
                    for q in range(k - 1, place, -1):
                        best[q], out_latents[i, q] = best[q - 1], out_latents[i, q - 1]
                    best[place], out_latents[i, place] = score, j
            for q in range(k):
                out_scores[i, q] = np.float32(best[q])

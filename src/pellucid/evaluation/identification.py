"""Whether a dictionary's codes are the only sparse ones: stability of atoms under the atomic inner product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError
from pellucid.dictionaries.atomic import atomic_product

CHUNK = 2048
"""Atoms compared at a time."""


@dataclass(frozen=True)
class Stability:
    """For how large a share of atom pairs and tokens at once the condition of uniqueness holds."""

    q: float
    """q* = sup {q : mu_q < 1 / (2 K_q - 1)}, from 0 to 1."""
    active: int
    """K_q at q*: the number of active latents that decides it."""
    bound: float
    """1 / (2 K - 1) for that K, which the coherence stays below; infinite for no active latent."""


def stability(atoms: Float[Tensor, "m d"], active: Int[Tensor, " n"], metric: Float[Tensor, "d d"] | None = None) -> Stability:
    """Return q* of a dictionary (arXiv 2509.20784).

        q* = sup {q : mu_q < 1 / (2 K_q - 1)}

    with mu_q the q-quantile of |<d_i, d_j>_S| over pairs i < j of atoms of unit S-norm and K_q the q-quantile of active
    latents over tokens, at the same q: K atoms are told apart for sure if the coherence is below 1 / (2 K - 1), and up to q*
    that holds of both. `metric` is S (`atomic_metric`); None is the Euclidean one. `active` counts each token's active latents.

    The q-quantile of a set is its least value that at least a share q does not exceed. Pairs are counted for each K that
    occurs and never kept, so memory does not grow with their number.
    Raises ConfigError if there are fewer than two atoms or no token.
    """
    if len(atoms) < 2 or len(active) == 0:
        raise ConfigError(f"stability needs two atoms and one token at least, got {len(atoms)} and {len(active)}")
    sizes, tokens = active.unique(return_counts=True)
    share_of_tokens = tokens.cumsum(dim=0).double() / len(active)  # at most K active
    bounds = torch.where(sizes > 0, 1 / (2 * sizes.double() - 1), float("inf"))
    share_of_pairs = _share_below(atoms, bounds, metric)
    # K_q <= K for q up to the share of tokens, and mu_q < bound for q up to the share of pairs: each K allows the lesser.
    allowed = torch.minimum(share_of_tokens, share_of_pairs)
    best = int(allowed.argmax())
    return Stability(float(allowed[best]), int(sizes[best]), float(bounds[best]))


def _share_below(
    atoms: Float[Tensor, "m d"], bounds: Float[Tensor, " s"], metric: Float[Tensor, "d d"] | None
) -> Float[Tensor, " s"]:
    """Return the share of pairs i < j whose |cosine| is below each bound."""
    rows = atoms.detach().double()
    metric = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device) if metric is None else metric.double()
    below, pairs = torch.zeros_like(bounds), len(rows) * (len(rows) - 1) / 2
    for start in range(0, len(rows), CHUNK):
        products = atomic_product(rows[start : start + CHUNK], rows[start:], metric, normalised=True).abs()
        later = torch.ones_like(products, dtype=torch.bool).triu(diagonal=1)
        ordered = products[later].sort().values
        below += torch.searchsorted(ordered, bounds.to(ordered.device)).to(below.device)
    return below / pairs

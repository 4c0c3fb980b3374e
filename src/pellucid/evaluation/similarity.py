"""How near two sets of directions are: maximum cosine similarities, their mean, and how they spread."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import ConfigError


def cosines(a: Float[Tensor, "m d"], b: Float[Tensor, "f width"]) -> Float[Tensor, "m f"]:
    """Return cos(a_i, b_j), float64; a row of zeros has cosine 0 with all.

    ConfigError if the widths differ or a set is empty.
    """
    if a.shape[1] != b.shape[1]:
        raise ConfigError(f"directions have widths {a.shape[1]} and {b.shape[1]}; wanted the same")
    if len(a) == 0 or len(b) == 0:
        raise ConfigError(f"there are {len(a)} and {len(b)} directions to compare; wanted at least one of each")
    unit = torch.nn.functional.normalize
    return unit(a.detach().double(), dim=1) @ unit(b.detach().double(), dim=1).T


def best_cosines(wanted: Float[Tensor, "f d"], atoms: Float[Tensor, "m width"]) -> Float[Tensor, " f"]:
    """Return MCS_g = max over atoms j of cos(g, d_j) for each wanted direction g, float64, in [-1, 1].

    Signed: a direction and its opposite have cosine -1. Atoms may be partners of several; for one to one see `match`.
    """
    return cosines(wanted, atoms).amax(dim=1)


def mmcs(wanted: Float[Tensor, "f d"], atoms: Float[Tensor, "m width"]) -> float:
    """Return the mean maximum cosine similarity, mean over g in `wanted` of max_j cos(g, d_j) (Sharkey et al. 2022).

    Not symmetric: mmcs(truth, atoms) asks whether each true feature was found, mmcs(atoms, truth) whether each atom is one.
    Order and positive lengths do not matter; more atoms never lower it.
    """
    return float(best_cosines(wanted, atoms).mean())


def chance(wanted: Float[Tensor, "f d"], n_atoms: int, draws: int = 8, seed: int = 0) -> float:
    """Return `mmcs` to that many random directions, mean over draws; it grows with their number."""
    generator = torch.Generator().manual_seed(seed)
    found = [mmcs(wanted, torch.randn(n_atoms, wanted.shape[1], generator=generator)) for _ in range(draws)]
    return sum(found) / len(found)


@dataclass(frozen=True)
class CosineHistogram:
    """How many features have which MCS, feature by how often it fires."""

    edges: tuple[float, ...]
    """Edges of the bins of MCS."""
    rates: tuple[float, ...]
    """Edges of the groups of firing rates, quantiles of the features."""
    counts: tuple[tuple[int, ...], ...]
    """counts[group][bin]; groups from the rarest features to the most frequent."""
    rank_correlation: float
    """Spearman correlation of MCS with firing rate over features; NaN if either is constant."""


def histogram_by_rate(
    best: Float[Tensor, " f"], rates: Float[Tensor, " f"], groups: int = 4, bins: int = 20
) -> CosineHistogram:
    """Return histograms of MCS [f] in [0, 1] for groups of features of rising firing rate [f]; values outside go to the ends.

    Groups hold equally many features but for one. ConfigError if there are more groups than features.
    """
    if not 1 <= groups <= len(best) or len(best) != len(rates):
        raise ConfigError(f"{len(best)} cosines and {len(rates)} rates cannot be cut into {groups} groups")
    order = torch.sort(rates.double(), stable=True).indices
    parts = torch.tensor_split(order, groups)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    counts = tuple(tuple(torch.histogram(best[part].double().cpu().clamp(0, 1), edges).hist.int().tolist()) for part in parts)
    bounds = (float(rates[order[0]]), *(float(rates[part[-1]]) for part in parts))
    return CosineHistogram(tuple(edges.tolist()), bounds, counts, spearman(best, rates))


def spearman(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Return the correlation of the ranks of two lists, equal values sharing their mean rank; NaN if a list is constant."""
    ranks = torch.stack([_ranks(a), _ranks(b)])
    centred = ranks - ranks.mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1)
    return float(centred[0] @ centred[1] / norms.prod()) if float(norms.min()) > 0 else float("nan")


def _ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    _, inverse, counts = torch.unique(values.double(), return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[inverse]

"""Absorption on planted families: whether a parent's latent falls silent where a child's fires for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import DataError
from pellucid.evaluation.recovery import Matching
from pellucid.evaluation.similarity import cosines

ROUNDING = 1e-6
"""Share of a coefficient that counts as rounding: atoms of float32 are unit to about 1e-7."""


@dataclass(frozen=True)
class Absorption:
    """How much of parents is carried by other latents."""

    rate: float
    """Mean absorption over tokens at which a parent is active; see `absorption`."""
    full: float
    """Share of tokens with parent and child at which the parent's latent is silent and an absorber fires."""
    parent_cosine: float
    """Mean over children of cos(atom of the child's partner, parent); higher if children absorb it."""


def absorption(
    codes: Float[Tensor, "n m"],
    decoder: Float[Tensor, "m d"],
    coefficients: Float[Tensor, "n f"],
    truth: Float[Tensor, "f d"],
    parents: Int[Tensor, " f"],
    matching: Matching,
    least_cosine: float = 0.4,
) -> Absorption:
    """Return the absorption of SAEBench (arXiv 2503.09532, section on absorption) where the truth is known.

    For a token at which parent p (a unit direction) is active with coefficient t, its main latent i (the matched one) and
    every other latent j with cos(decoder_j, p) >= least_cosine (absorbers):

        m = z_i decoder_i . p,   s = sum over absorbers of max(0, z_j decoder_j . p)
        0 if m >= t (to one part in a million);  1 if m <= 0 and s > 0;  0 if s = 0;  else a / (a + m) with a = min(s, t - m)

    SAEBench finds p by a probe and takes t = x . p; here p and t are the planted ones, so that the dictionary of true
    features has exactly 0. `parents` is -1 for features without one. DataError if no feature has a parent.
    """
    children = (parents >= 0).nonzero().flatten()
    if len(children) == 0:
        raise DataError("no feature has a parent, so nothing can be absorbed; take planted data with firing 'hierarchy'")
    codes, decoder, truth = codes.detach().double(), decoder.detach().double(), truth.double()
    near = cosines(truth, decoder) >= least_cosine
    values, silent, pairs = [], 0, 0
    for parent in parents[children].unique().tolist():
        rows = coefficients[:, parent] != 0
        shares = codes[rows] * (decoder @ truth[parent])
        main = int(matching.latents[parent])
        others = near[parent].clone()
        if main >= 0:
            others[main] = False
        carried = shares[:, others].clamp_min(0).sum(dim=1)
        own = shares[:, main] if main >= 0 else torch.zeros_like(carried)
        values.append(_absorbed(own, carried, coefficients[rows, parent].double()))
        with_child = (coefficients[rows][:, parents == parent] != 0).any(dim=1)
        fires = codes[rows][:, main] > 0 if main >= 0 else torch.zeros_like(with_child)
        silent += int((with_child & ~fires & (carried > 0)).sum())
        pairs += int(with_child.sum())
    found = children[matching.latents[children] >= 0]
    similar = cosines(decoder, truth)[matching.latents[found], parents[found]] if len(found) else torch.zeros(1)
    return Absorption(float(torch.cat(values).mean()), silent / pairs if pairs else float("nan"), float(similar.mean()))


def _absorbed(own: Float[Tensor, " n"], carried: Float[Tensor, " n"], total: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return each token's absorption from m, s and t."""
    taken = torch.minimum(carried, total - own)
    share = taken / (taken + own).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.where((own >= total * (1 - ROUNDING)) | (carried <= 0), 0.0, torch.where(own <= 0, 1.0, share))

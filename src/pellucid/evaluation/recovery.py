"""How well a dictionary finds features that are known: matched cosines, shares recovered, shrinkage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError

RECOVERED = 0.9
"""Cosine above which a feature counts as recovered."""


@dataclass(frozen=True)
class Matching:
    """One partner at most for each true feature, chosen so that the summed cosine is largest."""

    latents: Int[Tensor, " f"]
    """Partner of each true feature; -1 for none (fewer latents than features)."""
    cosines: Float[Tensor, " f"]
    """Cosine of each true feature with its partner, float64; 0 without one."""

    @property
    def mcs(self) -> float:
        """Mean matched cosine: mean over true features of the cosine with the partner; a feature without one counts as 0."""
        return float(self.cosines.mean())

    @property
    def frr(self) -> float:
        """Feature recovery rate: share of true features whose cosine with the partner exceeds 0.9."""
        return float((self.cosines > RECOVERED).double().mean())


def match(atoms: Float[Tensor, "m d"], truth: Float[Tensor, "f width"]) -> Matching:
    """Match true features [f, d] one to one with atoms [m, d] so that the summed cosine is largest (Hungarian method).

    Lengths do not matter; signs do: a feature and its opposite have cosine -1. A row of zeros has cosine 0 with all.
    Raises ConfigError if the widths differ or scipy is not installed.
    """
    if atoms.shape[1] != truth.shape[1]:
        raise ConfigError(f"the atoms have width {atoms.shape[1]}, the true features {truth.shape[1]}; wanted the same")
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise ConfigError("matching features needs scipy. Install the extra: pip install 'pellucid[geometry]'") from None
    unit = torch.nn.functional.normalize
    cosines = unit(truth.detach().double(), dim=1) @ unit(atoms.detach().double(), dim=1).T
    features, partners = (torch.from_numpy(part) for part in linear_sum_assignment(cosines.cpu().numpy(), maximize=True))
    latents = torch.full((len(truth),), -1)
    latents[features] = partners
    found = torch.zeros(len(truth), dtype=torch.float64)
    found[features] = cosines.cpu()[features, partners]
    return Matching(latents, found)


def code_ratio(
    codes: Float[Tensor, "n m"], coefficients: Float[Tensor, "n f"], matching: Matching, lengths: Float[Tensor, " m"]
) -> float:
    """Return how strongly latents fire beside the truth: below 1 is shrinkage, above 1 hedging.

    Mean of code * length of the atom / true coefficient, over all tokens and true features at which the feature and its
    partner are both active; NaN if there is none. `lengths` are the norms of the decoder rows that the codes multiply.
    """
    has = matching.latents >= 0
    partner = matching.latents[has].to(codes.device)
    strength = codes.detach().double()[:, partner] * lengths.detach().double()[partner]
    wanted = coefficients.double()[:, has.to(coefficients.device)]
    both = (strength > 0) & (wanted > 0)
    return float((strength[both] / wanted[both]).mean())

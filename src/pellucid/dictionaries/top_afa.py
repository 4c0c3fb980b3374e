"""top-AFA dictionary: as many latents as make the codes as long as the activation."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from pellucid.dictionaries.auxiliary import AuxiliaryConfig, auxiliary_term
from pellucid.dictionaries.base import Forward
from pellucid.dictionaries.unit_atoms import UnitAtomConfig, UnitAtomDictionary


class TopAfaConfig(AuxiliaryConfig, UnitAtomConfig):
    """top-AFA dictionary: the number of active latents follows from each activation's norm; there is no k."""

    kind: Literal["top_afa"] = "top_afa"
    """Name of the architecture."""
    afa_coefficient: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the mean squared difference between the norms of codes and activations; 0 turns it off."""


class TopAfaDictionary(UnitAtomDictionary):
    """top-AFA dictionary (arXiv 2503.24277), after 'approximate feature activation': |z| is about |x|.

        a = ReLU(encoder @ (x - decoder_bias) + encoder_bias)
        C_k = sum of the k largest (a_i |decoder_i|)^2,  k(x) = argmin over k of | sqrt(C_k) - |x - decoder_bias| |
        z = the k(x) largest contributions of a, all others 0; none only where no a is positive
        reconstruction = z @ decoder + decoder_bias
        afa = afa_coefficient / d * mean over tokens of (|z| - |x - decoder_bias|)^2, and the auxiliary term of TopK

    Atoms have unit length, so contributions are squared codes. Of equal differences the smaller k is taken. The selection
    itself carries no gradient.
    """

    kind = "top_afa"
    Config = TopAfaConfig
    config: TopAfaConfig
    parallel = ("data", "sites")

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the codes whose summed squares come nearest to the activation's."""
        return self._codes(self.preactivations(x), self.lengths(x))

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        pre = self.preactivations(x)
        codes = self._codes(pre, self.lengths(x))
        return Forward(self.decode(codes), pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return "afa" unless its coefficient is 0, and "auxiliary" if a latent is dead; see the class."""
        terms = auxiliary_term(self, forward, x, dead)
        if self.config.afa_coefficient > 0:
            gap = _norm(forward.codes) - self.lengths(x)
            terms["afa"] = self.config.afa_coefficient / self.d_in * gap.square().mean()
        return terms

    def lengths(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return |x - decoder_bias| of each row, without gradients."""
        return self.centred(x).norm(dim=-1)

    def _codes(self, pre: Float[Tensor, "n m"], lengths: Float[Tensor, " n"]) -> Float[Tensor, "n m"]:
        codes = pre.relu()
        with torch.no_grad():
            contributions, order = codes.square().sort(dim=-1, descending=True, stable=True)
            gaps = (contributions.cumsum(dim=-1).sqrt() - lengths.unsqueeze(-1)).abs()
            last = gaps.argmin(dim=-1, keepdim=True)  # the first of equal ones, so no latent that adds nothing
            places = torch.arange(self.n_latents, device=pre.device)
            keep = torch.zeros_like(codes, dtype=torch.bool).scatter(1, order, places <= last)
        return torch.where(keep, codes, 0.0)


def _norm(codes: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """Return the norm of each row; its gradient at a row of zeros is 0."""
    squares = codes.square().sum(dim=-1)
    return torch.where(squares > 0, squares, 1.0).sqrt() * (squares > 0)

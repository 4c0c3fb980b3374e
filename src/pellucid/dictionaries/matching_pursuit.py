"""Matching-pursuit dictionary: the encoder is the decoder, used greedily."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from pellucid.dictionaries.base import ArchitectureBase, Forward
from pellucid.dictionaries.initial import BiasInit, initial_bias, random_unit_rows
from pellucid.dictionaries.unit_atoms import UnitDecoder


class MatchingPursuitConfig(ArchitectureBase):
    """Matching-pursuit dictionary: one atom after the other is taken from what is left of the activation."""

    kind: Literal["matching_pursuit"] = "matching_pursuit"
    """Name of the architecture."""
    pursuit_steps: int = Field(default=32, ge=1)
    """Atoms taken for each token, T; at most that many latents are active."""
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    """Share of the activation's norm at which a token takes no further atom."""
    bias_init: BiasInit = "geometric_median"
    """Where the decoder bias starts: the geometric median or mean of a sample of activations, or zero."""


class MatchingPursuitDictionary(UnitDecoder):
    """MP-SAE (Costa et al. 2025, arXiv 2506.03093): unrolled matching pursuit over unit atoms D_i.

        r_0 = x - decoder_bias
        j = argmax_i <D_i, r_t>,  c = max(0, <D_j, r_t>),  z_j += c,  r_(t+1) = r_t - c D_j      for t = 0 .. T-1
        reconstruction = x - r_T = z @ decoder + decoder_bias

    The largest product is taken with its sign; where even that is negative nothing is left to take. An atom may be taken
    again, its codes add up. Gradients flow through every product on the way; which atom was taken has none. After its
    last step <D_j, r_T> = 0 for the atom just taken, and |r_t| never grows. There is no encoder: `encoder` is `decoder`.
    Takes T products of the size of an ordinary encoder's one.
    """

    kind = "matching_pursuit"
    Config = MatchingPursuitConfig
    config: MatchingPursuitConfig
    parallel = ("data", "sites")

    def create_tensors(self, m: int, d: int) -> None:
        """Register atoms and the decoder bias."""
        self.decoder = nn.Parameter(torch.zeros(m, d))
        self.decoder_bias = nn.Parameter(torch.zeros(d))

    @property
    def encoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """The atoms."""
        return self.decoder

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return <D_i, x - decoder_bias>, from which the first atom is chosen; SiteError if x does not fit."""
        return linear(self.accept(x) - self.decoder_bias, self.decoder)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the coefficients, added up where an atom was taken more than once."""
        return self.pursue(x, self.config.pursuit_steps)[0]

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder + decoder_bias."""
        return codes @ self.decoder + self.decoder_bias

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        codes, residual = self.pursue(x, self.config.pursuit_steps)
        return Forward(self.accept(x) - residual, dense=codes)

    def pursue(self, x: Float[Tensor, "n d"], steps: int) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n d"]]:
        """Return the codes after so many steps and what they leave of x - decoder_bias."""
        residual = self.accept(x) - self.decoder_bias
        codes = residual.new_zeros(len(x), self.n_latents)
        least = self.config.tolerance * residual.detach().norm(dim=-1)
        for _ in range(steps):
            chosen = self._best(residual)
            atoms = self.decoder[chosen]
            amounts = (residual * atoms).sum(dim=-1).relu()
            if self.config.tolerance > 0:
                amounts = torch.where(residual.detach().norm(dim=-1) > least, amounts, 0.0)
            codes = codes.scatter_add(1, chosen.unsqueeze(-1), amounts.unsqueeze(-1))
            residual = residual - amounts.unsqueeze(-1) * atoms
        return codes, residual

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start at random unit atoms and the decoder bias in the middle of the sample."""
        self.decoder.copy_(random_unit_rows(self.n_latents, self.d_in, generator))
        self.decoder_bias.copy_(initial_bias(self.config.bias_init, sample, self.d_in))

    @torch.no_grad()
    def _best(self, residual: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        return linear(residual, self.decoder).argmax(dim=-1)

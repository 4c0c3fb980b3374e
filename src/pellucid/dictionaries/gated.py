"""Gated dictionary: one path decides which latents are active, another how strongly."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pellucid.dictionaries.base import Forward
from pellucid.dictionaries.unit_atoms import UnitAtomConfig, UnitAtomDictionary


class GateSettings(UnitAtomConfig):
    """Settings of every dictionary with gates."""

    gate_coefficient: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of the gates' own reconstruction error, which alone keeps them open; 0 turns it off and lets them close."""


class GatedConfig(GateSettings):
    """Gated dictionary: the L1 penalty acts on the gates and does not shrink the codes."""

    kind: Literal["gated"] = "gated"
    """Name of the architecture."""
    l1: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Sparsity coefficient lambda; the penalty is lambda / d times the mean sum of positive gate logits."""


class GatedDictionary(UnitAtomDictionary):
    """Gated dictionary (Rajamanoharan et al. 2024, arXiv 2404.16014).

        u = encoder @ (x - decoder_bias),  pre = u + encoder_bias                      (gate logits)
        z = ReLU(exp(log_gain) * u + magnitude_bias) where pre > 0, else 0
        reconstruction = z @ decoder + decoder_bias
        sparsity = l1 / d * mean over tokens of sum_i ReLU(pre_i)
        gate     = gate_coefficient * MSE(ReLU(pre) @ decoder + decoder_bias, x), decoder and decoder_bias held fixed there

    Both paths share the encoder; `log_gain` and `magnitude_bias` [m] are the magnitude path's own. The gate itself has no
    slope: reconstruction trains the gates through the last term only. The paper's loss sums over coordinates where this
    takes the mean, so its lambda is `l1`. Under an end-to-end objective the last term is still the error at the site.
    """

    kind = "gated"
    Config: ClassVar[type[GateSettings]] = GatedConfig
    config: GateSettings

    def __init__(self, config: GateSettings, d_in: int) -> None:
        super().__init__(config, d_in)
        self.log_gain = nn.Parameter(torch.zeros(config.n_latents))
        self.magnitude_bias = nn.Parameter(torch.zeros(config.n_latents))

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the magnitudes of the latents whose gate is open, else 0."""
        return self._codes(self.preactivations(x))

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; `pre` are the gate logits. SiteError if x does not fit."""
        pre = self.preactivations(x)
        codes = self._codes(pre)
        return Forward(self.decode(codes), pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"sparsity", "gate"} as the class says; "gate" is left out if its coefficient is 0."""
        assert forward.pre is not None
        gates = forward.pre.relu()
        terms = {"sparsity": self.sparsity(gates)}
        if self.config.gate_coefficient > 0:
            by_gates = gates @ self.decoder.detach() + self.decoder_bias.detach()
            terms["gate"] = self.config.gate_coefficient * mse_loss(by_gates, self.accept(x).detach())
        return terms

    def sparsity(self, gates: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
        """Return the penalty on the positive gate logits [n, m]."""
        assert isinstance(self.config, GatedConfig)
        return self.config.l1 / self.d_in * gates.sum(dim=-1).mean()

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start as every unit-atom dictionary does, magnitudes equal to the gate logits."""
        super().initialise(generator, sample)
        self.log_gain.zero_()
        self.magnitude_bias.zero_()

    def _codes(self, pre: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        magnitudes = (self.log_gain.exp() * (pre - self.encoder_bias) + self.magnitude_bias).relu()
        return torch.where(pre > 0, magnitudes, 0.0)

"""ReLU dictionary with an L1 penalty, in the form of end-to-end sparse dictionary learning."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import linear

from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward
from pellucid.dictionaries.initial import initial_bias


class ReluConfig(ArchitectureBase):
    """ReLU dictionary: sparsity comes from an L1 penalty."""

    kind: Literal["relu"] = "relu"
    """Name of the architecture."""
    l1: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Sparsity coefficient lambda; the penalty is lambda / d times the mean sum of codes, so it compares over widths d."""
    bias_init: Literal["zeros", "mean"] = "zeros"
    """Where the decoder bias starts: at zero or at the mean of a sample of activations."""
    tied_init: bool = False
    """Start the encoder at the unit atoms instead of its own Kaiming-uniform draw."""


class ReluDictionary(Dictionary):
    """ReLU dictionary whose atoms are scaled to unit length on every forward (Braun et al. 2024, section 2).

        pre = encoder @ x + encoder_bias,  c = ReLU(pre)
        reconstruction = c @ (decoder rows / their L2 norms) + decoder_bias
        penalty = l1 / d * mean over tokens of sum_i c_i

    Nothing is subtracted from x before encoding. The stored length of a decoder row means nothing: gradients flow
    through the normalisation. Parameters are oriented as in `Dictionary`.
    """

    kind = "relu"
    Config = ReluConfig
    parallel = ("data", "latents", "sites")
    config: ReluConfig

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return encoder @ x + encoder_bias."""
        return linear(self.accept(x), self.encoder, self.encoder_bias)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return ReLU(pre)."""
        return self.preactivations(x).relu()

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ unit atoms + decoder_bias."""
        return codes @ self.atoms() + self.decoder_bias

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        pre = self.preactivations(x)
        codes = pre.relu()
        return Forward(pre=pre, reconstruction=self.decode(codes), dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"sparsity": l1 / d * mean over tokens of sum_i c_i}."""
        return {"sparsity": self.config.l1 / self.d_in * forward.codes.sum(dim=-1).mean()}

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start at a semi-orthogonal decoder and a Kaiming-uniform encoder.

        The paper says Kaiming, its code uses the framework's default encoder and an orthogonal decoder; the facts call
        this an open choice. Here: encoder uniform in +-1/sqrt(d) (the framework's default for a linear layer) or, with
        `tied_init`, the unit atoms; encoder bias zero, so that no latent is favoured by its offset at the start.
        """
        torch.nn.init.orthogonal_(self.decoder, generator=generator)
        if self.config.tied_init:
            self.encoder.copy_(self.atoms())
        else:
            bound = 1 / math.sqrt(self.d_in)
            self.encoder.uniform_(-bound, bound, generator=generator)
        self.encoder_bias.zero_()
        self.decoder_bias.copy_(initial_bias(self.config.bias_init, sample, self.d_in))

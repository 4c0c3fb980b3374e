"""Discrete dictionary: a few examples, and one integer for each."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity, linear

from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward


class DiscreteConfig(ArchitectureBase):
    """Discrete dictionary: its code of an activation is the number of the strongest latent."""

    kind: Literal["discrete"] = "discrete"
    """Name of the architecture."""
    n_latents: int = Field(default=100, ge=1, le=2**28)
    """Number of latents (dictionary width), and of possible codes."""
    l1: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    """Sparsity coefficient lambda; the penalty is lambda times the mean sum of codes."""
    contrast: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the contrastive term between the first half of a batch (positive) and the second (negative); 0 turns it off."""


class DiscreteDictionary(Dictionary):
    """Discrete sparse autoencoder (O'Neill & Bui 2024, arXiv 2405.12522).

        z = ReLU(encoder @ x + encoder_bias),  reconstruction = z @ decoder + decoder_bias
        sparsity = l1 * mean over tokens of sum_i z_i
        contrast = contrast * (mean cos(z+, z-) + 1 - mean cos(z+, z+')) over pairs of two halves of a batch
        label(x) = argmax_i z_i, an integer in [0, m)

    Made for few activations (ten examples of a task) and many passes over them; nothing normalises the atoms.
    """

    kind = "discrete"
    Config = DiscreteConfig
    config: DiscreteConfig

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return encoder @ x + encoder_bias; SiteError if x does not fit."""
        return linear(self.accept(x), self.encoder, self.encoder_bias)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return ReLU(pre)."""
        return self.preactivations(x).relu()

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder + decoder_bias."""
        return codes @ self.decoder + self.decoder_bias

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        pre = self.preactivations(x)
        codes = pre.relu()
        return Forward(self.decode(codes), pre, dense=codes)

    @torch.no_grad()
    def labels(self, x: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """Return the integer code of each activation: its strongest latent, the lowest of equal ones."""
        return self.encode(x).argmax(dim=-1)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return "sparsity", and "contrast" unless its coefficient is 0 or a half has fewer than two rows."""
        codes = forward.codes
        terms = {"sparsity": self.config.l1 * codes.sum(dim=-1).mean()}
        half = len(codes) // 2
        if self.config.contrast > 0 and half > 1:
            positive, negative = codes[:half], codes[half : 2 * half]
            apart = cosine_similarity(positive, negative, dim=-1).mean()
            together = cosine_similarity(positive, positive.roll(1, dims=0), dim=-1).mean()
            terms["contrast"] = self.config.contrast * (apart + 1 - together)
        return terms

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start encoder, decoder and their biases uniform, as a framework's linear layers do."""
        for rows, bias, fan_in in (
            (self.encoder, self.encoder_bias, self.d_in),
            (self.decoder, self.decoder_bias, self.n_latents),
        ):
            bound = 1 / math.sqrt(fan_in)
            rows.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)

"""TopK dictionary: a fixed number of active latents per token."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import linear

from pellucid.dictionaries.auxiliary import AuxiliaryConfig, auxiliary_term
from pellucid.dictionaries.base import Dictionary, Forward, scatter_codes
from pellucid.dictionaries.initial import BiasInit, initial_bias, random_unit_rows
from pellucid.dictionaries.sparse import LargestKConfig, keep_largest, weighted_rows


class TopKConfig(LargestKConfig, AuxiliaryConfig):
    """TopK dictionary: the k largest pre-activations of each token survive."""

    kind: Literal["topk"] = "topk"
    """Name of the architecture."""
    bias_init: BiasInit = "geometric_median"
    """Where the decoder bias starts: the geometric median or mean of a sample of activations, or zero."""


class TopKDictionary(Dictionary):
    """TopK dictionary (Gao et al. 2024, arXiv 2406.04093).

        pre = encoder @ (x - decoder_bias) + encoder_bias
        z = ReLU(the k largest of pre, all others 0)
        reconstruction = z @ decoder + decoder_bias
        auxiliary = aux_coefficient * |e - e_hat|^2 / |e - mean e|^2, e = x - reconstruction (see `auxiliary_term`)

    Decoder rows are kept at unit length: `before_step` removes the part of the gradient along each atom, `after_step`
    renormalises. Which of several equal pre-activations survives depends on the row alone, not on the batch.
    Parameters are oriented as in `Dictionary`.
    """

    kind = "topk"
    Config = TopKConfig
    config: TopKConfig

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return encoder @ (x - decoder_bias) + encoder_bias."""
        return linear(self.accept(x) - self.decoder_bias, self.encoder, self.encoder_bias)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the dense codes: at most k of each row are positive, the rest 0."""
        indices, values = keep_largest(self.preactivations(x), self.config.k)
        return scatter_codes(indices, values, self.n_latents)

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder + decoder_bias."""
        return codes @ self.decoder + self.decoder_bias

    def decode_sparse(self, indices: Int[Tensor, "n k"], values: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """Return what `decode` gives for the scattered codes, touching only the atoms in use."""
        return weighted_rows(self.decoder, indices, values) + self.decoder_bias

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        pre = self.preactivations(x)
        indices, values = keep_largest(pre, self.config.k)
        return Forward(pre=pre, reconstruction=self.decode_sparse(indices, values), indices=indices, values=values)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"auxiliary": aux_coefficient * L_aux}, or nothing if no latent is dead; see `auxiliary_term`."""
        return auxiliary_term(self, forward, x, dead)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start at random unit atoms, the encoder equal to them, and the decoder bias in the middle of the sample."""
        self.decoder.copy_(random_unit_rows(self.n_latents, self.d_in, generator))
        self.encoder.copy_(self.decoder)
        self.encoder_bias.zero_()
        self.decoder_bias.copy_(initial_bias(self.config.bias_init, sample, self.d_in))

    @torch.no_grad()
    def before_step(self) -> None:
        """Remove from the decoder's gradient the component along each atom."""
        if self.decoder.grad is not None:
            atoms = self.atoms()
            self.decoder.grad -= (self.decoder.grad * atoms).sum(dim=-1, keepdim=True) * atoms

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale every decoder row back to unit length."""
        self.decoder.copy_(self.atoms())

"""TopK dictionary: a fixed number of active latents per token."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import embedding_bag, linear

from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward, scatter_codes
from pellucid.dictionaries.initial import BiasInit, initial_bias, random_unit_rows

SPARSE_BELOW = 16
"""Decode sparsely where k is at most 1 / 16 of the rows, which is where the gather stops being clearly faster."""


class TopKConfig(ArchitectureBase):
    """TopK dictionary: the k largest pre-activations of each token survive."""

    kind: Literal["topk"] = "topk"
    """Name of the architecture."""
    k: int = Field(default=32, ge=1)
    """Active latents per token; at most n_latents."""
    aux_k: int | None = Field(default=None, ge=1)
    """Dead latents that model the residual in the auxiliary term; default half the site's width."""
    aux_coefficient: float = Field(default=1 / 32, ge=0, allow_inf_nan=False)
    """Weight of the auxiliary term; 0 turns it off."""
    bias_init: BiasInit = "geometric_median"
    """Where the decoder bias starts: the geometric median or mean of a sample of activations, or zero."""

    @model_validator(mode="after")
    def _k_fits(self) -> TopKConfig:
        if self.k > self.n_latents:
            raise ValueError(
                f"k = {self.k} latents per token cannot come from n_latents = {self.n_latents}. Lower k or widen it"
            )
        return self


class TopKDictionary(Dictionary):
    """TopK dictionary (Gao et al. 2024, arXiv 2406.04093).

        pre = encoder @ (x - decoder_bias) + encoder_bias
        z = ReLU(the k largest of pre, all others 0)
        reconstruction = z @ decoder + decoder_bias
        auxiliary = aux_coefficient * |e - e_hat|^2 / |e - mean e|^2, e = x - reconstruction (see `penalty`)

    Decoder rows are kept at unit length: `before_step` removes the part of the gradient along each atom, `after_step`
    renormalises. Which of several equal pre-activations survives depends on the row alone, not on the batch.
    Parameters are oriented as in `Dictionary`.
    """

    kind = "topk"
    Config = TopKConfig
    parallel = ("data", "latents", "sites")
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
        """Return {"auxiliary": aux_coefficient * L_aux}, or nothing if no latent is dead.

        L_aux = mean over tokens of |e - e_hat|^2 / mean over tokens of |e - mean e|^2, 0 where that is undefined.
        The target e = x - reconstruction is detached; e_hat = ReLU(the aux_k largest pre-activations among the dead)
        @ their atoms, without decoder_bias. Gradients reach the dead latents' encoder rows, encoder biases and decoder
        rows, and nothing else.
        """
        rows = dead.nonzero().squeeze(-1)
        if len(rows) == 0 or self.config.aux_coefficient == 0:
            return {}
        aux_k = min(self.config.aux_k or max(self.d_in // 2, 1), len(rows))
        x = self.accept(x).detach()
        residual = x - forward.reconstruction.detach()
        # Computed again with the input detached: forward.pre would carry gradients to decoder_bias and to the site.
        pre = linear(x - self.decoder_bias.detach(), self.encoder[rows], self.encoder_bias[rows])
        indices, values = keep_largest(pre, aux_k)
        error = (weighted_rows(self.decoder[rows], indices, values) - residual).square().sum(dim=-1).mean()
        variance = self.batch_mean((residual - self.batch_mean(residual)).square().sum(dim=-1))
        # Dividing by 1 where the variance is 0 or NaN keeps the gradient of the other branch finite.
        defined = variance > 0
        ratio = torch.where(defined, error / torch.where(defined, variance, 1.0), 0.0)
        return {"auxiliary": self.config.aux_coefficient * ratio}

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


def keep_largest(pre: Float[Tensor, "n m"], k: int) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """Return indices and values of the k largest entries of each row, in no particular order.

    Negative survivors become zero, so a row may have fewer than k active latents.
    """
    values, indices = pre.topk(k, dim=-1, sorted=False)
    return indices, values.relu()


def weighted_rows(
    rows: Float[Tensor, "m d"], indices: Int[Tensor, "n k"], values: Float[Tensor, "n k"]
) -> Float[Tensor, "n d"]:
    """Return for each token sum_j values[j] * rows[indices[j]], equal to scattered codes @ rows.

    Gathers the rows where that is the faster way, else multiplies densely. Forward and backward at n=1024, d=576,
    m=2304 on two CPU threads: 16 ms against 114 ms at k=32, 66 against 98 at k=128, 108 against 114 at k=256.
    """
    if indices.shape[1] * SPARSE_BELOW <= len(rows):
        return embedding_bag(indices, rows, per_sample_weights=values, mode="sum")
    return scatter_codes(indices, values, len(rows)) @ rows

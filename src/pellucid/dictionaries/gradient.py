"""Gradient dictionary: latents are chosen by what they do to the loss, not by size alone."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from pellucid.core.errors import SiteError
from pellucid.dictionaries.auxiliary import AuxiliaryConfig, auxiliary_term
from pellucid.dictionaries.base import Forward, scatter_codes
from pellucid.dictionaries.sparse import LargestKConfig, keep_largest, weighted_rows
from pellucid.dictionaries.unit_atoms import UnitAtomConfig, UnitAtomDictionary
from pellucid.kernels.entries import Entries


class GradientConfig(LargestKConfig, AuxiliaryConfig, UnitAtomConfig):
    """Gradient dictionary (g-SAE): TopK that ranks latents by size and by the loss's slope along their atoms."""

    kind: Literal["gradient"] = "gradient"
    """Name of the architecture."""
    beta: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of the slope in the ranking, per nat by which a unit of the latent changes the summed loss; 0 is TopK."""


class GradientDictionary(UnitAtomDictionary):
    """Gradient sparse autoencoder, g-SAE (Olmo et al. 2024, arXiv 2411.10397).

        pre = encoder @ (x - decoder_bias) + encoder_bias
        score = pre + beta * pre * |decoder @ g|,  g = the gradient of the loss with respect to x
        z = ReLU(pre) at the k largest scores, all others 0
        reconstruction = z @ decoder + decoder_bias, and the auxiliary term of TopK

    The loss is the host's own cross-entropy against the labels, summed over the positions of the batch: g of a row of
    text does not depend on what else is in the batch. It is given by `guide` before a pass (the trainer does so, from one
    backward pass a batch) and used in that pass alone; no gradient flows through the score. A pass without it selects by
    `pre`, as TopK does: so does every evaluation here, whose numbers are therefore those of a gradient-free selection.
    """

    kind = "gradient"
    Config = GradientConfig
    config: GradientConfig
    guided = True
    _gradient: Float[Tensor, "n d"] | None = None

    def guide(self, gradient: Float[Tensor, "n d"]) -> None:
        """Let the next pass select with this gradient of the loss at its rows."""
        self._gradient = gradient

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the dense codes of a gradient-free selection: TopK's."""
        indices, values = keep_largest(self.preactivations(x), self.config.k)
        return scatter_codes(indices, values, self.n_latents)

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x, guided if a gradient was given for it.

        SiteError if x does not fit, or if the gradient is of other rows.
        """
        pre = self.preactivations(x)
        gradient, self._gradient = self._gradient, None
        if gradient is None or self.config.beta == 0:
            indices, values = keep_largest(pre, self.config.k)
        else:
            if gradient.shape != x.shape:
                found = f"{tuple(gradient.shape)}, wanted {tuple(x.shape)}"
                raise SiteError(f"the loss's gradient for a {self.kind} dictionary is {found}. Is the site called once a run?")
            indices = self.scores(pre, gradient).topk(self.config.k, dim=-1, sorted=False).indices
            values = pre.gather(1, indices).relu()
        reconstruction = weighted_rows(self.decoder, indices, values) + self.decoder_bias
        return Forward(reconstruction, pre, entries=Entries.of_rows(indices, self.n_latents), values=values.flatten())

    @torch.no_grad()
    def scores(self, pre: Float[Tensor, "n m"], gradient: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return what latents are ranked by."""
        return pre + self.config.beta * pre * (gradient.to(pre.dtype) @ self.decoder.T).abs()

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"auxiliary": aux_coefficient * L_aux}, or nothing if no latent is dead; see `auxiliary_term`."""
        return auxiliary_term(self, forward, x, dead)

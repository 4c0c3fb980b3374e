"""TopK dictionary: a fixed number of active latents per token."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.dictionaries.auxiliary import AuxiliaryConfig, auxiliary_term
from pellucid.dictionaries.base import Forward, scatter_codes
from pellucid.dictionaries.sparse import LargestKConfig, keep_largest, weighted_rows
from pellucid.dictionaries.unit_atoms import UnitAtomConfig, UnitAtomDictionary
from pellucid.kernels.entries import Entries
from pellucid.kernels.forms import Form
from pellucid.kernels.sparse import top_k


class TopKConfig(LargestKConfig, AuxiliaryConfig, UnitAtomConfig):
    """TopK dictionary: the k largest pre-activations of each token survive."""

    kind: Literal["topk"] = "topk"
    """Name of the architecture."""


class TopKDictionary(UnitAtomDictionary):
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
    parallel = ("data", "latents", "sites")
    config: TopKConfig
    sparse = True

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the dense codes: at most k of each row are positive, the rest 0."""
        indices, values = keep_largest(self.preactivations(x), self.config.k)
        return scatter_codes(indices, values, self.n_latents)

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        if self.form is not None:
            return self._sparse(self.form, x)
        pre = self.preactivations(x)
        indices, values = keep_largest(pre, self.config.k)
        reconstruction = weighted_rows(self.decoder, indices, values) + self.decoder_bias
        return Forward(reconstruction, pre, entries=Entries.of_rows(indices, self.n_latents), values=values.flatten())

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"auxiliary": aux_coefficient * L_aux}, or nothing if no latent is dead; see `auxiliary_term`."""
        return auxiliary_term(self, forward, x, dead)

    def _sparse(self, form: Form, x: Float[Tensor, "n d"]) -> Forward:
        entries, found = top_k(form, self.centred(x), self.encoder, self.encoder_bias, self.config.k)
        values = self.encoded(form, entries, found, x).relu()
        return Forward(self.reconstructed(form, entries, values), entries=entries, values=values)

"""What architectures with unit atoms share, and those of them with a centred input."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from pellucid.dictionaries.base import ArchitectureBase, Dictionary
from pellucid.dictionaries.initial import BiasInit, initial_bias, random_unit_rows
from pellucid.kernels import stock
from pellucid.kernels.entries import Entries
from pellucid.kernels.forms import Form
from pellucid.kernels.sparse import decoded, encoded


class UnitAtomConfig(ArchitectureBase):
    """Settings of every dictionary with unit atoms."""

    bias_init: BiasInit = "geometric_median"
    """Where the decoder bias starts: the geometric median or mean of a sample of activations, or zero."""


class UnitDecoder(Dictionary):
    """Dictionary whose decoder rows, the atoms, are kept at unit length through every update."""

    @torch.no_grad()
    def before_step(self) -> None:
        """Remove from the decoder's gradient the component along each atom."""
        if self.decoder.grad is not None:
            (self.form or stock).remove_parallel(self.decoder.grad, self.decoder)

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale every decoder row back to unit length."""
        (self.form or stock).unit_rows(self.decoder)


class UnitAtomDictionary(UnitDecoder):
    """Dictionary with unit atoms whose encoder reads x around the decoder bias.

        pre = encoder @ (x - decoder_bias) + encoder_bias
        reconstruction = codes @ decoder + decoder_bias

    A subclass's config is a `UnitAtomConfig`.
    """

    config: UnitAtomConfig

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return encoder @ (x - decoder_bias) + encoder_bias; SiteError if x does not fit."""
        return linear(self.accept(x) - self.decoder_bias, self.encoder, self.encoder_bias)

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder + decoder_bias."""
        return codes @ self.decoder + self.decoder_bias

    def centred(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return x - decoder_bias, without gradients: what the sparse kernels select from."""
        return (self.accept(x) - self.decoder_bias).detach()

    def encoded(
        self, form: Form, entries: Entries, values: Float[Tensor, " e"], x: Float[Tensor, "n d"]
    ) -> Float[Tensor, " e"]:
        """Return the pre-activations found before, with their gradients."""
        return encoded(form, entries, values, self.accept(x), self.encoder, self.encoder_bias, self.decoder_bias)

    def reconstructed(self, form: Form, entries: Entries, values: Float[Tensor, " e"]) -> Float[Tensor, "n d"]:
        """Return what `decode` gives for these codes, touching only the atoms in use."""
        return decoded(form, entries, values, self.decoder) + self.decoder_bias

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start at random unit atoms, the encoder equal to them, and the decoder bias in the middle of the sample."""
        self.decoder.copy_(random_unit_rows(self.n_latents, self.d_in, generator))
        self.encoder.copy_(self.decoder)
        self.encoder_bias.zero_()
        self.decoder_bias.copy_(initial_bias(self.config.bias_init, sample, self.d_in))

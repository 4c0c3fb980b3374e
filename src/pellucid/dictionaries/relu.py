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
from pellucid.kernels.forms import Form
from pellucid.kernels.sparse import above, decoded, encoded


class ReluConfig(ArchitectureBase):
    """ReLU dictionary: sparsity comes from an L1 penalty."""

    kind: Literal["relu"] = "relu"
    """Name of the architecture."""
    l1: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Sparsity coefficient lambda; the penalty is lambda / d times the mean sum of codes, so it compares over widths d."""
    bias_init: Literal["zeros", "mean"] = "zeros"
    """Where the decoder bias starts: at zero or at the mean of a sample of activations."""
    atom_norm: Literal["unit", "free"] = "unit"
    """Scale atoms to unit length on every forward, or leave them free and let the penalty weigh each code by its atom."""
    tied_init: bool = False
    """Start the encoder at the unit atoms instead of its own Kaiming-uniform draw."""


class ReluDictionary(Dictionary):
    """ReLU dictionary whose atoms are scaled to unit length on every forward (Braun et al. 2024, section 2).

        pre = encoder @ x + encoder_bias,  c = ReLU(pre)
        reconstruction = c @ (decoder rows / their L2 norms) + decoder_bias
        penalty = l1 / d * mean over tokens of sum_i c_i

    With `atom_norm` "free" the atoms are the decoder rows as they are, and the penalty is l1 / d * mean over tokens of
    sum_i c_i |decoder_i| (Anthropic, April 2024 update): c_i -> a c_i, decoder_i -> decoder_i / a changes nothing.

    Nothing is subtracted from x before encoding. With `atom_norm` "unit" the stored length of a decoder row means
    nothing: gradients flow through the normalisation. Parameters are oriented as in `Dictionary`.
    """

    kind = "relu"
    Config = ReluConfig
    parallel = ("data", "latents", "sites")
    config: ReluConfig
    sparse = True

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return encoder @ x + encoder_bias."""
        return linear(self.accept(x), self.encoder, self.encoder_bias)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return ReLU(pre)."""
        return self.preactivations(x).relu()

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ atoms + decoder_bias, the atoms of unit length or free as the config says."""
        return codes @ self.contributions() + self.decoder_bias

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        if self.form is not None and (found := self._sparse(self.form, x)) is not None:
            return found
        pre = self.preactivations(x)
        codes = pre.relu()
        return Forward(self.decode(codes), pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"sparsity": l1 / d * mean over tokens of sum_i c_i}, c_i times its atom's length where that is free."""
        codes = forward.kept
        if self.config.atom_norm == "free":
            lengths = self.decoder.norm(dim=-1)
            codes = codes * (lengths if forward.entries is None else lengths[forward.entries.latents])
        return {"sparsity": self.config.l1 / self.d_in * codes.sum() / len(forward.reconstruction)}

    def contributions(self) -> Float[Tensor, "m d"]:
        """Return the atoms, of unit length or free as the config says."""
        return self.atoms() if self.config.atom_norm == "unit" else self.decoder

    def _sparse(self, form: Form, x: Float[Tensor, "n d"]) -> Forward | None:
        """Return the pass over the active latents; None where they are too dense for it."""
        x = self.accept(x)
        found = above(form, x.detach(), self.encoder, self.encoder_bias, torch.zeros_like(self.encoder_bias))
        if found is None:
            return None
        entries, values = found[0], encoded(form, *found, x, self.encoder, self.encoder_bias)
        reconstruction = decoded(form, entries, values, self.contributions()) + self.decoder_bias
        return Forward(reconstruction, entries=entries, values=values)

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

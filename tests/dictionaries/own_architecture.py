"""An architecture of one's own, outside the package: soft thresholds that are learnt and shared by no two latents."""

from typing import Literal

import torch
from pydantic import Field

from pellucid.dictionaries import ArchitectureBase, Forward, register
from pellucid.dictionaries.unit_atoms import UnitAtomConfig, UnitAtomDictionary


class SoftConfig(UnitAtomConfig):
    """Soft-threshold dictionary: codes are pre-activations less a learnt threshold."""

    kind: Literal["soft"] = "soft"
    """Name of the architecture."""
    l1: float = Field(default=0.5, ge=0)
    """Weight of the mean sum of codes, divided by the site's width."""
    start: float = Field(default=0.1, ge=0)
    """Threshold of every latent at the start."""


@register
class SoftDictionary(UnitAtomDictionary):
    """z = ReLU(encoder @ (x - decoder_bias) - threshold), reconstruction = z @ decoder + decoder_bias."""

    kind = "soft"
    Config: type[ArchitectureBase] = SoftConfig

    def encode(self, x):
        """Return ReLU(pre - threshold); the threshold is minus the encoder's bias."""
        return self.preactivations(x).relu()

    def forward(self, x):
        """Encode and decode x."""
        codes = self.encode(x)
        return Forward(self.decode(codes), dense=codes)

    def penalty(self, forward, x, dead):
        """Return {"sparsity": l1 / d * mean sum of codes}."""
        return {"sparsity": self.config.l1 / self.d_in * forward.codes.sum(dim=1).mean()}

    @torch.no_grad()
    def initialise(self, generator, sample):
        """Start as every unit-atom dictionary does, at the threshold of the config."""
        super().initialise(generator, sample)
        self.encoder_bias.fill_(-self.config.start)

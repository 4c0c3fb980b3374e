"""Dictionaries trained with p-annealing: a ReLU one and a gated one."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.dictionaries.annealed import Annealed, AnnealedConfig
from pellucid.dictionaries.base import Forward
from pellucid.dictionaries.gated import GatedDictionary, GateSettings
from pellucid.dictionaries.unit_atoms import UnitAtomConfig, UnitAtomDictionary
from pellucid.kernels.forms import Form
from pellucid.kernels.sparse import above


class PAnnealConfig(AnnealedConfig, UnitAtomConfig):
    """ReLU dictionary whose sparsity penalty moves from L1 towards L0 during training."""

    kind: Literal["p_anneal"] = "p_anneal"
    """Name of the architecture."""


class PAnnealDictionary(UnitAtomDictionary):
    """ReLU dictionary with p-annealing (Karvonen et al. 2024, arXiv 2408.00113).

    pre = encoder @ (x - decoder_bias) + encoder_bias,  z = ReLU(pre)
    reconstruction = z @ decoder + decoder_bias, unit atoms
    sparsity = the penalty of `Annealed` on z
    """

    kind = "p_anneal"
    Config = PAnnealConfig
    config: PAnnealConfig
    sparse = True

    def __init__(self, config: PAnnealConfig, d_in: int) -> None:
        super().__init__(config, d_in)
        self.annealed = Annealed(config)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return ReLU(pre)."""
        return self.preactivations(x).relu()

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        if self.form is not None and (found := self._sparse(self.form, x)) is not None:
            return found
        pre = self.preactivations(x)
        codes = pre.relu()
        return Forward(self.decode(codes), pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"sparsity": the penalty of `Annealed` on the codes}; in training mode the batch counts for its rescaling."""
        return {"sparsity": self.annealed.penalty(forward.kept, len(forward.reconstruction), self.d_in)}

    def begin_step(self, progress: float) -> None:
        """Lower p where its time has come."""
        self.annealed.begin_step(progress)

    def _sparse(self, form: Form, x: Float[Tensor, "n d"]) -> Forward | None:
        found = above(form, self.centred(x), self.encoder, self.encoder_bias, torch.zeros_like(self.encoder_bias))
        if found is None:
            return None
        entries, values = found[0], self.encoded(form, *found, x)
        return Forward(self.reconstructed(form, entries, values), entries=entries, values=values)


class GatedPAnnealConfig(AnnealedConfig, GateSettings):
    """Gated dictionary whose penalty on the gates moves from L1 towards L0 during training."""

    kind: Literal["gated_p_anneal"] = "gated_p_anneal"
    """Name of the architecture."""


class GatedPAnnealDictionary(GatedDictionary):
    """Gated dictionary with p-annealing on its gate path: `GatedDictionary` with the penalty of `Annealed` on ReLU(pre)."""

    kind = "gated_p_anneal"
    Config = GatedPAnnealConfig
    config: GatedPAnnealConfig

    def __init__(self, config: GatedPAnnealConfig, d_in: int) -> None:
        super().__init__(config, d_in)
        self.annealed = Annealed(config)

    def sparsity(self, gates: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
        """Return the penalty on the positive gate logits."""
        return self.annealed.penalty(gates, len(gates), self.d_in)

    def begin_step(self, progress: float) -> None:
        """Lower p where its time has come."""
        self.annealed.begin_step(progress)

"""Reconstruct the site's own values."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import mse_loss

from pellucid.training.objectives.base import Evidence, Objective


class Local(Objective):
    """MSE(reconstruction, activations), the mean over positions and coordinates (Braun et al. 2024, 'local')."""

    kind: Literal["local"] = "local"
    """Name of the objective."""

    def terms(self, evidence: Evidence) -> dict[str, Float[Tensor, ""]]:
        """Return {"mse"}."""
        return {"mse": mse_loss(evidence.reconstruction, evidence.activations)}

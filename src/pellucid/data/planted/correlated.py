"""Features that fire together: their probabilities follow a shared Gaussian."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from pellucid.data.planted.base import Fire, FiringRule
from pellucid.data.planted.decaying import decays
from pellucid.data.planted.independent import too_many
from pellucid.data.source import seeded


class Correlated(FiringRule):
    """Correlated features with decaying probabilities (Sharkey et al. 2022, as its public replication has it).

        R = (U + U') / 2, U uniform in [0, 1), + 1.001 |m| on the diagonal if its least eigenvalue m is negative
        z ~ N(0, R),  p_i = Phi(z_i) * decay^i, all divided by one number so that sum p = active, then at most 1

    R is drawn from the seed of the data. Its diagonal is well above 1, so Phi(z) is mostly near 0 or 1.
    """

    kind: Literal["correlated"] = "correlated"
    """Name of the rule."""
    active: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """Features active in a row on average, as far as no probability is cut at 1."""
    decay: float = Field(default=0.99, gt=0, le=1)
    """Weight of a feature, as a share of that of the one before."""
    per: Literal["row", "block"] = "row"
    """Draw z for each row, so that features fire together in a row, or for each block of rows, as the replication does."""

    def sampler(self, n_features: int, seed: int) -> Fire:
        """Return what draws rows."""
        factor = torch.linalg.cholesky(correlations(n_features, seeded("planted correlations", seed)))

        def draw(rows: int, generator: torch.Generator) -> Bool[Tensor, "rows f"]:
            draws = torch.randn(rows if self.per == "row" else 1, n_features, dtype=torch.float64, generator=generator)
            wanted = self.probabilities(draws @ factor.T)
            return torch.rand(rows, n_features, generator=generator) < wanted.clamp_max(1).float()

        return draw

    def probabilities(self, z: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        """Return the probabilities for draws of z; those above 1 are not yet cut."""
        weights = torch.special.ndtr(z) * decays(self.decay, z.shape[-1])
        return self.active * weights / weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)

    def problems(self, n_features: int) -> list[str]:
        """Return whether more are to be active than there are."""
        return too_many(self.active, n_features)


def correlations(n_features: int, generator: torch.Generator) -> Float[Tensor, "f f"]:
    """Return the positive definite matrix R of `Correlated`, float64."""
    uniform = torch.rand(n_features, n_features, dtype=torch.float64, generator=generator)
    matrix = (uniform + uniform.T) / 2
    least = float(torch.linalg.eigvalsh(matrix)[0])
    shift = 1.001 * abs(least) if least < 0 else 0.0
    return matrix + (shift + 1e-9) * torch.eye(n_features, dtype=torch.float64)

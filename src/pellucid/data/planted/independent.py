"""Features that fire independently, all equally often."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from pellucid.data.planted.base import Fire, FiringRule


class Independent(FiringRule):
    """Every feature is active with the same probability, whatever the others are."""

    kind: Literal["independent"] = "independent"
    """Name of the rule."""
    active: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Features active in a row on average (true L0)."""

    def sampler(self, n_features: int, seed: int) -> Fire:
        """Return what draws rows."""

        def draw(rows: int, generator: torch.Generator) -> Bool[Tensor, "rows f"]:
            return torch.rand(rows, n_features, generator=generator) < self.active / n_features

        return draw

    def rates(self, n_features: int) -> Float[Tensor, " f"]:
        """Return active / n_features for each."""
        return torch.full((n_features,), self.active / n_features, dtype=torch.float64)

    def problems(self, n_features: int) -> list[str]:
        """Return whether more are to be active than there are."""
        return too_many(self.active, n_features)


def too_many(active: float, n_features: int) -> list[str]:
    """Return the complaint if more features are to be active than there are."""
    return [f"firing.active is {active}, but there are {n_features} features"] if active > n_features else []

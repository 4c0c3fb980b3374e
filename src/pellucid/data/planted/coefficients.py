"""How strong active features are: evenly, or with a heavy tail."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from pellucid.data.planted.base import CoefficientRule


class Uniform(CoefficientRule):
    """Coefficients are uniform over an interval."""

    kind: Literal["uniform"] = "uniform"
    """Name of the rule."""
    low: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Smallest coefficient."""
    high: float = Field(default=1.5, gt=0, allow_inf_nan=False)
    """Largest coefficient."""

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.high <= self.low:
            raise ValueError(f"high is {self.high}, wanted more than low = {self.low}")
        return self

    def draw(self, rows: int, n_features: int, generator: torch.Generator) -> Float[Tensor, "rows f"]:
        """Return a coefficient for each entry, active or not."""
        return self.low + (self.high - self.low) * torch.rand(rows, n_features, generator=generator)

    @property
    def mean(self) -> float:
        """Expected coefficient of an active feature."""
        return (self.low + self.high) / 2


class HeavyTailed(CoefficientRule):
    """Coefficients follow a Pareto law: P(c > t) = (low / t)^tail for t >= low."""

    kind: Literal["heavy_tailed"] = "heavy_tailed"
    """Name of the rule."""
    low: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    """Smallest coefficient."""
    tail: float = Field(default=3.0, gt=2, allow_inf_nan=False)
    """Exponent; above 2, so that the variance is finite. The smaller, the heavier."""

    def draw(self, rows: int, n_features: int, generator: torch.Generator) -> Float[Tensor, "rows f"]:
        """Return a coefficient for each entry, active or not."""
        uniform = torch.rand(rows, n_features, generator=generator)
        return self.low * (1 - uniform) ** (-1 / self.tail)

    @property
    def mean(self) -> float:
        """Expected coefficient of an active feature."""
        return self.low * self.tail / (self.tail - 1)

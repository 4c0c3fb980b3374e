"""Features that fire independently, later ones more rarely."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from pellucid.data.planted.base import Fire, FiringRule


class Decaying(FiringRule):
    """Feature i is active with probability active / n_features * decay^i, whatever the others are."""

    kind: Literal["decaying"] = "decaying"
    """Name of the rule."""
    active: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """Features active in a row on average if none decayed, or (with `rescaled`) as they are."""
    decay: float = Field(default=0.99, gt=0, le=1)
    """Probability of a feature, as a share of that of the one before."""
    rescaled: bool = False
    """Multiply all probabilities so that `active` features are active on average."""

    def sampler(self, n_features: int, seed: int) -> Fire:
        """Return what draws rows."""
        rates = self.rates(n_features).float()

        def draw(rows: int, generator: torch.Generator) -> Bool[Tensor, "rows f"]:
            return torch.rand(rows, n_features, generator=generator) < rates

        return draw

    def rates(self, n_features: int) -> Float[Tensor, " f"]:
        """Return the probability of each feature."""
        falling = decays(self.decay, n_features)
        return self.active * falling / (falling.sum() if self.rescaled else n_features)

    def problems(self, n_features: int) -> list[str]:
        """Return whether a probability would exceed 1."""
        highest = float(self.rates(n_features).max())
        return [f"firing.active is {self.active}: the first feature's probability is {highest:.3g}"] if highest > 1 else []


def decays(decay: float, n_features: int) -> Float[Tensor, " f"]:
    """Return decay^i for i = 0 .. n_features - 1, float64."""
    return decay ** torch.arange(n_features, dtype=torch.float64)

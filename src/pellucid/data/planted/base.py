"""What a rule of planted data is: how features fire, how strongly, and where they lie."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.config import Config

Fire = Callable[[int, torch.Generator], Bool[Tensor, "rows f"]]
"""Draws which features are active in so many rows."""


class FiringRule(Config):
    """Which features are active together; `kind` (a Literal) is added by each."""

    def sampler(self, n_features: int, seed: int) -> Fire:
        """Return what draws rows; whatever is fixed for all rows is drawn from `seed`."""
        raise NotImplementedError

    def rates(self, n_features: int) -> Float[Tensor, " f"] | None:
        """Return the probability of each feature, float64; None where the rule draws it too."""
        return None

    def parents(self, n_features: int) -> Int[Tensor, " f"]:
        """Return the feature without which each one is never active, -1 for none."""
        return torch.full((n_features,), -1)

    def problems(self, n_features: int) -> list[str]:
        """Return why so many features cannot fire by this rule, a sentence each."""
        return []


class CoefficientRule(Config):
    """How strongly an active feature is there."""

    def draw(self, rows: int, n_features: int, generator: torch.Generator) -> Float[Tensor, "rows f"]:
        """Return a coefficient for each entry, active or not."""
        raise NotImplementedError

    @property
    def mean(self) -> float:
        """Expected coefficient of an active feature."""
        raise NotImplementedError


class AtomRule(Config):
    """Where features lie."""

    def make(self, n_features: int, width: int, generator: torch.Generator) -> Float[Tensor, "a d"]:
        """Return the unit directions; a feature may have several."""
        raise NotImplementedError

    def owners(self, n_features: int) -> Int[Tensor, " a"]:
        """Return the feature that each direction belongs to."""
        return torch.arange(n_features)

    def spread(self, coefficients: Float[Tensor, "rows f"], generator: torch.Generator) -> Float[Tensor, "rows a"]:
        """Return the coefficient of each direction from those of the features."""
        return coefficients

    def problems(self, n_features: int, width: int) -> list[str]:
        """Return why so many features do not fit, a sentence each."""
        return []

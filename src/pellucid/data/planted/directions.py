"""Features that are one direction each."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.data.planted.base import AtomRule


class Directions(AtomRule):
    """Each feature is a random unit direction, a normalised Gaussian."""

    kind: Literal["directions"] = "directions"
    """Name of the rule."""

    def make(self, n_features: int, width: int, generator: torch.Generator) -> Float[Tensor, "a d"]:
        """Return one direction for each feature."""
        return torch.nn.functional.normalize(torch.randn(n_features, width, generator=generator), dim=1)

"""Features of two dimensions: points on a circle."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from pellucid.data.planted.base import AtomRule


class Circles(AtomRule):
    """The first features are circles, the others directions.

    A circle has a random plane with orthonormal directions u, v; where it is active with coefficient c it adds
    c (cos t u + sin t v), t uniform. So the coefficients of its two directions have either sign. Directions 2i and 2i + 1
    belong to circle i.
    """

    kind: Literal["circles"] = "circles"
    """Name of the rule."""
    n_circles: int = Field(default=4, ge=1)
    """Features that are circles."""

    def make(self, n_features: int, width: int, generator: torch.Generator) -> Float[Tensor, "a d"]:
        """Return two directions for each circle, then one for each other feature."""
        rows = torch.randn(n_features + self.n_circles, width, generator=generator)
        planes = torch.linalg.qr(rows[: 2 * self.n_circles].view(self.n_circles, 2, width).transpose(1, 2)).Q
        others = torch.nn.functional.normalize(rows[2 * self.n_circles :], dim=1)
        return torch.cat([planes.transpose(1, 2).flatten(0, 1), others])

    def owners(self, n_features: int) -> Int[Tensor, " a"]:
        """Return the feature of each direction."""
        return torch.cat([torch.arange(self.n_circles).repeat_interleave(2), torch.arange(self.n_circles, n_features)])

    def spread(self, coefficients: Float[Tensor, "rows f"], generator: torch.Generator) -> Float[Tensor, "rows a"]:
        """Return the coefficients of the directions, circles at random angles."""
        angles = 2 * math.pi * torch.rand(len(coefficients), self.n_circles, generator=generator)
        radii = coefficients[:, : self.n_circles]
        pairs = torch.stack([radii * angles.cos(), radii * angles.sin()], dim=-1).flatten(1)
        return torch.cat([pairs, coefficients[:, self.n_circles :]], dim=1)

    def problems(self, n_features: int, width: int) -> list[str]:
        """Return whether there are fewer features than circles or no room for a plane."""
        n = self.n_circles
        found = [f"atoms.n_circles is {n}, but there are {n_features} features"] if n > n_features else []
        return found + ([f"a circle needs width 2 or more, got {width}"] if width < 2 else [])

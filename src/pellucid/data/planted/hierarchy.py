"""Features with children: a child is active only where its parent is."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from pellucid.data.planted.base import Fire, FiringRule


class Hierarchy(FiringRule):
    """Parents fire independently; an active parent has at most one active child.

    The first n_features / (1 + children) features are parents; the children of the first follow, then those of the second,
    and so on. Each parent fires with probability active / number of parents; given that, each of its children with
    probability `with_child` / children, one at most.
    """

    kind: Literal["hierarchy"] = "hierarchy"
    """Name of the rule."""
    active: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """Parents active in a row on average; true L0 is active * (1 + with_child)."""
    children: int = Field(default=3, ge=1)
    """Children of each parent."""
    with_child: float = Field(default=0.6, gt=0, le=1)
    """Share of a parent's activations at which one of its children is active too."""

    def sampler(self, n_features: int, seed: int) -> Fire:
        """Return what draws rows."""
        n_parents = self.n_parents(n_features)

        def draw(rows: int, generator: torch.Generator) -> Bool[Tensor, "rows f"]:
            parents = torch.rand(rows, n_parents, generator=generator) < self.active / n_parents
            chosen = torch.rand(rows, n_parents, generator=generator) * self.children / self.with_child
            one = torch.nn.functional.one_hot(chosen.long().clamp_max(self.children), self.children + 1)[..., :-1].bool()
            return torch.cat([parents, (one & parents.unsqueeze(-1)).flatten(1)], dim=1)

        return draw

    def n_parents(self, n_features: int) -> int:
        """Return how many of the features are parents."""
        return n_features // (1 + self.children)

    def rates(self, n_features: int) -> Float[Tensor, " f"]:
        """Return the probability of each feature."""
        n_parents = self.n_parents(n_features)
        parent = torch.full((n_parents,), self.active / n_parents, dtype=torch.float64)
        return torch.cat([parent, (parent * self.with_child / self.children).repeat_interleave(self.children)])

    def parents(self, n_features: int) -> Int[Tensor, " f"]:
        """Return each child's parent, -1 for parents."""
        n_parents = self.n_parents(n_features)
        return torch.cat([torch.full((n_parents,), -1), torch.arange(n_parents).repeat_interleave(self.children)])

    def problems(self, n_features: int) -> list[str]:
        """Return whether families are broken or more parents are to be active than there are."""
        family, n_parents = 1 + self.children, self.n_parents(n_features)
        found = [f"n_features is {n_features}, wanted whole families of {family}"] if n_features % family else []
        return found + (
            [f"firing.active is {self.active}, but there are {n_parents} parents"] if self.active > n_parents else []
        )

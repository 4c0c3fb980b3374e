"""Planted features of two levels: parents whose children are active only with them, beside features of their own."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from pellucid.core.config import Config
from pellucid.data.planted import Planted
from pellucid.data.source import Batch, seeded
from pellucid.data.stream import Stream


class PlantedTreeConfig(Config):
    """Features of two levels; the defaults are the tree of the MP-SAE paper, 20 features with 1.36 active in a row."""

    n_lone: int = Field(default=8, ge=0)
    """Features that are nobody's child and have none."""
    lone_active: float = Field(default=0.05, ge=0, le=1)
    """Probability of each of them in a row."""
    n_parents: int = Field(default=3, ge=1)
    """Features with children."""
    parent_active: float = Field(default=0.2, gt=0, le=1)
    """Probability of each parent in a row."""
    n_children: int = Field(default=3, ge=1)
    """Children of each parent, of which at most one is active."""
    child_active: float = Field(default=0.2, gt=0, le=1)
    """Probability of each child in a row where its parent is active; they sum to at most 1."""
    sibling_cosine: float = Field(default=0.0, ge=0, lt=1)
    """Cosine between the atoms of two children of one parent; all other atoms are orthogonal."""
    mean: float = Field(default=1.5, gt=0, allow_inf_nan=False)
    """Mean coefficient of an active feature."""
    deviation: float = Field(default=0.25, ge=0, allow_inf_nan=False)
    """Standard deviation of it (normal); a draw below 0 counts as 0."""
    seed: int = Field(default=0, ge=0)
    """Decides the atoms and every row."""
    held_out: int = Field(default=20_000, ge=0)
    """Rows held out for scores; training rows never end."""

    @model_validator(mode="after")
    def _exclusive(self) -> PlantedTreeConfig:
        if self.n_children * self.child_active > 1 + 1e-9:
            raise ValueError(
                f"{self.n_children} children of probability {self.child_active} cannot exclude each other. "
                f"Lower child_active to at most {1 / self.n_children:.3g}"
            )
        return self

    @property
    def n_features(self) -> int:
        """Number of features, which is the width of the data too: lone ones, then parents, then children by parent."""
        return self.n_lone + self.n_parents * (1 + self.n_children)

    @property
    def active(self) -> float:
        """Features active in a row on average (true L0)."""
        parents = self.n_parents * self.parent_active
        return self.n_lone * self.lone_active + parents * (1 + self.n_children * self.child_active)


class PlantedTreeData(Stream):
    """An endless stream of rows [rows, n_features], x = coefficients @ atoms (Costa et al. 2025, arXiv 2506.03093).

    Features are ordered: lone ones, parents, then the children of the first parent, of the second, ... A child is active
    only with its parent and without its siblings, and has a coefficient of its own. `atoms` [f, f] are the rows of a random
    orthogonal matrix; those of n siblings with cosine c are moved within their span to G^(1/2) @ atoms,
    G = (1 - c) I + c 11'.
    """

    source = "planted tree"
    config: PlantedTreeConfig

    def __init__(self, config: PlantedTreeConfig | None = None) -> None:
        config = config or PlantedTreeConfig()
        super().__init__(config, config.held_out, positions_per_row=1, seed=config.seed)
        first = config.n_lone + config.n_parents
        lone = torch.full((first,), -1)
        parents = torch.arange(config.n_lone, first)
        self.parents: Int[Tensor, " f"] = torch.cat([lone, parents.repeat_interleave(config.n_children)])
        """Parent of each feature; -1 for those that are no child."""
        self.atoms: Float[Tensor, "f f"] = self._atoms(first)
        """Unit atoms, one row per feature."""

    def train_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return training rows as a batch; DataError if an index is out of range."""
        return Batch(self.truth(indices).x)

    def held_out_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return held-out rows as a batch; DataError if an index is out of range."""
        return Batch(self.truth(indices, held_out=True).x)

    def truth(self, indices: Int[Tensor, " batch"], *, held_out: bool = False) -> Planted:
        """Return the rows with these indices and what they are made of; DataError if an index is out of range."""
        (coefficients,) = self.drawn(indices, held_out=held_out)
        return Planted(coefficients @ self.atoms, coefficients)

    def _atoms(self, first: int) -> Float[Tensor, "f f"]:
        config = self.config
        f, c, n = config.n_features, config.sibling_cosine, config.n_children
        atoms, _ = torch.linalg.qr(torch.randn(f, f, generator=seeded("planted tree atoms", config.seed), dtype=torch.float64))
        # G^(1/2): its eigenvalues are 1 - c, and 1 + (n - 1) c along the siblings' sum.
        along = torch.full((n, n), 1 / n, dtype=torch.float64)
        root = (1 - c) ** 0.5 * (torch.eye(n, dtype=torch.float64) - along) + (1 + (n - 1) * c) ** 0.5 * along
        for start in range(first, f, n):
            atoms[start : start + n] = root @ atoms[start : start + n]
        return atoms.float()

    def block(self, generator: torch.Generator) -> tuple[Float[Tensor, "rows f"]]:
        """Draw the coefficients of a block's rows."""
        config, rows = self.config, self.block_rows
        lone = torch.rand(rows, config.n_lone, generator=generator) < config.lone_active
        parents = torch.rand(rows, config.n_parents, generator=generator) < config.parent_active
        # One draw decides which child a parent has; a place past the last child means none.
        place = (torch.rand(rows, config.n_parents, 1, generator=generator) / config.child_active).floor()
        children = parents.unsqueeze(-1) & (place == torch.arange(config.n_children))
        active = torch.cat([lone, parents, children.flatten(1)], dim=1)
        strength = config.mean + config.deviation * torch.randn(rows, config.n_features, generator=generator)
        return (active * strength.relu(),)

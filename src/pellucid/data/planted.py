"""Data whose sparse features are known: x = sum of active features' coefficients times their atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from pellucid.core.config import Config, digest
from pellucid.core.errors import DataError
from pellucid.data.source import Batch, DataSource, check_batch, seeded

BLOCK = 512
"""Rows drawn from one generator; part of what a seed means, so changing it changes the data."""
ENDLESS = 2**62
"""Rows to train on: every step sees new ones."""


class Independent(Config):
    """Every feature is active with the same probability, whatever the others are."""

    kind: Literal["independent"] = "independent"
    """Name of the rule."""
    active: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Features active in a row on average (true L0)."""

    def draw(self, rows: int, n_features: int, generator: torch.Generator) -> Bool[Tensor, "rows f"]:
        """Return which features are active in each row."""
        return torch.rand(rows, n_features, generator=generator) < self.active / n_features


class Uniform(Config):
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


class PlantedConfig(Config):
    """Planted features; the defaults are setup S of the dictionaries' fact sheet."""

    n_features: int = Field(default=64, ge=1)
    """True features."""
    width: int = Field(default=32, ge=1)
    """Dimensions they live in."""
    firing: Independent = Independent()
    """Which features are active together."""
    coefficients: Uniform = Uniform()
    """How strongly."""
    seed: int = Field(default=0, ge=0)
    """Decides the atoms and every row."""
    held_out: int = Field(default=20_000, ge=0)
    """Rows held out for scores; training rows never end."""

    @model_validator(mode="after")
    def _possible(self) -> PlantedConfig:
        if self.firing.active > self.n_features:
            raise ValueError(f"firing.active is {self.firing.active}, but there are {self.n_features} features")
        return self


@dataclass(frozen=True)
class Planted:
    """Rows with the truth behind them: x = coefficients @ atoms."""

    x: Float[Tensor, "rows d"]
    """What a dictionary sees."""
    coefficients: Float[Tensor, "rows f"]
    """Coefficient of each feature; 0 where it is not active."""


class PlantedData(DataSource):
    """An endless stream of planted rows, [rows, width], float32: a data source for a host that passes vectors on.

    `atoms` [n_features, width] are random unit directions. Row i depends on the seed and i alone, whatever the size of
    a batch; rows come in blocks of BLOCK from a generator of their own, so any row can be drawn without those before.
    Batch `step` of `size` holds the training rows [step * size, (step + 1) * size): rows are independent draws, so
    there is nothing to shuffle and nothing comes twice.
    """

    def __init__(self, config: PlantedConfig | None = None) -> None:
        self.config = config = config or PlantedConfig()
        super().__init__(ENDLESS, config.held_out, positions_per_row=1, seed=config.seed)
        atoms = torch.randn(config.n_features, config.width, generator=seeded("planted atoms", config.seed))
        self.atoms: Float[Tensor, "f d"] = torch.nn.functional.normalize(atoms, dim=1)

    def train_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return training rows as a batch; DataError if an index is out of range."""
        return Batch(self.truth(indices).x)

    def held_out_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return held-out rows as a batch; DataError if an index is out of range."""
        return Batch(self.truth(indices, held_out=True).x)

    def truth(self, indices: Int[Tensor, " batch"], *, held_out: bool = False) -> Planted:
        """Return the rows with these indices and what they are made of; DataError if an index is out of range."""
        n_rows = self.n_held_out if held_out else self.n_train
        outside = indices[(indices < 0) | (indices >= n_rows)]
        if len(outside):
            raise DataError(f"row {int(outside[0])} does not exist; wanted 0 to {n_rows - 1}")
        coefficients = torch.zeros(len(indices), self.config.n_features)
        blocks = indices // BLOCK
        for block in blocks.unique().tolist():
            inside = blocks == block
            coefficients[inside] = self._block("held out" if held_out else "train", block)[indices[inside] % BLOCK]
        return Planted(coefficients @ self.atoms, coefficients)

    def train_indices(self, step: int, size: int) -> Int[Tensor, " batch"]:
        """Return the indices of the rows in batch `step`, the next `size` of the stream; ConfigError as for every source."""
        check_batch(step, size)
        return torch.arange(step * size, (step + 1) * size)

    def digest(self) -> str:
        """Return the sha256 of the settings: they decide every number."""
        return digest(self.config)

    def describe(self) -> dict[str, Any]:
        """Return the settings and their digest."""
        return {
            "source": "planted",
            **self.config.model_dump(mode="json"),
            "rows_train": "endless",
            "rows_held_out": self.n_held_out,
            "positions_per_row": 1,
            "excluded": "no position is excluded",
            "digest": self.digest(),
        }

    def _block(self, part: str, number: int) -> Float[Tensor, "rows f"]:
        config, generator = self.config, seeded("planted rows", self.seed, part, number)
        active = config.firing.draw(BLOCK, config.n_features, generator)
        return active * config.coefficients.draw(BLOCK, config.n_features, generator)

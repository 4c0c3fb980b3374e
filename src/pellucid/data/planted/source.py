"""Data whose sparse features are known: x = sum of active features' coefficients times their atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from pellucid.core.config import Config, build, digest
from pellucid.core.errors import ConfigError, DataError, did_you_mean
from pellucid.data.planted.coefficients import Uniform
from pellucid.data.planted.directions import Directions
from pellucid.data.planted.independent import Independent
from pellucid.data.planted.registry import REGIMES, AnyAtoms, AnyCoefficients, AnyFiring
from pellucid.data.source import Batch, DataSource, check_batch, seeded

BLOCK = 512
"""Rows drawn from one generator; part of what a seed means, so changing it changes the data."""
ENDLESS = 2**62
"""Rows to train on: every step sees new ones."""


class PlantedConfig(Config):
    """Planted features; the defaults are setup S of the dictionaries' fact sheet."""

    n_features: int = Field(default=64, ge=1)
    """True features."""
    width: int = Field(default=32, ge=1)
    """Dimensions they live in."""
    firing: AnyFiring = Independent()
    """Which features are active together: independent, decaying, correlated or hierarchy."""
    coefficients: AnyCoefficients = Uniform()
    """How strongly: uniform or heavy_tailed."""
    atoms: AnyAtoms = Directions()
    """Where features lie: directions, circles (of two dimensions) or superposition (where a toy model puts them)."""
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Standard deviation of Gaussian noise in each coordinate."""
    fill_empty: bool = False
    """A row without a feature gets one at random, with coefficient 1."""
    seed: int = Field(default=0, ge=0)
    """Decides the atoms and every row."""
    held_out: int = Field(default=20_000, ge=0)
    """Rows held out for scores; training rows never end."""

    @model_validator(mode="after")
    def _possible(self) -> PlantedConfig:
        problems = self.firing.problems(self.n_features) + self.atoms.problems(self.n_features, self.width)
        if problems:
            raise ValueError("; ".join(problems))
        return self


def regime(name: str, **changes: Any) -> PlantedConfig:
    """Return the config of a named regime, with some settings changed; ConfigError lists the names if it is unknown."""
    if name not in REGIMES:
        raise ConfigError(f"unknown regime {name!r}.{did_you_mean(name, REGIMES)} Known: {', '.join(REGIMES)}")
    return build(PlantedConfig, {**REGIMES[name], **changes}, where=f"regime '{name}'")


@dataclass(frozen=True)
class Planted:
    """Rows with the truth behind them: x = coefficients @ atoms, and noise if the config has any."""

    x: Float[Tensor, "rows d"]
    """What a dictionary sees."""
    coefficients: Float[Tensor, "rows a"]
    """Coefficient of each atom; 0 where its feature is not active."""


class PlantedData(DataSource):
    """An endless stream of planted rows, [rows, width], float32: a data source for a host that passes vectors on.

    `atoms` [a, width] are unit directions, one for each feature where the config says nothing else (`owners` [a] are their
    features). Row i depends on the seed and i alone, whatever the size of a batch; rows come in blocks of BLOCK from a
    generator of their own, so any row can be drawn without those before. Batch `step` of `size` holds the training rows
    [step * size, (step + 1) * size): rows are independent draws, so there is nothing to shuffle and nothing comes twice.
    """

    def __init__(self, config: PlantedConfig | None = None) -> None:
        self.config = config = config or PlantedConfig()
        super().__init__(ENDLESS, config.held_out, positions_per_row=1, seed=config.seed)
        n, generator = config.n_features, seeded("planted atoms", config.seed)
        self.atoms: Float[Tensor, "a d"] = config.atoms.make(n, config.width, generator)
        self.owners: Int[Tensor, " a"] = config.atoms.owners(n)
        self._fire = config.firing.sampler(n, config.seed)

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
        coefficients = torch.zeros(len(indices), len(self.atoms))
        noise = torch.zeros(len(indices), self.config.width)
        blocks = indices // BLOCK
        for block in blocks.unique().tolist():
            inside = blocks == block
            drawn, noisy = self._block("held out" if held_out else "train", block)
            coefficients[inside] = drawn[indices[inside] % BLOCK]
            if noisy is not None:
                noise[inside] = noisy[indices[inside] % BLOCK]
        x = coefficients @ self.atoms
        return Planted(x + noise if self.config.noise > 0 else x, coefficients)

    def train_indices(self, step: int, size: int) -> Int[Tensor, " batch"]:
        """Return the indices of the rows in batch `step`, the next `size` of the stream; ConfigError as for every source."""
        check_batch(step, size)
        return torch.arange(step * size, (step + 1) * size)

    def parents(self) -> Int[Tensor, " f"]:
        """Return the feature without which each one is never active, -1 for none."""
        return self.config.firing.parents(self.config.n_features)

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

    def _block(self, part: str, number: int) -> tuple[Float[Tensor, "rows a"], Float[Tensor, "rows d"] | None]:
        config, generator = self.config, seeded("planted rows", self.seed, part, number)
        active: Bool[Tensor, "rows f"] = self._fire(BLOCK, generator)
        coefficients = active * config.coefficients.draw(BLOCK, config.n_features, generator)
        if config.fill_empty:
            one = torch.randint(config.n_features, (BLOCK, 1), generator=generator)
            filled = coefficients.scatter(1, one, 1.0)
            coefficients = torch.where(active.any(dim=1, keepdim=True), coefficients, filled)
        spread = config.atoms.spread(coefficients, generator)
        noise = config.noise * torch.randn(BLOCK, config.width, generator=generator) if config.noise > 0 else None
        return spread, noise
